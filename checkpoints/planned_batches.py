"""Batches that Sluice plans itself, where there is no streaming query that would: kept in the form of Spark's own logs.

| path below the generation | what                                                                                    |
|---------------------------|-----------------------------------------------------------------------------------------|
| `offsets/<batch>`         | written before a batch runs: its clock, and the offsets where it ends, as Spark has them |
| `ranges/<batch>`          | what the batch reads of its source, as its reader understands it                        |
| `commits/<batch>`         | written after it                                                                        |

So everything that reads Spark's logs (the bronze step, the audit, the checks at the start) reads these too.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

import orjson

from checkpoints.errors import UnreadableOffsets
from checkpoints.lake import Lake
from checkpoints.offsets import BatchOffsets, committed_batches, planned_batches, read_batch

_METADATA: Final = b'{"id":"planned by Sluice"}'


class PlannedBatches:
    """The batches of one generation, whose folder is `checkpoint`."""

    def __init__(self, lake: Lake, checkpoint: str) -> None:
        self._lake, self._checkpoint = lake, checkpoint

    def newest(self) -> int | None:
        """The newest batch that was planned; None before the first."""
        planned = planned_batches(self._lake, self._checkpoint)
        return planned[-1] if planned else None

    def is_open(self, batch_id: int) -> bool:
        """Whether a batch is planned and not known to be committed."""
        return batch_id not in committed_batches(self._lake, self._checkpoint)

    def plan(
        self,
        batch_id: int,
        clock: datetime,
        topic: str,
        end: dict[int, int],
        reads: dict[str, Any],
        first: dict[int, int] | None = None,
    ) -> None:
        """Write down what a batch reads; there is no batch before its offsets are there.

        The first one begins at the offsets `first`, 0 where a partition is not named.
        """
        if batch_id == 0:
            start = json.dumps({topic: {str(partition): (first or {}).get(partition, 0) for partition in end}})
            self._write("metadata", _METADATA)
            self._write("sources/0/0", f"\0v1\n{start}".encode())
        self._write(f"ranges/{batch_id}", orjson.dumps(reads))
        self._plan_offsets(batch_id, clock, topic, end)

    def widen(self, batch_id: int, topic: str, end: dict[int, int]) -> None:
        """Let a batch end at later offsets; for one of which nothing has been written yet."""
        self._plan_offsets(batch_id, self.offsets(batch_id).clock, topic, end)

    def reads(self, batch_id: int) -> dict[str, Any]:
        """What a planned batch reads; raises UnreadableOffsets."""
        file = f"{self._checkpoint}/ranges/{batch_id}"
        text = self._lake.read(file)
        if text is None:
            raise UnreadableOffsets(file, "it is missing")
        found: dict[str, Any] = orjson.loads(text)
        return found

    def offsets(self, batch_id: int) -> BatchOffsets:
        """The offsets and the clock of a planned batch; raises UnreadableOffsets."""
        return read_batch(self._lake, self._checkpoint, batch_id)

    def commit(self, batch_id: int) -> None:
        """Say that a batch is in the table."""
        self._write(f"commits/{batch_id}", b"v1\n{}")

    def _plan_offsets(self, batch_id: int, clock: datetime, topic: str, end: dict[int, int]) -> None:
        metadata = {"batchWatermarkMs": 0, "batchTimestampMs": int(clock.timestamp() * 1000), "conf": {}}
        ends = {topic: {str(partition): offset for partition, offset in end.items()}}
        self._write(f"offsets/{batch_id}", "\n".join(["v1", json.dumps(metadata), json.dumps(ends)]).encode())

    def _write(self, name: str, text: bytes) -> None:
        self._lake.write(f"{self._checkpoint}/{name}", text)
