"""What is wrong with a JSON Schema, held against its draft's meta-schema and against what Sluice follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from schemas.spark_types import NotASparkType, parse_type
from schemas.suggest import did_you_mean

DRAFT_2020_12: Final = "https://json-schema.org/draft/2020-12/schema"
DRAFT_07: Final = "http://json-schema.org/draft-07/schema"

_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")
_REFERENCES: Final = ("$ref", "$dynamicRef")
_NOT_SCHEMAS: Final = frozenset({"enum", "const", "default", "examples"})
_MAPS_OF_SCHEMAS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong at one place of a schema."""

    path: Path
    what: str
    remedy: str


def flaws(schema: dict[str, Any]) -> list[Flaw]:
    """All that is wrong with `schema`, none where it is a JSON Schema that Sluice can hold records to."""
    draft = str(schema.get("$schema", DRAFT_2020_12)).rstrip("#")
    if draft not in (DRAFT_2020_12, DRAFT_07):
        remedy = f"Write `{DRAFT_2020_12}` or `{DRAFT_07}#`."
        return [Flaw(("$schema",), f"`{schema['$schema']}` is not a draft that is supported.", remedy)]
    found = list(_against_meta_schema(schema, draft))
    found += _walk(schema, (), draft)
    return found or list(_against_library(schema))


def _against_meta_schema(schema: dict[str, Any], draft: str) -> Iterator[Flaw]:
    is_2020 = draft == DRAFT_2020_12
    validator = jsonschema_rs.Draft202012Validator if is_2020 else jsonschema_rs.Draft7Validator
    told = set()
    for error in validator({"$ref": draft}).iter_errors(schema):
        path = tuple(error.instance_path)
        if path in told:
            continue
        told.add(path)
        given = _at(schema, path)
        if path[-1:] == ("type",) and isinstance(given, str):
            yield Flaw(path, f"`{given}` is not a type of JSON.", did_you_mean(given, _TYPES))
        else:
            yield Flaw(path, f"The contract is not valid JSON Schema: {error.message}.", "Correct it.")


def _walk(schema: Any, path: Path, draft: str) -> Iterator[Flaw]:
    """What the meta-schema does not tell: references out of the file, wrong patterns and `x-type`s."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _walk(item, (*path, index), draft)
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        here = (*path, key)
        if key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
            what = f"`{value}` leads out of this file."
            yield Flaw(here, what, "Copy what it names into `$defs` here and refer to `#/$defs/...`.")
        elif key == "pattern" and isinstance(value, str):
            yield from _pattern_flaws(value, here)
        elif key == "x-type":
            yield from _type_flaws(value, here)
        elif key in _MAPS_OF_SCHEMAS and isinstance(value, dict):
            for name, sub in value.items():
                if key == "patternProperties":
                    yield from _pattern_flaws(name, (*here, name))
                yield from _walk(sub, (*here, name), draft)
        elif key not in _NOT_SCHEMAS:
            yield from _walk(value, here, draft)


def _pattern_flaws(pattern: str, path: Path) -> Iterator[Flaw]:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern})
    except jsonschema_rs.ValidationError:
        yield Flaw(
            path,
            f"`{pattern}` is not a regular expression.",
            "Correct it; ECMA 262 says how they are written.",
        )


def _type_flaws(value: object, path: Path) -> Iterator[Flaw]:
    try:
        parse_type(str(value))
    except NotASparkType as error:
        yield Flaw(path, f"{error}.", "Write one such as `decimal(18,2)`, `timestamp` or `array<string>`.")


def _against_library(schema: dict[str, Any]) -> Iterator[Flaw]:
    """What only building the validator tells, such as a `$ref` to nothing."""
    try:
        jsonschema_rs.validator_for(schema)
    except jsonschema_rs.ValidationError as error:
        dangling = list(_dangling(schema, schema, ()))
        for path, ref in dangling:
            yield Flaw(path, f"`{ref}` leads to nothing in this file.", "Correct it, or add what it names.")
        if not dangling:
            what = f"The contract can not be used: {error.message}."
            yield Flaw(tuple(error.instance_path), what, "Correct it.")


def _dangling(schema: Any, root: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _dangling(item, root, (*path, index))
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str) and value.startswith("#/"):
            steps = tuple(part.replace("~1", "/").replace("~0", "~") for part in value.split("/")[1:])
            if _at(root, steps) is None:
                yield (*path, key), value
        elif key not in _NOT_SCHEMAS:
            yield from _dangling(value, root, (*path, key))


def _at(data: Any, path: Path) -> Any:
    for part in path:
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and str(part).isdecimal() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return data
