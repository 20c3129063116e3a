"""Records of a topic to what becomes of them, a batch of Arrow at a time: all that is done in a Python worker.

It takes the columns of Kafka's source, the headers as JSON, and gives those of the bronze table, null but for the
coordinates unless the record is accepted, and beside them:

| column         | type                  | what                                                                     |
|----------------|-----------------------|--------------------------------------------------------------------------|
| `__violations` | ARRAY<VIOLATION_TYPE> | what a rejected record broke; null for any other                         |
| `__dropped`    | STRING                | why a record without a row is only counted                               |
| `__value`      | BINARY                | the bytes of a rejected record: bronze does not hold them, the lane does |
| `__headers`    | STRING                | its headers as JSON: an array of structs costs 11 µs a record, if null  |
| `__new_fields` | ARRAY<NEW_FIELD_TYPE> | fields that a column could be made for                                   |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import ArrayType, BinaryType, StringType, StructField, StructType

from schemas import columns as c
from schemas.arrow_values import arrow_type
from schemas.debezium_position import places
from schemas.judge import Judge
from schemas.table_columns import with_metadata
from schemas.validation import VIOLATION_TYPE, rejected
from schemas.verdict import NEW_FIELD_TYPE

VALUE: Final = "__value"
HEADERS: Final = "__headers"
VIOLATIONS: Final = "__violations"
DROPPED: Final = "__dropped"
NEW_FIELDS: Final = "__new_fields"

TOO_LARGE: Final = "record.size"
HEADERS_TYPE: Final = ArrayType(StructType([StructField("key", StringType()), StructField("value", BinaryType())]))
IPC_TYPE: Final = StructType([StructField("rows", BinaryType())])
"""One value is a stream of Arrow's own format: Spark hands it through as it is, without a look at the columns in it."""


@dataclass(frozen=True)
class Outcomes:
    """What becomes of each record; small and picklable, since it travels to the workers.

    A value of more than `max_record_bytes` is rejected unread. Pulled rows are in the order of their watermarks. The
    rest is the same for every row of a run.
    """

    judge: Judge
    source_system: str
    contract_version: str
    run_id: str
    clock: datetime
    max_record_bytes: int
    epoch: int = 0
    is_pulled: bool = False

    @property
    def type(self) -> StructType:
        """The columns; see the module."""
        beside = [
            StructField(VIOLATIONS, ArrayType(VIOLATION_TYPE)),
            StructField(DROPPED, StringType()),
            StructField(VALUE, BinaryType()),
            StructField(HEADERS, StringType()),
            StructField(NEW_FIELDS, ArrayType(NEW_FIELD_TYPE)),
        ]
        return StructType([*with_metadata(self.judge.payload).fields, *beside])

    def as_columns(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For `mapInArrow`, with `type`."""
        return map(self, batches)

    def as_ipc(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For `mapInArrow`, with IPC_TYPE."""
        for batch in map(self, batches):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield pa.RecordBatch.from_arrays([_one_value(sink.getvalue())], names=IPC_TYPE.names)

    def __call__(self, records: pa.RecordBatch) -> pa.RecordBatch:
        """The outcome of each record of a batch."""
        value = records["value"]
        large = pc.indices_nonzero(pc.greater(pc.binary_length(value), self.max_record_bytes)).to_pylist()
        verdict = self.judge(_without(value, large))
        violations, dropped, rescued, unavailable, new_fields, payload = verdict.flatten()
        for row in large:
            violations = _put(violations, row, rejected((TOO_LARGE, "", "")))
            dropped = _put(dropped, row, None)
        is_rejected = pc.is_valid(violations)
        found = {
            **dict(zip(self.judge.payload.names, payload.flatten(), strict=True)),
            c.TOPIC: records["topic"],
            c.PARTITION: records["partition"],
            c.OFFSET: records["offset"],
            c.KAFKA_TS: records["timestamp"],
            c.KEY: records["key"],
            c.SOURCE_POSITION: self._positions(payload, records),
            c.CONTRACT_VERSION: self.contract_version,
            c.RESCUED_DATA: rescued,
            c.UNAVAILABLE: unavailable,
            c.INGEST_TS: self.clock,
            c.BATCH_ID: self.run_id,
            c.SOURCE_SYSTEM: self.source_system,
            c.RUN_DATE: self.clock.date(),
            VIOLATIONS: violations,
            DROPPED: dropped,
            VALUE: _where(is_rejected, value),
            HEADERS: _where(is_rejected, records["headers"]),
            NEW_FIELDS: new_fields,
        }
        schema = arrow_type(self.type)
        arrays = [_column(found[field.name], field.type, len(value)) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(list(schema)))

    def _positions(self, payload: pa.StructArray, records: pa.RecordBatch) -> pa.StructArray:
        """`_source_position` of the accepted records; see columns.POSITION_TYPE."""
        partition, offset = records["partition"], records["offset"]
        zero = pa.repeat(pa.scalar(0, pa.int64()), len(payload))
        if self.judge.is_debezium:
            major, minor, row = places(payload)
        else:
            major, minor, row = offset, partition.cast(pa.int64()), zero
            if self.is_pulled:
                major, minor = records["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()), offset
        fields = list(arrow_type(c.POSITION_TYPE))
        epoch = pa.repeat(pa.scalar(self.epoch, pa.int32()), len(payload))
        arrays = [epoch, major, minor, row, partition, offset]
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=pc.is_null(payload))


def _column(found: Any, kind: pa.DataType, length: int) -> pa.Array:
    """A column as it is, or a constant as one."""
    if isinstance(found, pa.Array):
        return found if found.type == kind else found.cast(kind)
    return pa.repeat(pa.scalar(found, kind), length)


def _one_value(content: pa.Buffer) -> pa.Array:
    """An array of one BINARY value, without another copy of it."""
    offsets = pa.array([0, content.size], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, content])


def _where(mask: pa.BooleanArray, values: pa.Array) -> pa.Array:
    """The values where the mask holds, null elsewhere; few are expected."""
    rows = pa.array(range(len(values)), pa.int64())
    return values.take(pc.if_else(mask, rows, None))


def _without(values: pa.Array, rows: list[int]) -> pa.Array:
    for row in rows:
        values = _put(values, row, None)
    return values


def _put(values: pa.Array, row: int, value: Any) -> pa.Array:
    """The array with another value at one place."""
    return pa.concat_arrays([values.slice(0, row), pa.array([value], values.type), values.slice(row + 1)])
