"""`sluice plan`: what a changed folder of contracts and specs would do, before it is deployed.

What is planned is held against what is deployed (checkpoints/deployed.py) and against the lake: its tables, their
newest rows, their error lanes. Nothing is written, Spark is not needed, and the service may run meanwhile.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from checkpoints import deployed
from checkpoints.deployed import Deployed
from checkpoints.lake import Lake
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from schemas.spec import BronzeSpec
from sinks.table import Tables
from streams.errors_report import UnknownTable
from streams.plan.bronze import Bronze
from streams.plan.records import Side, Trial
from streams.plan.tables import Below, TablePlan, followers, new_table, removed_table
from streams.registry import SchemaRegistry, registry_for


@dataclass(frozen=True)
class Plan:
    """What would become of each table; tables of which nothing does are left out.

    `deployed` is the hash of what is deployed, `since` when it was (UTC); both None where nothing is, and `has_tables`
    then says whether the lake has tables all the same.
    """

    tables: tuple[TablePlan, ...]
    deployed: str | None
    since: datetime | None
    has_tables: bool

    @property
    def breaks(self) -> bool:
        """Whether something would break."""
        return any(one.is_broken for one in self.tables)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "deployed": self.deployed,
            "since": self.since.isoformat() if self.since else None,
            "breaks": self.breaks,
            "tables": [one.to_json() for one in self.tables],
        }


def make_plan(planned: Pipeline, settings: Settings, rows: int, table: str | None = None) -> Plan:
    """Compare `planned` with what is deployed in the lake of the settings.

    `rows` is how many rows, and how many open records of a lane, are judged for each table; `table` the only one that
    is asked about. Raises UnknownTable.
    """
    lake = Lake.at(settings.lake)
    before = deployed.load_deployed(lake)
    known = {*planned.tables, *(before.pipeline.tables if before else ())}
    if table is not None and table not in known:
        raise UnknownTable(table, sorted(known))
    tables = Tables(lake, sorted(known))
    if before is None:
        plans = {name: new_table(planned.tables[name]) for name in planned.order}
    else:
        plans = {one.table: one for one in _Comparison(lake, tables, before, planned, settings, rows, table).plans()}
        plans |= {one.table: one for one in followers(planned, plans)}
    order = [*planned.order, *sorted(known - planned.tables.keys())]
    shown = tuple(plans[name] for name in order if name in plans and table in (None, name))
    return Plan(
        shown,
        before.hash if before else None,
        before.at if before else None,
        any(one.exists for one in tables.values()),
    )


@dataclass(frozen=True)
class _Comparison:
    lake: Lake
    tables: Tables
    before: Deployed
    planned: Pipeline
    settings: Settings
    rows: int
    only: str | None

    def plans(self) -> Iterator[TablePlan]:
        deployed_tables = self.before.pipeline.tables
        below = Below(self.before.pipeline, self.planned)
        for name, spec in self.planned.tables.items():
            was = deployed_tables.get(name)
            if was is None:
                yield new_table(spec)
            elif isinstance(spec, BronzeSpec) and isinstance(was, BronzeSpec):
                if (found := self._bronze(name, was, spec)) is not None:
                    yield found
            elif (found := below.plan(name, self.tables[name])) is not None:
                yield found
        for name in deployed_tables.keys() - self.planned.tables.keys():
            yield removed_table(name)

    def _bronze(self, name: str, was: BronzeSpec, spec: BronzeSpec) -> TablePlan | None:
        before, after = (_side(*one) for one in ((self.before.pipeline, was), (self.planned, spec)))
        if before is None or after is None:
            return new_table(spec)
        bronze, table = Bronze(before, after, self.planned), self.tables[name]
        found = bronze.plan(table)
        if found is None or not bronze.is_judged_otherwise or not table.exists or self.only not in (None, name):
            return found
        trial = Trial(self.lake, table, before, after, self.rows, self.settings.max_record_bytes, self._registry)
        return replace(found, records=trial.run(rows=not bronze.has_other_rows), below=self.planned.below(name))

    @functools.cached_property
    def _the_registry(self) -> SchemaRegistry | None:
        return registry_for(self.planned, self.settings) or registry_for(self.before.pipeline, self.settings)

    def _registry(self) -> SchemaRegistry | None:
        return self._the_registry


def _side(pipeline: Pipeline, spec: BronzeSpec) -> Side | None:
    """How a table's records are judged; None where what is deployed can not be read any more."""
    contract = pipeline.contracts.get(spec.contract)
    name = spec.source.writer_schema
    text = None if name is None else pipeline.writer_schemas.get(name)
    return None if contract is None or (name is not None and text is None) else Side(spec, contract, text)
