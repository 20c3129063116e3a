"""One file of `tables/`: read, told apart by its words, and turned into its spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from schemas.errors import Problem
from schemas.explain import explain
from schemas.spec import BronzeSpec, CurrentSpec, DerivedSpec, HistorySpec, KafkaSource, Reconcile, Scd2Spec, TableSpec
from schemas.suggest import closest, did_you_mean, quoted
from schemas.variables import NO_VARIABLES, Variables
from schemas.yaml_lines import Document, NotYaml, parse

KIND_WORDS: Final = ("source", "query", "stored_as", "stored_as_scd_type")
_MODELS: Final[tuple[type[TableSpec], ...]] = (BronzeSpec, CurrentSpec, HistorySpec, Scd2Spec, DerivedSpec)
_SET_BY_SLUICE: Final = ("kind", "file")
_SQL_WORDS: Final = ("apply_as_deletes", "apply_as_truncates", "where")
_AFFECTS: Final = "a column, a list of columns, or a mapping from the upstream's columns to this table's"


@dataclass(frozen=True)
class SpecFile:
    """What a file gave: its spec where it is right, and the problems where it is not."""

    file: Path
    spec: TableSpec | None
    document: Document
    problems: tuple[Problem, ...]

    @property
    def table(self) -> str:
        """The table that the file is for, by its name."""
        return self.file.name.removesuffix(".yml")


def read_spec(file: Path, variables: Variables = NO_VARIABLES) -> SpecFile:
    """Read one spec, with the values of the variables that it names; never raises for what a user wrote."""
    nothing = Document(None)
    try:
        written = file.read_text(encoding="utf-8")
        text = variables.filled(written)
        document = parse(text)
    except NotYaml as error:
        problem = Problem(file, error.line, "", f"The file is not YAML: {error.why}.", "Correct it.")
        return SpecFile(file, None, nothing, (problem,))
    except UnicodeDecodeError:
        return SpecFile(file, None, nothing, (Problem(file, 0, "", "The file is not UTF-8.", "Save it as UTF-8."),))
    except OSError as error:
        problem = Problem(file, 0, "", f"The file can not be read: {error.strerror}.", "Make it readable.")
        return SpecFile(file, None, nothing, (problem,))
    reader = _Reader(file, document)
    problems = [Problem(file, fault.line, _dotted(fault.path), fault.what, "Remove it.") for fault in document.faults]
    problems += variables.unknown(file, written)
    if not isinstance(document.data, dict):
        problems.append(Problem(file, document.line(), "", "The file is not a mapping.", "Write `key: value` lines."))
        return SpecFile(file, None, document, tuple(problems))
    spec = reader.spec(_with_sql_as_text(document.data, parse(text, as_text=True).data))
    return SpecFile(file, spec, document, (*problems, *reader.problems))


class _Reader:
    def __init__(self, file: Path, document: Document) -> None:
        self.file, self.document = file, document
        self.problems: list[Problem] = []

    def report(self, path: tuple[str | int, ...], what: str, remedy: str) -> None:
        line = self.document.line(*path)
        self.problems.append(Problem(self.file, line, _dotted(path), what, remedy))

    def spec(self, data: dict[str, Any]) -> TableSpec | None:
        model = self.model(data)
        if model is None:
            return None
        for word in _SET_BY_SLUICE:
            if word in data:
                self.report((word,), *self.unknown(word, data, model))
        values = {key: value for key, value in data.items() if key not in _SET_BY_SLUICE}
        try:
            spec = model.model_validate(values)
        except ValidationError as error:
            self.explain_all(error.errors(include_url=False), data, model)
            return None
        expected = self.file.name.removesuffix(".yml")
        if spec.table != expected:
            self.report(
                ("table",),
                f"The file is named for `{expected}`, but describes `{spec.table}`.",
                f"Name it `{spec.table}.yml`, or change `table:`.",
            )
        return None if self.problems else spec.model_copy(update={"file": self.file})

    def model(self, data: dict[str, Any]) -> type[TableSpec] | None:
        words = [word for word in KIND_WORDS if word in data]
        if len(words) > 1:
            self.report(
                (words[1],),
                f"{quoted(words)} make two kinds of table of one.",
                "Keep the one that says what the table is.",
            )
            return None
        if not words:
            near = [key for key in data if closest(key, KIND_WORDS)]
            self.report(
                (near[0],) if near else (),
                f"What kind of table this is can not be told: none of {quoted(KIND_WORDS)} is there.",
                f"Did you mean `{closest(near[0], KIND_WORDS)}`?" if near else "Write the one that fits.",
            )
            return None
        match words[0], data[words[0]]:
            case "source", _:
                return BronzeSpec
            case "query", _:
                return DerivedSpec
            case "stored_as", _:
                return HistorySpec
            case _, 1 | 2 as scd_type if not isinstance(scd_type, bool):
                return CurrentSpec if scd_type == 1 else Scd2Spec
        self.report(
            ("stored_as_scd_type",),
            f"{explain_value(data['stored_as_scd_type'])} is not a type of slowly changing dimension.",
            "Write `1` for the newest row per key, or `2` for all versions.",
        )
        return None

    def explain_all(self, errors: list[ErrorDetails], data: dict[str, Any], model: type[TableSpec]) -> None:
        told: set[tuple[str | int, ...]] = set()
        for error in errors:
            path, key = _path_in_file(error["loc"])
            if path in told or (error["type"] == "too_short" and _inside_told(path, told)):
                continue
            told.add(path)
            if error["type"] == "missing":
                keys = _keys_at(path[:-1], model)
                misspelt = closest(str(path[-1]), [word for word in _mapping_at(data, path[:-1]) if word not in keys])
                if misspelt is None:
                    self.report(path, f"{_a(model)} needs `{path[-1]}`.", "Add it.")
            elif error["type"] == "extra_forbidden":
                self.report(path, *self.unknown(str(path[-1]), _mapping_at(data, path[:-1]), model, path[:-1]))
            elif path[0] == "affected_by" and len(path) > 1 and not key:
                self.report(path, f"It is not {_AFFECTS}.", "Write one of these.")
            else:
                self.report(path, *explain(error))

    def unknown(
        self, word: str, data: Mapping[str, Any], model: type[TableSpec], within: tuple[str | int, ...] = ()
    ) -> tuple[str, str]:
        keys = _keys_at(within, model)
        what = f"{_a(model)} has no key `{'.'.join(str(part) for part in (*within, word))}`."
        others = [other for other in _MODELS if word in _keys_at((), other)] if not within else []
        if others and word not in _SET_BY_SLUICE:
            return what, f"It belongs to {' or '.join(_a(other).lower() for other in others)}. Remove it."
        return what, did_you_mean(word, [key for key in keys if key not in data], f"Its keys are {quoted(keys)}.")


def explain_value(value: object) -> str:
    """The value as it stands in the file, for a sentence."""
    return "Nothing" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _a(model: type[TableSpec]) -> str:
    return f"A {model.model_fields['kind'].default} table"


def _keys_at(path: tuple[str | int, ...], model: type[TableSpec]) -> list[str]:
    inner: dict[str, type[BaseModel]] = {"source": KafkaSource, "reconcile": Reconcile}
    fields = inner.get(str(path[0]), model).model_fields if path else model.model_fields
    return [info.alias or name for name, info in fields.items() if name not in _SET_BY_SLUICE]


def _mapping_at(data: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _path_in_file(loc: tuple[int | str, ...]) -> tuple[tuple[str | int, ...], bool]:
    """Where in the file an error is, without pydantic's own steps, and whether it is about the key itself."""
    key = loc[-1] == "[key]"
    if loc[0] == "affected_by" and not (key and len(loc) == 3):
        return loc[:2], False
    return (loc[:-1] if key else loc), key


def _inside_told(path: tuple[str | int, ...], told: set[tuple[str | int, ...]]) -> bool:
    return any(other[: len(path)] == path for other in told)


def _with_sql_as_text(data: dict[str, Any], as_text: dict[str, Any]) -> dict[str, Any]:
    """SQL such as `1` or `true` is text even where YAML takes it for a number."""
    changed = dict(data)
    for word in _SQL_WORDS:
        if isinstance(data.get(word), (bool, int, float)):
            changed[word] = as_text[word]
    if isinstance(select := data.get("select"), dict):
        changed["select"] = {
            name: as_text["select"][name] if isinstance(value, (bool, int, float)) else value
            for name, value in select.items()
        }
    if isinstance(reconcile := data.get("reconcile"), dict):
        changed["reconcile"] = _with_sql_as_text(reconcile, as_text["reconcile"])
    return changed


def _dotted(path: Iterator[str | int] | tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path if isinstance(part, str))
