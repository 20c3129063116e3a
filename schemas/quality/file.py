"""`dq.yml`: the suites of the silver tables, read and held against the tables that they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from schemas.errors import Problem
from schemas.explain import explain
from schemas.folder import Folder
from schemas.quality.checks import problems_of
from schemas.quality.rule import RowRule, Rule
from schemas.quality.suite import KINDS, Discriminated, Suite
from schemas.spec import ChangeSpec, TableSpec
from schemas.suggest import did_you_mean, quoted
from schemas.yaml_lines import Document, NotYaml, parse

_RULE: Final[TypeAdapter[Rule]] = TypeAdapter(Discriminated)


@dataclass(frozen=True)
class SuitesFile:
    """What the file gave: suites by table, and the problems."""

    rules: Mapping[str, Suite] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def read_rules(file: Path, folder: Folder) -> SuitesFile:
    """Read the suites, none where there is no file; never raises for what a user wrote."""
    if not file.exists():
        return SuitesFile()
    try:
        document = parse(file.read_text(encoding="utf-8"))
    except NotYaml as error:
        return _only(Problem(file, error.line, "", f"The file is not YAML: {error.why}.", "Correct it."))
    except (OSError, UnicodeDecodeError):
        return _only(Problem(file, 0, "", "The file can not be read as UTF-8 text.", "Make it readable."))
    problems = [Problem(file, fault.line, "", fault.what, "Remove it.") for fault in document.faults]
    if document.data is None:
        return SuitesFile(problems=tuple(problems))
    if not isinstance(document.data, dict):
        what = "The file is not a mapping."
        return _only(Problem(file, document.line(), "", what, "Write `<table>:` and a list of rules below it."))
    rules: dict[str, Suite] = {}
    for table, suite in document.data.items():
        reader = _SuiteReader(file, document, folder, str(table))
        rules[str(table)] = tuple(reader.rules(suite))
        problems += reader.problems
    return SuitesFile({table: suite for table, suite in rules.items() if suite}, tuple(problems))


def _only(problem: Problem) -> SuitesFile:
    return SuitesFile(problems=(problem,))


class _SuiteReader:
    def __init__(self, file: Path, document: Document, folder: Folder, table: str) -> None:
        self.file, self.document, self.folder, self.table = file, document, folder, table
        self.problems: list[Problem] = []

    def rules(self, suite: Any) -> Iterator[Rule]:
        spec = self.folder.specs.get(self.table)
        if self.table not in self.folder.tables:
            self._report((), f"There is no table `{self.table}`.", did_you_mean(self.table, self.folder.tables))
        elif spec is not None and spec.layer != "silver":
            what = f"Suites are judged before gold takes a silver table, and `{self.table}` is a {spec.layer} table."
            self._report((), what, "Write them for the silver table that its rows go to, or come from.")
        elif not isinstance(suite, list):
            self._report((), "It is not a list of rules.", "Write `- type: expect_...` lines.")
        else:
            for index, given in enumerate(suite):
                rule = self._rule(index, given)
                if rule is not None:
                    rule = with_quarantine(rule, spec)
                    for path, what, remedy in problems_of(rule, spec, self.folder):
                        self._report((index, *path), what, remedy)
                    yield rule

    def _rule(self, index: int, given: Any) -> Rule | None:
        kind = given.get("type") if isinstance(given, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            shown = f"`{kind}` is not a rule that is judged" if kind else "A rule needs a `type`"
            self._report((index,), f"{shown}.", did_you_mean(str(kind), KINDS, f"Known: {quoted(KINDS)}."))
            return None
        try:
            return _RULE.validate_python(given)
        except ValidationError as error:
            told: set[tuple[str | int, ...]] = set()
            for detail in error.errors(include_url=False):
                path = _path_in(given, detail["loc"])
                # Of a value that may be of several types, each says what it is not.
                if path in told:
                    continue
                told.add(path)
                if detail["type"] == "missing":
                    self._report((index, *path), f"The rule needs `{path[-1]}`.", "Add it.")
                elif detail["type"] == "extra_forbidden":
                    keys = list(KINDS[kind].model_fields)
                    what = f"The rule `{kind}` has no key `{path[-1]}`."
                    remedy = did_you_mean(str(path[-1]), keys, f"Its keys are {quoted(keys)}.")
                    self._report((index, *path), what, remedy)
                else:
                    self._report((index, *path), *explain(detail))
            return None

    def _report(self, path: tuple[str | int, ...], what: str, remedy: str) -> None:
        here = (self.table, *path)
        self.problems.append(
            Problem(self.file, self.document.line(*here), ".".join(str(part) for part in here), what, remedy)
        )


def _path_in(given: Any, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where in the file an error is: the first part names the rule, and the last ones may name a type."""
    path: list[str | int] = []
    for part in loc[1:]:
        if not path:
            path.append(part)
            given = given.get(part) if isinstance(given, dict) else None
        elif isinstance(part, int) and isinstance(given, list):
            path.append(part)
            given = None
    return tuple(path)


def with_quarantine(rule: Rule, spec: TableSpec | None) -> Rule:
    """The rule with `quarantine` as it is where nothing is said."""
    if not isinstance(rule, RowRule) or rule.quarantine is not None:
        return rule
    by_default = isinstance(spec, ChangeSpec) and rule.severity == "critical" and rule.mostly == 1
    return rule.model_copy(update={"quarantine": by_default})
