"""Spark's own record of a query: which offsets each micro-batch reads, and when it was planned.

Spark writes `<checkpoint>/offsets/<batch>` before a batch runs and `<checkpoint>/commits/<batch>` after it. The first
holds a version line, a line of metadata with `batchTimestampMs`, and a line per source with the end offsets; where a
query began lies in `<checkpoint>/sources/0/0`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyarrow import fs

from checkpoints.errors import UnreadableOffsets
from checkpoints.lake import Lake

_CUT_SHORT = "it is cut short or damaged"

Offsets = dict[str, dict[int, int]]
"""Topic -> partition -> offset."""


@dataclass(frozen=True)
class BatchOffsets:
    """What one micro-batch reads: `start` (inclusive) and `end` (exclusive), and the batch's clock."""

    batch_id: int
    clock: datetime
    start: Offsets
    end: Offsets

    @property
    def ranges(self) -> dict[str, dict[int, tuple[int, int]]]:
        """Topic -> partition -> (start, end) of every partition that moved."""
        moved: dict[str, dict[int, tuple[int, int]]] = {}
        for topic, partitions in self.end.items():
            for partition, end in sorted(partitions.items()):
                start = self.start.get(topic, {}).get(partition, 0)
                if end > start:
                    moved.setdefault(topic, {})[partition] = (start, end)
        return moved

    @property
    def width(self) -> int:
        """How many offsets it reads; at least as many as records."""
        return sum(end - start for partitions in self.ranges.values() for start, end in partitions.values())


def read_batch(lake: Lake, checkpoint: str, batch_id: int) -> BatchOffsets:
    """The offsets and the clock of a planned batch; raises UnreadableOffsets."""
    metadata, end = _read_entry(lake, f"{checkpoint}/offsets/{batch_id}")
    if batch_id == 0:
        start = _read_initial(lake, f"{checkpoint}/sources/0/0")
    else:
        _, start = _read_entry(lake, f"{checkpoint}/offsets/{batch_id - 1}")
    clock = datetime.fromtimestamp(metadata["batchTimestampMs"] / 1000, UTC)
    return BatchOffsets(batch_id, clock, start, end)


def planned_batches(lake: Lake, checkpoint: str) -> list[int]:
    """The ids of the batches in the offset log, ascending."""
    filesystem, path = lake.filesystem(f"{checkpoint}/offsets")
    found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(int(info.base_name) for info in found if info.base_name.isdigit())


def committed_batches(lake: Lake, checkpoint: str) -> list[int]:
    """The ids of the batches in the commit log, ascending."""
    filesystem, path = lake.filesystem(f"{checkpoint}/commits")
    found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(int(info.base_name) for info in found if info.base_name.isdigit())


def damage(lake: Lake, checkpoint: str, planned: list[int], committed: list[int]) -> tuple[str, str] | None:
    """The file by which a checkpoint is seen to be damaged, and what is wrong with it; None where it is whole.

    Spark keeps the newest hundred batches or so: the logs begin anywhere, and have no gap.
    """
    if not planned:
        return (f"{checkpoint}/offsets", "it has no batch, but commits has") if committed else None
    text = lake.read(f"{checkpoint}/metadata")
    if text is None:
        return f"{checkpoint}/metadata", "it is missing"
    if not _is_json(text):
        return f"{checkpoint}/metadata", _CUT_SHORT
    for name, found in (("offsets", planned), ("commits", committed)):
        missing = sorted(set(range(found[0], found[-1] + 1)) - set(found)) if found else []
        if missing:
            return f"{checkpoint}/{name}/{missing[0]}", f"it is missing, and {found[-1]} is there"
    newest = committed[-1] if committed else planned[0] - 1
    if newest > planned[-1]:
        return f"{checkpoint}/offsets/{newest}", "it is missing, and the batch was committed"
    if newest < planned[-1] - 1:
        return f"{checkpoint}/commits/{newest + 1}", f"it is missing, and batch {planned[-1]} is planned"
    # Of the commits Spark reads the newest alone: a version line, and JSON.
    if committed and not _is_json((lake.read(f"{checkpoint}/commits/{newest}") or b"").partition(b"\n")[2]):
        return f"{checkpoint}/commits/{newest}", _CUT_SHORT
    return None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _read_entry(lake: Lake, file: str) -> tuple[dict[str, Any], Offsets]:
    lines = _read_text(lake, file).splitlines()
    try:
        metadata = json.loads(lines[1])
        metadata["batchTimestampMs"] + 0
        return metadata, _parse(lines[2])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UnreadableOffsets(file, f"{_CUT_SHORT} ({type(error).__name__})") from error


def _read_initial(lake: Lake, file: str) -> Offsets:
    text = _read_text(lake, file)
    try:
        return _parse(text[text.index("{") :])
    except ValueError as error:
        raise UnreadableOffsets(file, _CUT_SHORT) from error


def _parse(line: str) -> Offsets:
    return {
        topic: {int(partition): int(offset) for partition, offset in partitions.items()}
        for topic, partitions in json.loads(line).items()
    }


def _read_text(lake: Lake, file: str) -> str:
    filesystem, path = lake.filesystem(file)
    try:
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read()).decode("utf-8")
    except FileNotFoundError as error:
        raise UnreadableOffsets(file, "it is missing") from error
