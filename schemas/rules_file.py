"""`dq.yml`: the row rules of the silver tables, read and held against the tables that they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import TypeAdapter, ValidationError

from schemas.errors import Problem
from schemas.explain import explain
from schemas.folder import Folder
from schemas.rules import Between, InSet, MatchRegex, NotNull, RowRule
from schemas.spec import ChangeSpec
from schemas.suggest import did_you_mean, quoted
from schemas.yaml_lines import Document, NotYaml, parse

_RULE: Final[TypeAdapter[NotNull | Between | MatchRegex | InSet]] = TypeAdapter(RowRule)
_KINDS: Final = (NotNull, Between, MatchRegex, InSet)
_MODELS: Final = {get_args(model.model_fields["type"].annotation)[0]: model for model in _KINDS}

Rules = Mapping[str, tuple[RowRule, ...]]


@dataclass(frozen=True)
class RulesFile:
    """What the file gave: rules by table, and the problems."""

    rules: Rules = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def read_rules(file: Path, folder: Folder) -> RulesFile:
    """Read the rules, none where there is no file; never raises for what a user wrote."""
    if not file.exists():
        return RulesFile()
    try:
        document = parse(file.read_text(encoding="utf-8"))
    except NotYaml as error:
        return _only(Problem(file, error.line, "", f"The file is not YAML: {error.why}.", "Correct it."))
    except (OSError, UnicodeDecodeError):
        return _only(Problem(file, 0, "", "The file can not be read as UTF-8 text.", "Make it readable."))
    problems = [Problem(file, fault.line, "", fault.what, "Remove it.") for fault in document.faults]
    if document.data is None:
        return RulesFile(problems=tuple(problems))
    if not isinstance(document.data, dict):
        what = "The file is not a mapping."
        return _only(Problem(file, document.line(), "", what, "Write `<table>:` and a list of rules below it."))
    rules: dict[str, tuple[RowRule, ...]] = {}
    for table, suite in document.data.items():
        reader = _SuiteReader(file, document, folder, str(table))
        rules[str(table)] = tuple(reader.rules(suite))
        problems += reader.problems
    return RulesFile(rules, tuple(problems))


def _only(problem: Problem) -> RulesFile:
    return RulesFile(problems=(problem,))


class _SuiteReader:
    def __init__(self, file: Path, document: Document, folder: Folder, table: str) -> None:
        self.file, self.document, self.folder, self.table = file, document, folder, table
        self.problems: list[Problem] = []

    def rules(self, suite: Any) -> Iterator[RowRule]:
        spec = self.folder.specs.get(self.table)
        if self.table not in self.folder.tables:
            self._report((), f"There is no table `{self.table}`.", did_you_mean(self.table, self.folder.tables))
        elif spec is not None and not isinstance(spec, ChangeSpec):
            what = f"Row rules are judged where changes are taken up, and `{self.table}` is a {spec.kind} table."
            self._report((), what, "Write them for the `current` or `history` table above it.")
        elif not isinstance(suite, list):
            self._report((), "It is not a list of rules.", "Write `- type: expect_...` lines.")
        else:
            for index, given in enumerate(suite):
                rule = self._rule(index, given)
                if rule is not None:
                    self._check(index, rule, spec)
                    yield rule

    def _rule(self, index: int, given: Any) -> RowRule | None:
        kind = given.get("type") if isinstance(given, dict) else None
        if not isinstance(kind, str) or kind not in _MODELS:
            shown = f"`{kind}` is not a rule that is judged" if kind else "A rule needs a `type`"
            self._report((index,), f"{shown}.", did_you_mean(str(kind), _MODELS, f"Known: {quoted(_MODELS)}."))
            return None
        try:
            return _RULE.validate_python(given)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path = tuple(part for part in detail["loc"] if part != kind)
                if detail["type"] == "missing":
                    self._report((index, *path), f"The rule needs `{path[-1]}`.", "Add it.")
                elif detail["type"] == "extra_forbidden":
                    keys = list(_MODELS[kind].model_fields)
                    what = f"The rule `{kind}` has no key `{path[-1]}`."
                    remedy = did_you_mean(str(path[-1]), keys, f"Its keys are {quoted(keys)}.")
                    self._report((index, *path), what, remedy)
                else:
                    self._report((index, *path), *explain(detail))
            return None

    def _check(self, index: int, rule: RowRule, spec: ChangeSpec | None) -> None:
        if spec is not None and spec.select and rule.column not in spec.select:
            what = f"There is no column `{rule.column}` in `{self.table}`."
            self._report((index, "column"), what, did_you_mean(rule.column, spec.select, "Name one that is there."))
        if isinstance(rule, Between) and rule.min_value is None and rule.max_value is None:
            self._report((index,), "The rule has no bound.", "Give it a `min_value`, a `max_value` or both.")
        if isinstance(rule, MatchRegex):
            try:
                re.compile(rule.regex)
            except re.error:
                self._report((index, "regex"), f"`{rule.regex}` is not a regular expression.", "Correct it.")

    def _report(self, path: tuple[str | int, ...], what: str, remedy: str) -> None:
        here = (self.table, *path)
        self.problems.append(
            Problem(self.file, self.document.line(*here), ".".join(str(part) for part in here), what, remedy)
        )
