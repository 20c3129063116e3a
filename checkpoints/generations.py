"""The generations of a query: where each one began to read, of which topic, and what the table held already by then.

A generation is a folder `<root>/_checkpoints/<query>/g<N>` with a checkpoint of Spark's and a file of Sluice's,
`start.json`. The first one has no other beginning than its spec's `starting_offsets`. A reset makes the next one and
keeps those before: nothing of them is changed.

A new generation may read again what an older one has read. It writes only the records that bronze and its lane do not
hold: `held` are the offsets that were accounted for when it began, from the ledger's ranges. Nobody but the newest
generation accounts for more, and backfills: each is a generation of its own beside the others, with a number below 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from checkpoints import lease
from checkpoints.errors import UnreadableOffsets
from checkpoints.lake import Lake
from checkpoints.spans import NONE, Spans

Pieces = dict[int, tuple[tuple[int, int], ...]]
"""Partition -> ranges of offsets, the end of each not included."""

FILE = "start.json"


class Start(BaseModel):
    """Where a generation began.

    `topic_id` names the topic beyond its name, None until a broker has told it. `offsets` are where each partition is
    read from, None where the spec says it. `epoch` grows where an operator accepts another topic of the same name, or
    a restored source: its offsets and positions have nothing to do with those before. `lost` are the offsets that the
    topic no longer had, and that whoever made this generation knew to be lost. A pulled table that was rewound goes on
    from `watermark`, None where it had read nothing by then.
    """

    model_config = ConfigDict(frozen=True)

    generation: int
    kind: Literal["first", "reset", "recover", "rewind", "backfill"]
    at: datetime
    topic: str
    topic_id: str | None = None
    epoch: int = 0
    offsets: dict[int, int] | None = None
    held: Pieces = {}
    lost: Pieces = {}
    watermark: datetime | None = None

    def held_of(self, partition: int) -> Spans:
        """The offsets of a partition that were accounted for before this generation."""
        return Spans(self.held[partition]) if partition in self.held else NONE


def pieces(spans: Mapping[int, Spans]) -> Pieces:
    """Offsets by partition as they are kept; partitions without any are left out."""
    return {partition: found.pieces for partition, found in sorted(spans.items()) if found}


def find(lake: Lake, query: str, generation: int) -> Start | None:
    """Where a generation began; None where there is none of this number. Raises UnreadableOffsets."""
    text = lake.read(_file(lake, query, generation))
    return None if text is None else _start(_file(lake, query, generation), text)


def start_of(lake: Lake, query: str, generation: int) -> Start | None:
    """Where a generation began; None for the first one before it has run. Raises UnreadableOffsets."""
    file = _file(lake, query, generation)
    text = lake.read(file)
    if text is None and generation:
        raise UnreadableOffsets(file, "it is missing")
    return None if text is None else _start(file, text)


def keep(lake: Lake, query: str, start: Start) -> None:
    """Write where a generation begins; the generation is there from then on. Harmless to repeat. Raises LeaseLost."""
    lease.check(lake)
    lake.write(_file(lake, query, start.generation), start.model_dump_json(exclude_defaults=True).encode())


def _start(file: str, text: bytes) -> Start:
    try:
        return Start.model_validate_json(text)
    except ValidationError as error:
        raise UnreadableOffsets(file, "it is cut short or damaged") from error


def _file(lake: Lake, query: str, generation: int) -> str:
    return f"{lake.checkpoint(query, generation)}/{FILE}"
