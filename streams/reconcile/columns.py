"""What is compared: the columns with their kinds, the keys, and which keys are personal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from schemas import debezium
from schemas.applicable import expanded, members
from schemas.masking import MASK, Masker, masked
from schemas.pipeline import Pipeline
from schemas.spec import BronzeSpec, ChangeSpec
from schemas.sql import NotSql, parse_expression, references
from streams.reconcile.errors import NotComparable
from streams.reconcile.values import Kind, kind_of, parted, shown


@dataclass(frozen=True)
class Columns:
    """The columns of one table that are compared; `private` are those of the keys that are not shown."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    keys: tuple[str, ...]
    private: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, table: str, selected: Sequence[str], keys: Sequence[str], schema: pa.Schema, private: frozenset[str]
    ) -> Columns:
        """The columns of a table as it is; raises NotComparable."""
        kinds: list[Kind] = []
        for name in selected:
            if name not in schema.names:
                raise NotComparable(table, name, "the table in the lake has no such column yet")
            kind = kind_of(schema.field(name).type)
            if kind is None:
                raise NotComparable(table, name, f"values of type {schema.field(name).type} are not compared")
            kinds.append(kind)
        return cls(tuple(selected), tuple(kinds), tuple(keys), private)

    @property
    def key_kinds(self) -> tuple[Kind, ...]:
        """How the columns of the key are compared, in its order."""
        return tuple(self.kind(name) for name in self.keys)

    def kind(self, name: str) -> Kind:
        """How a column is compared."""
        return self.kinds[self.names.index(name)]

    def shown_key(self, key: str) -> dict[str, str]:
        """A key as a person may see it: what is personal is `***`."""
        values = zip(self.keys, parted(key, self.key_kinds), strict=True)
        return {name: MASK if name in self.private else shown(self.kind(name), value) for name, value in values}


def private_columns(pipeline: Pipeline, spec: ChangeSpec) -> frozenset[str]:
    """The columns that are made from a field which the contract tags `x-pii`, or does not know."""
    bronze = pipeline.tables[spec.from_]
    if not isinstance(bronze, BronzeSpec):
        return frozenset(spec.select)
    masker = Masker.of(bronze, pipeline.contract_of(bronze))
    return frozenset(name for name, sql in spec.select.items() if _is_private(sql, masker))


def _is_private(sql: str, masker: Masker) -> bool:
    try:
        tree = parse_expression(sql)
    except NotSql:
        return True
    # Of a query, and of SQL that only Spark reads, it can not be told what it names.
    paths = [reference.parts for reference in references(tree)]
    return not paths or any(_path_is_private(path, masker) for path in paths)


def _path_is_private(path: tuple[str, ...], masker: Masker) -> bool:
    if path[0].startswith("_"):
        return path[0] in ("_key", "_rescued_data")
    if masker.is_debezium:
        if path[0] not in (debezium.BEFORE, debezium.AFTER):
            return False
        path = path[1:]
    places = list(masker.row)
    for part in path:
        if masked({}, places) == MASK:
            return True
        places = members(expanded(places), part)
    return bool(masked("", places) == MASK)
