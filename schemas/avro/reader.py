"""A writer's schema made ready to read its records with: only what needs another form is touched, while it is read.

`fastavro` calls a function for each value that has a logical type. The schema is rewritten so that the values whose
form changes, and no others, have one of ours; that spares a second walk over the record. What only writing or
resolving asks for (defaults, aliases, documentation) is left out, so that a wrong default does not bar the reading.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import fastavro
from fastavro import _read_py
from fastavro.read import LOGICAL_READERS
from fastavro.schema import SchemaParseException, UnknownType

from schemas.avro.forms import DECIMAL, FORMS, Form, decimal_text, form_of
from schemas.unreadable import Unreadable

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED: Final = frozenset({"record", "error", "enum", "fixed"})

_OURS: Final = "sluice-"
_KEPT: Final = {"enum": ("symbols",), "fixed": ("size", "scale"), "bytes": ("scale",)}


@dataclass(frozen=True)
class Reader:
    """What reads one record from a stream; `recursive` says that records may lie in each other without end."""

    schema: Any
    decode: Callable[[BytesIO, Any], Any]
    recursive: bool


def reader_of(writer_schema: str) -> Reader:
    """The reader of a writer's schema, made once per process; raises Unreadable (`avro.schema_invalid`)."""
    found = _made(writer_schema)
    if found is None:
        raise Unreadable("avro.schema_invalid")
    return found


@functools.lru_cache(maxsize=256)
def _made(writer_schema: str) -> Reader | None:
    _register_forms()
    named: dict[str, Any] = {}
    try:
        parsed: Any = fastavro.parse_schema(_rewritten(json.loads(writer_schema)), named)
        structure = _Structure(named)
        structure.takes_no_bytes(parsed, frozenset())
    except (
        SchemaParseException,
        UnknownType,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ):
        return None
    # The reader in C goes down without a limit, and takes the process with it; the one in Python knows when to stop.
    decode = _read_py.schemaless_reader if structure.recursive else fastavro.schemaless_reader
    return Reader(parsed, decode, structure.recursive)


def _register_forms() -> None:
    """Tell fastavro of ours, under names that no one else's schema can bring: those are left out of what it parses."""
    readers = {name: _logical_reader(form) for name, form in FORMS.items()} | {DECIMAL: _decimal_reader}
    for name, reader in readers.items():
        for base in ("int", "long", "float", "double", "bytes", "fixed"):
            LOGICAL_READERS.setdefault(f"{base}-{_OURS}{name}", reader)


def _logical_reader(form: Form) -> Callable[..., Any]:
    def read(data: Any, *_: Any) -> Any:
        return form(data)

    return read


def _decimal_reader(data: bytes, writer_schema: Any, *_: Any) -> str:
    return decimal_text(data, writer_schema.get("scale", 0))


def _rewritten(node: Any) -> Any:
    if isinstance(node, str):
        node = {"type": node}
    if isinstance(node, list):
        return [_rewritten(branch) for branch in node]
    kind = node["type"]
    if not isinstance(kind, str):
        return _rewritten(kind)
    new = {"type": kind} | {key: node[key] for key in _KEPT.get(kind, ()) if key in node}
    if kind in NAMED:
        new |= {key: node[key] for key in ("name", "namespace") if key in node}
    match kind:
        case "record" | "error":
            fields = [{"name": field["name"], "type": _rewritten(field["type"])} for field in node["fields"]]
            return {**new, "type": "record", "fields": fields}
        case "array":
            return {**new, "items": _rewritten(node["items"])}
        case "map":
            return {**new, "values": _rewritten(node["values"])}
        case "enum":
            return new
    form = form_of(node)
    return {**new, "logicalType": _OURS + form} if form else (new if kind in NAMED else kind)


class _Structure:
    """What a parsed schema allows that a record's few bytes could be blown up with."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self.named = named
        self.recursive = False
        self._told: dict[str, bool] = {}

    def takes_no_bytes(self, node: Any, inside: frozenset[str]) -> bool:
        """Whether a value takes none; raises ValueError for an array of such, whose length nothing would bound."""
        if isinstance(node, list):
            for branch in node:
                self.takes_no_bytes(branch, inside)
            return False
        kind = node if isinstance(node, str) else node["type"]
        match kind:
            case "null":
                return True
            case "array":
                if self.takes_no_bytes(node["items"], inside):
                    raise ValueError("an array of items that take no bytes has no bounds")
                return False
            case "map":
                self.takes_no_bytes(node["values"], inside)
                return False
            case "fixed":
                return bool(node["size"] == 0)
            case "record":
                within = inside | {node["name"]}
                fields = [self.takes_no_bytes(field["type"], within) for field in node["fields"]]
                return self._told.setdefault(node["name"], all(fields))
        if kind in PRIMITIVES or kind == "enum":
            return False
        if kind in inside:
            self.recursive = True
            return False
        if kind not in self._told:
            self._told[kind] = self.takes_no_bytes(self.named[kind], inside)
        return self._told[kind]
