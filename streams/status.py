"""Where each table is, from the tables' own logs and the brokers: without Spark, whether the service runs or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from checkpoints import ledger
from schemas.errors import SluiceError
from schemas.spec import BronzeSpec
from sinks.table import Table
from streams.graph import Graph
from streams.lag import lag_of
from streams.sources import Brokers
from streams.steps import pending


@dataclass(frozen=True)
class TableStatus:
    """One table.

    `position` is the batch that bronze holds, or per upstream the version that a table has consumed. `rows` are in the
    table; `last_*` describe the newest step. `lag` counts records of the topic, or versions of the upstreams that are
    behind; None where it can not be told. `age_seconds` is since the last commit. `problem` is what keeps it there.
    """

    table: str
    position: int | dict[str, int] | None
    version: int | None
    rows: int | None
    last_batch: str | None
    last_rows: dict[str, int]
    rejected: int
    lag: int | None
    age_seconds: float | None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def status_of(graph: Graph, brokers: Brokers | None) -> Iterator[TableStatus]:
    """The status of every table in the order of the flow; without brokers the lag of bronze is not known."""
    for name in graph.pipeline.order:
        table = graph.tables[name]
        if not table.exists:
            yield TableStatus(name, None, None, None, None, {}, 0, None, None)
            continue
        is_bronze = isinstance(graph.pipeline.tables[name], BronzeSpec)
        position: int | dict[str, int] | None = None
        lag, problem = None, ""
        try:
            position, lag = _bronze(graph, name, brokers) if is_bronze else _below(graph, table, name)
        except SluiceError as error:
            problem = str(error)
        newest = next(ledger.entries(table.handle(), limit=1), None)
        entry = newest[1] if newest else None
        yield TableStatus(
            table=name,
            position=position,
            version=table.version(),
            rows=int(table.handle().count()),
            last_batch=entry.run_id if entry else None,
            last_rows=entry.rows if entry else {},
            rejected=entry.rejected if entry else 0,
            lag=lag,
            age_seconds=_age(table),
            problem=problem,
        )


def _bronze(graph: Graph, name: str, brokers: Brokers | None) -> tuple[int | None, int | None]:
    step = graph.bronze[name]
    lag = lag_of(step, brokers) if brokers is not None else None
    return step.table.position(step.app), None if lag is None else sum(lag.values())


def _below(graph: Graph, table: Table, name: str) -> tuple[dict[str, int], int]:
    step = graph.below[name]
    todo = [
        pending(table, graph.tables[one], step.label)
        for one in graph.pipeline.upstreams(name)
        if graph.tables[one].exists
    ]
    return {one.upstream.name: one.position for one in todo}, sum(one.to - one.position for one in todo)


def _age(table: Table) -> float:
    committed = float(table.handle().history(1)[0]["timestamp"]) / 1000
    return round(max(0.0, datetime.now(UTC).timestamp() - committed), 1)
