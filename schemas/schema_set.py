"""The JSON Schemas of one folder, so that each can refer to the others: by file name, or by `$id`.

Nothing is ever fetched: what a `$ref` names is in the folder, or the contract is refused when it is loaded.
https://json-schema.org/draft/2020-12/json-schema-core#section-8.2
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urldefrag, urljoin

import jsonschema_rs

SUFFIX: Final = ".schema.json"
BASE: Final = "https://contracts.invalid/"
"""Where a file without an `$id` stands, for the sake of relative references; a name that can lead nowhere."""

MAPS_OF_SCHEMAS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
NOT_SCHEMAS: Final = frozenset({"enum", "const", "default", "examples"})


@dataclass(frozen=True)
class SchemaSet:
    """Schemas by URI, as text: small and picklable, since it travels to the workers."""

    texts: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, schemas: Mapping[str, Any]) -> SchemaSet:
        """The set of these schemas, by the URIs that they are to be found under."""
        return cls(tuple((uri, json.dumps(schema)) for uri, schema in sorted(schemas.items())))

    @classmethod
    def in_folder(cls, folder: Path) -> SchemaSet:
        """The `*.schema.json` of a folder; what is no JSON object is left out: its own reading tells why."""
        found: dict[str, Any] = {}
        for file in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                schema = json.loads(file.read_bytes())
            except (OSError, ValueError, RecursionError):
                continue
            if isinstance(schema, dict):
                found[BASE + file.name] = schema
                found.setdefault(uri_of(file.name, schema), schema)
        return cls.of(found)

    def schemas(self) -> dict[str, Any]:
        """The schemas by URI."""
        return {uri: json.loads(text) for uri, text in self.texts}

    def validator(self, schema: str, base_uri: str = BASE) -> Any:
        """A validator of `schema`, JSON text, built once per process; `format` is asserted.

        Raises jsonschema_rs.ValidationError where the schema is wrong or refers to what is not in the set.
        """
        return _validator(self, schema, base_uri)

    def resolver(self, base_uri: str) -> Any:
        """What finds references as a schema at `base_uri` means them."""
        return _registry(self).resolver(base_uri)

    def missing(self, schema: Any, base_uri: str) -> list[Reference]:
        """The references of a schema at `base_uri` that lead to no document of the set or of its own."""
        known = {base_uri, *(uri for uri, _ in self.texts), *_own_ids(schema, base_uri)}
        return [one for one in references(schema, base_uri) if one.document not in known]

    def reachable(self, schema: Any, base_uri: str) -> SchemaSet:
        """Only those that `schema` refers to, directly or through others."""
        texts, found = dict(self.texts), dict[str, str]()
        waiting = [one.document for one in references(schema, base_uri)]
        while waiting:
            uri = waiting.pop()
            if uri in texts and uri not in found:
                found[uri] = texts[uri]
                waiting += [one.document for one in references(json.loads(texts[uri]), uri)]
        return SchemaSet(tuple(sorted(found.items())))


NO_SCHEMAS: Final = SchemaSet(())


def uri_of(file_name: str, schema: Mapping[str, Any]) -> str:
    """The URI of a schema: its `$id`, or its file's name below `BASE`."""
    own = schema.get("$id")
    return urljoin(BASE + file_name, own.rstrip("#")) if isinstance(own, str) and own else BASE + file_name


@dataclass(frozen=True)
class Reference:
    """A `$ref` or `$dynamicRef`: where it stands, what it says, and the URI of the document that it leads into."""

    path: tuple[str | int, ...]
    text: str
    document: str


def references(schema: Any, base_uri: str, path: tuple[str | int, ...] = ()) -> Iterator[Reference]:
    """Every reference of a schema that stands at `base_uri`; an `$id` inside moves the base for what is below it."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from references(item, base_uri, (*path, index))
    if not isinstance(schema, dict):
        return
    if isinstance(own := schema.get("$id"), str):
        base_uri = urljoin(base_uri, own)
    for key, value in schema.items():
        here = (*path, key)
        if key in ("$ref", "$dynamicRef") and isinstance(value, str):
            yield Reference(here, value, document_of(value, base_uri))
        elif key in MAPS_OF_SCHEMAS and isinstance(value, dict):
            for name, sub in value.items():
                yield from references(sub, base_uri, (*here, name))
        elif key not in NOT_SCHEMAS:
            yield from references(value, base_uri, here)


def document_of(reference: str, base_uri: str) -> str:
    """The URI of the document that a reference leads into."""
    return urldefrag(urljoin(base_uri, reference)).url


def _own_ids(schema: Any, base_uri: str) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(own := schema.get("$id"), str):
            base_uri = urldefrag(urljoin(base_uri, own)).url
            yield base_uri
        for key, value in schema.items():
            if key not in NOT_SCHEMAS:
                yield from _own_ids(value, base_uri)
    elif isinstance(schema, list):
        for item in schema:
            yield from _own_ids(item, base_uri)


@functools.lru_cache(maxsize=64)
def _registry(schemas: SchemaSet) -> Any:
    return jsonschema_rs.Registry(list(schemas.schemas().items()))


@functools.lru_cache(maxsize=256)
def _validator(schemas: SchemaSet, schema: str, base_uri: str) -> Any:
    options: dict[str, Any] = {"registry": _registry(schemas)} if schemas.texts else {}
    return jsonschema_rs.validator_for(
        json.loads(schema), validate_formats=True, offline=True, base_uri=base_uri, **options
    )
