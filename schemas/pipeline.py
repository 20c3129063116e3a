"""A pipeline: the contracts and table specs of one folder, and which table stands below which."""

from __future__ import annotations

import functools
import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.contract import Contract
from schemas.errors import Problem
from schemas.quality.suite import Suite
from schemas.spec import BronzeSpec, TableSpec
from schemas.yaml_lines import Document


@dataclass(frozen=True)
class Pipeline:
    """What one folder describes, checked: every name leads somewhere, and there is no circle.

    `writer_schemas` are the texts of the `.avsc` files that specs name, by the file's name.
    """

    folder: Path
    contracts: Mapping[str, Contract]
    tables: Mapping[str, TableSpec]
    documents: Mapping[str, Document] = field(default_factory=dict, repr=False, compare=False)
    rules: Mapping[str, Suite] = field(default_factory=dict)
    writer_schemas: Mapping[str, str] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def order(self) -> tuple[str, ...]:
        """All tables, each after its upstreams; tables that do not depend on each other by name."""
        return topological_order(self.tables)

    @functools.cached_property
    def bronze(self) -> tuple[BronzeSpec, ...]:
        """The tables that read a topic, by name."""
        return tuple(spec for _, spec in sorted(self.tables.items()) if isinstance(spec, BronzeSpec))

    def upstreams(self, table: str) -> tuple[str, ...]:
        """The tables that `table` is made from, in the order of its file."""
        return self.tables[table].upstreams

    def downstreams(self, table: str) -> tuple[str, ...]:
        """The tables that are made from `table` directly, in topological order."""
        return tuple(name for name in self.order if table in self.tables[name].upstreams)

    def below(self, table: str) -> tuple[str, ...]:
        """Every table that a change of `table` can reach, in topological order, `table` left out."""
        reached = {table}
        for name in self.order:
            if reached.intersection(self.tables[name].upstreams):
                reached.add(name)
        return tuple(name for name in self.order if name in reached and name != table)

    def above(self, table: str) -> tuple[str, ...]:
        """Every table that can change `table`, in topological order, `table` left out."""
        return tuple(name for name in self.order if table in self.below(name))

    def contract_of(self, bronze: BronzeSpec) -> Contract:
        """The contract that the records of `bronze` are held to."""
        return self.contracts[bronze.contract]

    def writer_schema_of(self, bronze: BronzeSpec) -> str | None:
        """The Avro schema, JSON text, that a plain Avro topic is written with; None for any other topic."""
        name = bronze.source.writer_schema
        return None if name is None else self.writer_schemas[name]

    def problem(self, table: str, path: Iterable[str | int], what: str, remedy: str) -> Problem:
        """A problem at `path` of the table's file, for what only a running Spark can tell."""
        path = tuple(path)
        document = self.documents.get(table)
        line = document.line(*path) if document else 0
        return Problem(self.tables[table].file, line, ".".join(str(part) for part in path), what, remedy)


def topological_order(tables: Mapping[str, TableSpec]) -> tuple[str, ...]:
    """The names with upstreams first, otherwise by name; raises graphlib.CycleError."""
    sorter = graphlib.TopologicalSorter({name: sorted(tables[name].upstreams) for name in sorted(tables)})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return tuple(order)
