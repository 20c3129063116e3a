"""What a changed contract or spec says to the records that came lately: rows of bronze, and what is in the lane.

Nothing is written, nothing needs Spark, and no more than some hundreds of records are in memory at a time.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import StructType

from checkpoints.lake import Lake
from schemas import columns as c
from schemas.contract import Contract
from schemas.decode import Decoder
from schemas.errors import InvalidSettings
from schemas.judge import Judge
from schemas.rebuilt import Forms
from schemas.record_bytes import PENDING, AvroReader, JsonReader, Reader, ids_of, reader_for
from schemas.spec import BronzeSpec
from schemas.table_columns import row_in
from sinks.lanes.positions import Positions, held_in
from sinks.lanes.reader import REDRIVEN, LaneReader, rules_of
from sinks.recent_rows import recent_rows
from sinks.table import Table
from streams.errors import RegistryUnavailable
from streams.plan.counts import Counts, RecordPlan
from streams.registry import SchemaRegistry

FROZEN: Final = "schema_change.freeze"
"""Not a rule that rejects: under `schema_change: freeze` a field that the contract does not name stops the query."""

_SIZE: Final = "record.size"
_AT_ONCE: Final = 500

Row = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """What the records of a bronze table are judged by, as deployed or as planned."""

    spec: BronzeSpec
    contract: Contract
    writer_schema: str | None

    @property
    def is_frozen(self) -> bool:
        """Whether a field that the contract does not name stops the query."""
        return self.spec.schema_change == "freeze"

    def judge(self, present: StructType, *, of_rows: bool) -> Judge:
        """The judge of the records as they come, or `of_rows` that were made into records again."""
        reader = reader_for(self.spec, self.contract, self.writer_schema)
        if of_rows:
            reader = _AsAvro(reader) if isinstance(reader, AvroReader) else JsonReader()
        return Decoder.of(self.spec, self.contract, row_in(self.spec, present), reader).judge


@dataclass(frozen=True)
class _AsAvro:
    """Reads records that came as Avro and were rebuilt as JSON: defaults and aliases count as they do for Avro."""

    avro: AvroReader

    def read_all(self, values: pa.Array) -> tuple[list[Any], list[int]]:
        """See Reader."""
        records, with_decimals = JsonReader().read_all(values)
        return self.avro.resolved(records), with_decimals


@dataclass(frozen=True)
class Trial:
    """One bronze table, judged as it is deployed and as it is planned; `most` rows and as many open records.

    `registry` gives the writer schemas of Avro; it is asked for them only where there is a record to be read.
    """

    lake: Lake
    table: Table
    deployed: Side
    planned: Side
    most: int
    max_record_bytes: int
    registry: Callable[[], SchemaRegistry | None]

    def run(self, *, rows: bool = True) -> RecordPlan:
        """Judge; without `rows` the lane alone."""
        counts = Counts()
        present = self.table.schema()
        if rows:
            for piece in self._recent(present):
                self._judge_rows(piece, present, counts)
        self._judge_lane(present, counts)
        return counts.plan()

    def _recent(self, present: StructType) -> Iterator[list[Row]]:
        read = {c.TOPIC, c.PARTITION, c.OFFSET, c.RESCUED_DATA, c.UNAVAILABLE}
        unread = {*c.BRONZE_METADATA, *c.INGEST_METADATA} - read
        names = [name for name in present.names if name not in unread]
        for rows in recent_rows(self.lake, self.table, names, self.most):
            for start in range(0, len(rows), _AT_ONCE):
                yield rows[start : start + _AT_ONCE]

    def _judge_rows(self, rows: list[Row], present: StructType, counts: Counts) -> None:
        """Rows as the records that they may have been: those that what is deployed takes, held to what is planned.

        A row that neither form of it satisfies there came under an older contract, or can not be rebuilt: of it is
        only told that it was not judged.
        """
        before, after = (side.judge(present, of_rows=True) for side in (self.deployed, self.planned))
        metadata = {*c.BRONZE_METADATA, *c.INGEST_METADATA}
        forms = Forms(StructType([one for one in present.fields if one.name not in metadata]), before)
        found = {second: _forms(forms, rows, before, second=second) for second in (False, True)}
        is_frozen = self.planned.is_frozen
        verdicts = {second: rules(after, _binary(values), is_frozen=is_frozen) for second, values in found.items()}
        for at, row in enumerate(rows):
            said = [verdicts[second][at] for second in (False, True) if found[second][at] is not None]
            if not said:
                counts.not_judged += 1
                continue
            counts.rows += 1
            broken = next((rule for rule in said if rule is not None), None)
            if broken is not None:
                is_sure = None not in said and not _may_pass(forms, row, before, after)
                counts.fails(broken, _place(row[c.TOPIC], row[c.PARTITION], row[c.OFFSET]), is_sure=is_sure)

    def _judge_lane(self, present: StructType, counts: Counts) -> None:
        reader = LaneReader(self.lake, self.table.name, counts.unreadable)
        held = held_in(self.table.path, reader.positions())
        since = _since(reader, held, self.most)
        if since is None:
            return
        before, after = (
            _Reading(side.judge(present, of_rows=False), self, side.is_frozen) for side in (self.deployed, self.planned)
        )
        left = self.most
        for batch in reader.records(since, held=held):
            is_open = batch.filter(pc.invert(batch[REDRIVEN])).slice(0, left)
            left -= is_open.num_rows
            for start in range(0, is_open.num_rows, _AT_ONCE):
                self._judge_open(is_open.slice(start, _AT_ONCE), before, after, counts)
            if not left:
                break

    def _judge_open(self, records: pa.RecordBatch, before: _Reading, after: _Reading, counts: Counts) -> None:
        if counts.is_registry_gone:  # it is asked once: each time may take its timeout
            counts.open_not_judged += records.num_rows
            return
        values = [_bytes(value) for value in records["value"].to_pylist()]
        try:
            new, old = after.rules(values), before.rules(values)
        except (RegistryUnavailable, InvalidSettings) as error:
            counts.open_not_judged += records.num_rows
            counts.is_registry_gone, counts.why_not_judged = True, _why(error)
            return
        topics, partitions, offsets = (records[name].to_pylist() for name in ("topic", "partition", "offset"))
        for at, was in enumerate(rules_of(records).to_pylist()):
            place = _place(topics[at], partitions[at], offsets[at])
            if values[at] is None:
                counts.open_not_judged += 1
            elif new[at] is not None:
                counts.still_fails(was, str(new[at]))
            elif old[at] is None:
                counts.passes_already()
            else:
                counts.passes(was, place)


@dataclass
class _Reading:
    """A judge of bytes, which asks for the writer schemas that records name."""

    judge: Judge
    trial: Trial
    is_frozen: bool

    def rules(self, values: Sequence[bytes | None]) -> list[str | None]:
        """The first rule that each breaks, None for one that is accepted or only counted."""
        most = self.trial.max_record_bytes
        large = [value is not None and len(value) > most for value in values]
        array = _binary([None if is_large else value for value, is_large in zip(values, large, strict=True)])
        found = rules(self._knowing(array), array, is_frozen=self.is_frozen)
        return [_SIZE if is_large else rule for rule, is_large in zip(found, large, strict=True)]

    def _knowing(self, values: pa.Array) -> Judge:
        reader = self.judge.reader
        if not isinstance(reader, AvroReader):
            return self.judge
        ids = ids_of(_pending(reader, values))
        if ids and (registry := self.trial.registry()) is not None:
            self.judge = replace(self.judge, reader=reader.knowing(registry.writer_schemas(ids)))
        return self.judge


def rules(judge: Judge, values: pa.Array, *, is_frozen: bool = False) -> list[str | None]:
    """The rule that each record is rejected by, the first of several; None for one that is not."""
    verdicts = judge(values)
    found: list[str | None] = [one[0]["rule"] if one else None for one in verdicts.field("violations").to_pylist()]
    if not is_frozen:
        return found
    new = verdicts.field("new_fields").to_pylist()
    return [FROZEN if rule is None and fields else rule for rule, fields in zip(found, new, strict=True)]


def _forms(forms: Forms, rows: list[Row], judge: Judge, *, second: bool) -> list[bytes | None]:
    """For each row the record that keeps to what is deployed, with as many seconds, or firsts, as that allows."""
    made = [forms.plain(row, row.get(c.RESCUED_DATA), second=second) for row in rows]
    values: list[bytes | None] = [value for value, _ in made]
    for at in _rejected(judge, values):
        has_open = made[at][1]
        values[at] = forms.kept(rows[at], rows[at].get(c.RESCUED_DATA), second=second) if has_open else None
    for at in _rejected(judge, values):
        values[at] = None
    return values


def _rejected(judge: Judge, values: list[bytes | None]) -> list[int]:
    return [at for at, rule in enumerate(rules(judge, _binary(values))) if rule is not None]


def _may_pass(forms: Forms, row: Row, before: Judge, after: Judge) -> bool:
    """Whether some mixture of what may have stood at the open places satisfies both."""
    for second in (False, True):
        value = forms.fitting(row, row.get(c.RESCUED_DATA), [before, after], second=second)
        if value is not None and rules(before, _binary([value])) == rules(after, _binary([value])) == [None]:
            return True
    return False


def _since(reader: LaneReader, held: Positions, most: int) -> datetime | None:
    """The clock of the oldest of the newest `most` open records; None where there are none."""
    oldest: datetime | None = None
    left = most
    for day in reversed(reader.days()):
        clocks = pa.chunked_array(
            [
                batch["ingest_ts"].filter(pc.invert(batch[REDRIVEN]))
                for batch in reader.records(held=held, with_bytes=False, days=[day])
            ],
            pa.timestamp("us", "UTC"),
        )
        if len(clocks):
            newest = clocks.take(pc.array_sort_indices(clocks, order="descending"))
            oldest = newest[min(left, len(newest)) - 1].as_py()
        left -= len(clocks)
        if left <= 0:
            break
    return oldest


def _pending(reader: Reader, values: pa.Array) -> Iterator[str]:
    records, _ = reader.read_all(values)
    return (record.pointer for record in records if getattr(record, "rule", None) == PENDING)


def _binary(values: Sequence[bytes | None]) -> pa.Array:
    return pa.array(values, pa.binary())


def _bytes(text: str | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _place(topic: str, partition: int, offset: int) -> str:
    return f"{topic}[{partition}]@{offset}"


def _why(error: RegistryUnavailable | InvalidSettings) -> str:
    if isinstance(error, RegistryUnavailable):
        return f"The schema registry at {error.url} {error.why}."
    return "; ".join(error.complaints)
