"""Where each query stands: its generation, its batches, what it reads next, and whether it can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from schemas.errors import SluiceError
from streams.graph import Graph
from streams.sources import Brokers, TopicBounds, TopicNotRead
from streams.starts import check_query, check_topic, next_offsets


@dataclass(frozen=True)
class PartitionState:
    """One partition: the offset that is read next, and from where to where the topic reaches; None where not known."""

    partition: int
    next: int | None
    first: int | None
    end: int | None

    @property
    def lag(self) -> int | None:
        """The records that are still to be read."""
        return None if self.end is None else max(0, self.end - max(self.next or 0, self.first or 0))


@dataclass(frozen=True)
class QueryState:
    """One query; `problem` is what keeps it from going on."""

    table: str
    topic: str
    generation: int
    kind: str
    batch_id: int | None
    partitions: tuple[PartitionState, ...]
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def states_of(graph: Graph, brokers: Brokers | None) -> Iterator[QueryState]:
    """The state of every query; without brokers, what its topic has is not known."""
    for name, step in graph.bronze.items():
        topic = step.spec.source.topic
        is_pulled = step.spec.source.jdbc is not None
        try:
            bounds = brokers.bounds(topic) if brokers is not None and not is_pulled else None
        except TopicNotRead:
            bounds = None
        kind, problem, after = "?", "", {}
        try:
            kind = step.start.kind
            if step.table.exists:
                check_query(step)
                after = next_offsets(step)
                if bounds is not None:
                    check_topic(step, bounds)
        except SluiceError as error:
            problem = str(error)
        held = step.table.position(step.app) if step.table.exists else None
        yield QueryState(name, topic, step.generation, kind, held, tuple(_partitions(after, bounds)), problem)


def _partitions(after: dict[int, int], bounds: TopicBounds | None) -> Iterator[PartitionState]:
    known = bounds.partitions if bounds is not None else {}
    for partition in sorted({*after, *known}):
        first, end = known.get(partition, (None, None))
        yield PartitionState(partition, after.get(partition), first, end)
