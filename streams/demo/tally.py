"""Is every record accounted for: what was made, what the brokers hold, what was read, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas import columns as c
from streams.demo.watch import LedgerSums, Outcomes
from streams.graph import Graph


@dataclass(frozen=True)
class TopicTally:
    """One topic and its bronze table.

    `made` and `broken` are what the generator and Debezium wrote by the demo's own count, `on_topic` is what the
    brokers hold, `outcomes` what the ledger says, `rows` and `lane_records` what lies in the table and its error lane.
    """

    topic: str
    made: int
    broken: int
    on_topic: int
    outcomes: Outcomes
    rows: int
    lane_records: int

    @property
    def differences(self) -> list[str]:
        """What does not hold, a sentence each."""
        found = self.outcomes
        judged = found.accepted + found.rejected + found.dropped
        equal = [
            ("records made", self.made, "records on the topic", self.on_topic),
            ("records on the topic", self.on_topic, "records read", found.read),
            ("records read", found.read, "records accepted, rejected or dropped", judged),
            ("broken records made", self.broken, "records rejected", found.rejected),
            ("records accepted", found.accepted, "rows in bronze", self.rows),
            ("records rejected", found.rejected, "records in the error lane", self.lane_records),
        ]
        return [
            f"{self.topic}: {left:,} {what}, but {right:,} {other}"
            for what, left, other, right in equal
            if left != right
        ]


def tallies(
    graph: Graph, *, made: Mapping[str, int], broken: Mapping[str, int], on_topic: Mapping[str, int]
) -> Iterator[TopicTally]:
    """The tally of each topic, from the lake as it lies there now."""
    for name, step in graph.bronze.items():
        topic, table = step.spec.source.topic, graph.tables[name]
        yield TopicTally(
            topic=topic,
            made=made.get(topic, 0),
            broken=broken.get(topic, 0),
            on_topic=on_topic.get(topic, 0),
            outcomes=LedgerSums(table).outcomes(),
            rows=_rows(graph, name),
            lane_records=_lane_records(Path(graph.lake.errors(name))),
        )


def _rows(graph: Graph, name: str) -> int:
    table = graph.tables[name]
    return len(table.to_arrow([c.INGEST_TS])) if table.exists else 0


def _lane_records(folder: Path) -> int:
    return sum(len(file.read_bytes().splitlines()) for file in folder.rglob("*.json"))
