"""What an audit remembers of a table, so that the next one looks only at what came after.

| path                                   | what                                                                  |
|----------------------------------------|-----------------------------------------------------------------------|
| `<root>/_ops/audit/<table>.json`       | how far it came, the ends of ranges, sums, a checksum of each lane day |
| `<root>/_ops/audit/<table>/<day>.json` | `{run id: [version, files, bytes]}` of the lane's folders of that day |

Both may be deleted: the next audit then looks at everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from checkpoints.lake import Lake

Offsets = dict[str, dict[int, int]]
"""Topic -> partition -> offset."""

Kind = Literal["counts", "range", "rows", "lane", "twice", "commit", "file"]


class Difference(BaseModel):
    """One thing that is not as the ledger says.

    `text` is the sentence for people. `start` and `end` (not included) are the batch's range of the partition,
    `offsets` those that differ, both ends included. What is one difference has one `key`, also when it grows.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    subject: str
    text: str
    version: int | None = None
    generation: int | None = None
    batch_id: int | None = None
    run_id: str | None = None
    topic: str | None = None
    partition: int | None = None
    start: int | None = None
    end: int | None = None
    offsets: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What it is about: what is wrong there, in which commit or run, and in which partition."""
        return (self.kind, self.subject, self.version, self.run_id, self.topic, self.partition)


class Totals(BaseModel):
    """What has been audited so far: batches and their records; `without_record` are offsets that held none."""

    batches: int = 0
    read: int = 0
    accepted: int = 0
    rejected: int = 0
    dropped: int = 0
    without_record: int = 0
    redriven: int = 0


class GenerationEnds(BaseModel):
    """How far one generation's batches reach: the newest batch, and where each partition begins and ends."""

    batch_id: int
    epoch: int = 0
    starts: Offsets = {}
    ends: Offsets = {}


class LaneDay(BaseModel):
    """One day of a lane: its folders with records, and a checksum of their names, files and bytes."""

    model_config = ConfigDict(frozen=True)

    folders: int = 0
    files: int = 0
    bytes: int = 0
    checksum: str = ""


class LaneMark(BaseModel):
    """A lane folder as it was audited: the version of its batch (-1 where there is none), its files and bytes."""

    model_config = ConfigDict(frozen=True)

    version: int
    files: int
    bytes: int


class AuditState(BaseModel):
    """Everything up to and with `version` has been audited. `revision` grows by one with each audit that is saved."""

    format: Literal[1] = 1
    revision: int = 0
    table_id: str
    version: int
    totals: Totals = Field(default_factory=Totals)
    generations: dict[int, GenerationEnds] = {}
    lanes: dict[str, LaneDay] = {}
    differences: list[Difference] = []


def load(lake: Lake, table: str) -> AuditState | None:
    """The state of a table's audit; None where there is none, or none that can be used."""
    text = lake.read(_file(lake, table))
    try:
        return AuditState.model_validate_json(text) if text is not None else None
    except ValidationError:
        return None


def save(lake: Lake, table: str, state: AuditState, days: Mapping[str, Mapping[str, LaneMark]]) -> bool:
    """Keep a state and the days of the lane that changed; False where another audit has saved one meanwhile."""
    current = load(lake, table)
    if current is not None and current.revision >= state.revision:
        return False
    for day, marks in days.items():
        packed = {run_id: [mark.version, mark.files, mark.bytes] for run_id, mark in sorted(marks.items())}
        lake.write(_day_file(lake, table, day), orjson.dumps(packed))
    lake.write(_file(lake, table), state.model_dump_json(exclude_defaults=True).encode())
    return True


def load_day(lake: Lake, table: str, day: str) -> dict[str, LaneMark] | None:
    """The folders of one day of the lane as they were audited; None where they were not kept."""
    text = lake.read(_day_file(lake, table, day))
    try:
        found = orjson.loads(text) if text is not None else None
        return found and {run: LaneMark(version=v, files=f, bytes=b) for run, (v, f, b) in found.items()}
    except (ValueError, TypeError, AttributeError):
        return None


def lane_day(marks: Mapping[str, LaneMark]) -> LaneDay:
    """The sum of a day's folders."""
    lines = "".join(f"{run_id} {mark.files} {mark.bytes}\n" for run_id, mark in sorted(marks.items()))
    return LaneDay(
        folders=len(marks),
        files=sum(mark.files for mark in marks.values()),
        bytes=sum(mark.bytes for mark in marks.values()),
        checksum=hashlib.blake2b(lines.encode(), digest_size=16).hexdigest(),
    )


def _file(lake: Lake, table: str) -> str:
    return f"{lake.root}/_ops/audit/{table}.json"


def _day_file(lake: Lake, table: str, day: str) -> str:
    return f"{lake.root}/_ops/audit/{table}/{day}.json"
