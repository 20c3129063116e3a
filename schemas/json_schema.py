"""What is wrong with a JSON Schema, held against its draft's meta-schema and against what Sluice follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import jsonschema_rs

from schemas.logical_types import ANNOTATION, NotALogicalType, column_type, logical_type
from schemas.schema_set import BASE, MAPS_OF_SCHEMAS, NOT_SCHEMAS, SchemaSet, references
from schemas.spark_types import NotASparkType, parse_type
from schemas.suggest import did_you_mean

DRAFT_2020_12: Final = "https://json-schema.org/draft/2020-12/schema"
DRAFT_07: Final = "http://json-schema.org/draft-07/schema"

_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong at one place of a schema."""

    path: Path
    what: str
    remedy: str


def flaws(schema: dict[str, Any], folder: SchemaSet, uri: str) -> list[Flaw]:
    """All that is wrong with `schema`, none where it is a JSON Schema that Sluice can hold records to.

    It stands at `uri`, and may refer to the schemas of `folder`.
    """
    draft = str(schema.get("$schema", DRAFT_2020_12)).rstrip("#")
    if draft not in (DRAFT_2020_12, DRAFT_07):
        remedy = f"Write `{DRAFT_2020_12}` or `{DRAFT_07}#`."
        return [Flaw(("$schema",), f"`{schema['$schema']}` is not a draft that is supported.", remedy)]
    found = list(_against_meta_schema(schema, draft))
    found += _walk(schema, ())
    return found or list(_against_library(schema, folder, uri))


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


def _walk(schema: Any, path: Path) -> Iterator[Flaw]:
    """What the meta-schema does not tell: wrong patterns, `x-type`s and `x-debezium`s."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _walk(item, (*path, index))
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        here = (*path, key)
        if key == "pattern" and isinstance(value, str):
            yield from _pattern_flaws(value, here)
        elif key == "x-type":
            yield from _type_flaws(value, here)
        elif key == ANNOTATION:
            yield from _logical_type_flaws(schema, here)
        elif key in MAPS_OF_SCHEMAS and isinstance(value, dict):
            for name, sub in value.items():
                if key == "patternProperties":
                    yield from _pattern_flaws(name, (*here, name))
                yield from _walk(sub, (*here, name))
        elif key not in NOT_SCHEMAS:
            yield from _walk(value, here)


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


def _logical_type_flaws(schema: dict[str, Any], path: Path) -> Iterator[Flaw]:
    name = schema[ANNOTATION]
    try:
        kind = logical_type(name)
        if kind.column is not None or "x-type" in schema:  # else it may stand beside a `$ref` to this one
            column_type(name, schema.get("x-type"))
    except NotALogicalType as error:
        yield Flaw(path, error.what, error.remedy)
        return
    declared = schema.get("type")
    types = {declared} if isinstance(declared, str) else set(declared) if isinstance(declared, list) else set()
    if types and not types <= {*kind.json, "null"}:
        sent = " or ".join(kind.json)
        what = f"`{name}` is sent as {sent}, and `type` says otherwise."
        yield Flaw(path, what, f"Write `{kind.json[0]}` in `type`, and `null` beside it where it may be missing.")


def _against_library(schema: dict[str, Any], folder: SchemaSet, uri: str) -> Iterator[Flaw]:
    """What only building the validator tells, such as a reference to nothing."""
    try:
        folder.reachable(schema, uri).validator(json.dumps(schema), uri)
    except jsonschema_rs.ValidationError as error:
        message, at = error.message, tuple(error.instance_path)
    except ValueError as error:
        message, at = str(error), ()
    else:
        return
    missing = folder.missing(schema, uri)
    for one in missing:
        what = f"`{one.text}` leads to no file of this folder, and nothing is fetched."
        files = [other.removeprefix(BASE) for other, _ in folder.texts]
        yield Flaw(one.path, what, did_you_mean(one.text.split("#")[0], files, "Put the schema into `contracts/`."))
    dangling = list(_dangling(schema, uri)) if not missing else []
    for path, reference in dangling:
        yield Flaw(path, f"`{reference}` leads to nothing in this file.", "Correct it, or add what it names.")
    if not missing and not dangling:
        yield Flaw(at, f"The contract can not be used: {message.splitlines()[0].rstrip('.')}.", "Correct it.")


def _dangling(schema: dict[str, Any], uri: str) -> Iterator[tuple[Path, str]]:
    for one in references(schema, uri):
        if one.text.startswith("#/"):
            steps = tuple(part.replace("~1", "/").replace("~0", "~") for part in unquote(one.text).split("/")[1:])
            if _at(schema, steps) is None:
                yield one.path, one.text


def _at(data: Any, path: Path) -> Any:
    for part in path:
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and str(part).isdecimal() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return data
