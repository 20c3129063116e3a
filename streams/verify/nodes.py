"""What a rebuild consists of: each table at the position that the table below it has consumed, down from bronze.

A table at one version carries, in its log, the version of each upstream that it has consumed; that version of the
upstream carries its own; and so on, to versions of bronze. Two versions of a table that have consumed the same are one
node, and are rebuilt once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from checkpoints import ledger, positions
from checkpoints.errors import PositionAhead
from checkpoints.positions import app_id
from schemas.errors import SluiceError
from schemas.pipeline import Pipeline
from schemas.spec import BronzeSpec, ChangeSpec, CurrentSpec, DerivedSpec, HistorySpec, Scd2Spec, TableSpec
from sinks.lanes.reader import LaneReader
from sinks.pinned import PinnedTable
from streams.graph import Graph
from streams.steps import CREATED
from streams.verify.sample import Sample


class TableNotThere(SluiceError):
    """The lake does not have the table yet."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(f"{table} is not in the lake yet. `sluice run` makes it.")


@dataclass(frozen=True)
class Node:
    """One table as it is to be rebuilt: bronze at a version, any other by what it has consumed.

    `version` is that of the live table; below bronze it tells no two nodes apart. `redriven` are the runs that brought
    records of the table's error lane into it. `sample` are the keys that are enough.
    """

    table: str
    version: int = field(compare=False)
    above: tuple[Node, ...] = ()
    bronze_version: int | None = None
    redriven: frozenset[str] = frozenset()
    sample: Sample | None = None
    unread: tuple[str, ...] = field(default=(), compare=False)

    def bronze(self) -> dict[str, int]:
        """The version of each bronze table that it is made from; the newest, where there are several."""
        if self.bronze_version is not None:
            return {self.table: self.bronze_version}
        found: dict[str, int] = {}
        for node in self.above:
            for table, version in node.bronze().items():
                found[table] = max(version, found.get(table, version))
        return found


class Snapshot:
    """The nodes of a lake as it is now: looked up once, and good whatever is committed later."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: dict[tuple[str, int], Node] = {}

    def newest(self, table: str) -> Node:
        """The newest version of a table; raises TableNotThere and PositionAhead."""
        return self.at(table, self._there(table).version())

    def at(self, table: str, version: int) -> Node:
        """One version of it."""
        if (table, version) not in self._nodes:
            self._nodes[table, version] = self._look_up(table, version)
        return self._nodes[table, version]

    def known_by_then(self, table: str) -> Node:
        """A table as it is made from all that bronze holds now; of which a Shadow may leave out what is too new."""
        if table in self._graph.bronze:
            return self.newest(table)
        above = tuple(self.known_by_then(one) for one in self._graph.pipeline.upstreams(table))
        return Node(table, -1, above)

    def _there(self, table: str) -> PinnedTable:
        live = self._graph.tables[table]
        if not live.exists:
            raise TableNotThere(table)
        return PinnedTable(table, self._graph.lake, live.version())

    def _look_up(self, table: str, version: int) -> Node:
        if table in self._graph.bronze:
            return Node(table, version, bronze_version=version)
        label = self._graph.below[table].label
        live = PinnedTable(table, self._graph.lake, version)
        above, unread = [], []
        for name in self._graph.pipeline.upstreams(table):
            upstream = self._there(name)
            position = live.position(app_id(upstream.source_name(), label, positions.generation(live.handle())))
            if position is not None and position > upstream.version():
                raise PositionAhead(table, name, position, upstream.version())
            if position is None and upstream.version() > CREATED:
                unread.append(name)
            above.append(self.at(name, CREATED if position is None else position))
        return Node(table, version, tuple(above), redriven=self._redriven(live), unread=tuple(unread))

    def _redriven(self, live: PinnedTable) -> frozenset[str]:
        """The re-drives that the version holds; its log is read only where the lane has verdicts at all."""
        if not isinstance(self._graph.pipeline.tables[live.name], ChangeSpec):
            return frozenset()
        if not any(True for _ in LaneReader(self._graph.lake, live.name).verdicts()):
            return frozenset()
        return frozenset(entry.run_id for _, entry in ledger.entries(live.handle()) if entry.step == "redrive")


def key_of(spec: TableSpec) -> tuple[str, ...]:
    """The columns by which a table is sampled: its grain, or the keys whose rows, changes or versions it has."""
    match spec:
        case BronzeSpec():
            return ()
        case CurrentSpec() | HistorySpec() | Scd2Spec():
            return spec.keys
        case DerivedSpec():
            return spec.grain
    assert_never(spec)


def sampled(node: Node, sample: Sample, graph: Graph) -> Node:
    """The same node, of which only some keys are made; and so with what is above it, where the keys lead there.

    They do where a change upstream finds the rows here by the very columns of the sample, those columns are of the
    upstream's own key, and both sides have one type. Any other upstream is needed whole.
    """
    spec = graph.pipeline.tables[node.table]
    above = tuple(
        sampled(one, up, graph) if (up := _led_up(spec, one, sample, graph)) is not None else one for one in node.above
    )
    return replace(node, above=above, sample=sample)


def _led_up(spec: TableSpec, above: Node, sample: Sample, graph: Graph) -> Sample | None:
    if above.bronze_version is not None:
        return None
    if isinstance(spec, Scd2Spec):
        return sample
    if not isinstance(spec, DerivedSpec):
        return None
    theirs = {ours: column for column, ours in spec.affected_columns(above.table).items()}
    keys = key_of(graph.pipeline.tables[above.table])
    if not all(theirs.get(column) in keys for column in sample.columns):
        return None
    here, there = graph.tables[spec.table].schema(), graph.tables[above.table].schema()
    is_same = all(here[column].dataType == there[theirs[column]].dataType for column in sample.columns)
    return sample.renamed(theirs) if is_same else None


def all_tables(pipeline: Pipeline) -> list[str]:
    """The tables that can be rebuilt, in the order of the flow."""
    return [name for name in pipeline.order if not isinstance(pipeline.tables[name], BronzeSpec)]
