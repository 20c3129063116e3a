"""An Avro schema and those that it refers to made one that stands alone, each name defined where it is first used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.avro.reader import NAMED, PRIMITIVES

_COMPLEX = frozenset({"array", "map"})


def inlined(schema: Any, references: Iterable[Any]) -> Any:
    """The schema with the definitions of `references` put where it names them; all are parsed JSON.

    The references may name each other, and define more names than one. What none of them defines stays a name. Raises
    KeyError, TypeError or AttributeError where one is no Avro schema, RecursionError where one is too deep.
    """
    names = Definitions()
    for reference in references:
        names.collect(reference, "")
    return names.expand(names.collect(schema, ""), set())


class Definitions:
    """Definitions by full name, in which other names stand for theirs; `root` is the schema that they were found in."""

    def __init__(self) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}
        self.root: Any = None

    @classmethod
    def of(cls, schema: Any) -> Definitions:
        """Those of a schema that stands alone."""
        found = cls()
        found.root = found.collect(schema, "")
        return found

    def definition(self, node: Any) -> dict[str, Any]:
        """The definition that a name stands for, `{"type": ...}` of a primitive, the node itself where it is one."""
        if isinstance(node, str):
            return self.definitions.get(node, {"type": node})
        return node if isinstance(node, dict) else {}

    def collect(self, node: Any, namespace: str) -> Any:
        """The node with full names in the place of the definitions in it, which are kept here."""
        if isinstance(node, str):
            return node if node in PRIMITIVES else self._full(node, namespace)
        if isinstance(node, list):
            return [self.collect(branch, namespace) for branch in node]
        kind = node["type"]
        if not isinstance(kind, str):
            return {**node, "type": self.collect(kind, namespace)}
        if kind in NAMED:
            return self._define(node, namespace)
        for inner in ("items", "values"):
            if inner in node:
                node = {**node, inner: self.collect(node[inner], namespace)}
        return node if kind in PRIMITIVES | _COMPLEX else {**node, "type": self._full(kind, namespace)}

    def _define(self, node: dict[str, Any], namespace: str) -> str:
        own: str = node["name"]
        # A dot in the name itself says more than a `namespace` beside it.
        space = own.rpartition(".")[0] if "." in own else node.get("namespace", namespace) or ""
        full = own if "." in own or not space else f"{space}.{own}"
        definition = {key: value for key, value in node.items() if key != "namespace"}
        # Kept before its fields are looked at: they may name it.
        self.definitions[full] = definition
        definition |= {"name": full} if "." in full else {"name": full, "namespace": ""}
        if "fields" in node:
            definition["fields"] = [{**field, "type": self.collect(field["type"], space)} for field in node["fields"]]
        return full

    def _full(self, name: str, namespace: str) -> str:
        if "." in name or not namespace:
            return name
        within = f"{namespace}.{name}"
        # Java's parser, and so Connect's schemas, take a name that the namespace does not have for one without any.
        return within if within in self.definitions or name not in self.definitions else name

    def expand(self, node: Any, written: set[str]) -> Any:
        """The node with each name replaced by its definition, where that has not been `written` before."""
        if isinstance(node, list):
            return [self.expand(branch, written) for branch in node]
        if isinstance(node, str):
            if node not in self.definitions or node in written:
                return node
            written.add(node)
            definition = self.definitions[node]
            if "fields" not in definition:
                return definition
            fields = [{**field, "type": self.expand(field["type"], written)} for field in definition["fields"]]
            return {**definition, "fields": fields}
        inside = [key for key in ("type", "items", "values") if key in node]
        return {**node, **{key: self.expand(node[key], written) for key in inside}}
