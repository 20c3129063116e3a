"""History that a topic still has, or an archive of it under another name: ranges of offsets, each record once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from schemas.settings import Settings
from streams.intake.errors import RangeGone
from streams.intake.source import KAFKA_COLUMNS, Planned
from streams.sources import read_topic


@dataclass
class TopicSource:
    """Offsets of a topic from `begin` up to `end`, which is not included, by partition; `batch_rows` at once."""

    settings: Settings
    topic: str
    begin: Mapping[int, int]
    end: Mapping[int, int]
    batch_rows: int

    def describe(self) -> list[str]:
        """The ranges."""
        return [f"{self.topic}[{one}] offsets {first} to {self.end[one] - 1}" for one, first in self.begin.items()]

    def total(self) -> int | None:
        """How many offsets there are; at least as many as records."""
        return sum(max(0, self.end[one] - first) for one, first in self.begin.items())

    def next(self, before: Planned | None) -> Planned | None:
        """The batch after this one: a fair part of every partition."""
        at = {int(one): offset for one, offset in (before.end if before is not None else self.begin).items()}
        left = {one: self.end[one] - offset for one, offset in at.items() if self.end[one] > offset}
        if not left:
            return None
        self._require_there({one: (at[one], self.end[one]) for one in left})
        share = max(1, self.batch_rows // len(left))
        end = {one: offset + min(left.get(one, 0), share) for one, offset in at.items()}
        return Planned({"from": {str(one): offset for one, offset in at.items()}}, end)

    def read(self, spark: SparkSession, planned: Planned, start: dict[int, int]) -> DataFrame:
        """The records of a planned batch."""
        del start
        begin: dict[int, int] = {int(one): offset for one, offset in planned.reads["from"].items()}
        moved = {one: (offset, planned.end[one]) for one, offset in begin.items() if planned.end[one] > offset}
        self._require_there(moved)
        return read_topic(spark, self.settings, self.topic, moved).select(*KAFKA_COLUMNS)

    def _require_there(self, wanted: Mapping[int, tuple[int, int]]) -> None:
        """See that the topic still has the beginning of each range; raises RangeGone."""
        gone = [
            f"{self.topic}[{one}] offsets {first} to {min(end, self.begin[one]) - 1}"
            for one, (first, end) in wanted.items()
            if self.begin.get(one, first) > first
        ]
        if gone:
            raise RangeGone(gone)
