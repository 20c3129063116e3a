"""The counts of one batch, by partition and outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from checkpoints.ledger import PartitionCounts


@dataclass(frozen=True)
class Count:
    """So many records of one partition had one outcome: dropped, rejected by a rule, or else accepted."""

    topic: str
    partition: int
    dropped: str | None
    rule: str | None
    count: int


@dataclass(frozen=True)
class Tally:
    """All counts of a batch; a rejected record counts by its first violation."""

    counts: tuple[Count, ...]

    @property
    def read(self) -> int:
        """All records."""
        return sum(one.count for one in self.counts)

    @property
    def accepted(self) -> int:
        """Those that became rows."""
        return sum(one.count for one in self.counts if one.rule is None and one.dropped is None)

    @property
    def rejected(self) -> int:
        """Those that went to the lane."""
        return sum(self.reasons.values())

    @property
    def reasons(self) -> dict[str, int]:
        """The rejected ones by rule."""
        found: Counter[str] = Counter()
        for one in self.counts:
            if one.rule is not None:
                found[one.rule] += one.count
        return dict(found)

    @property
    def dropped(self) -> dict[str, int]:
        """Those without a row, by what they were."""
        found: Counter[str] = Counter()
        for one in self.counts:
            if one.rule is None and one.dropped is not None:
                found[one.dropped] += one.count
        return dict(found)

    def entry_fields(self) -> dict[str, Any]:
        """The fields of the ledger's entry."""
        return {
            "read": self.read,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "dropped": self.dropped,
            "partitions": self._partitions(),
            "rows": {"inserted": self.accepted} if self.accepted else {},
        }

    def _partitions(self) -> dict[str, dict[int, PartitionCounts]]:
        sums: dict[tuple[str, int], Counter[str]] = {}
        for one in self.counts:
            outcome = "rejected" if one.rule is not None else "dropped" if one.dropped is not None else "accepted"
            sums.setdefault((one.topic, one.partition), Counter())[outcome] += one.count
        found: dict[str, dict[int, PartitionCounts]] = {}
        for (topic, partition), counts in sorted(sums.items()):
            found.setdefault(topic, {})[partition] = PartitionCounts(read=counts.total(), **counts)
        return found
