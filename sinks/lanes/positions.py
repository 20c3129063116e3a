"""Where records stood, (topic, partition, offset), as sorted arrays: which of them does a bronze table hold?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from schemas import columns as c

POSITION = pa.schema([("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())])

_MOST_RANGES = 64

Partition = tuple[str, int]


class Positions:
    """A set of positions, 8 bytes each."""

    def __init__(self, offsets: Mapping[Partition, pa.Int64Array]) -> None:
        self._offsets = {partition: found for partition, found in offsets.items() if len(found)}

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch]) -> Positions:
        """The positions in the columns `topic`, `partition` and `offset` of the batches."""
        pieces: dict[Partition, list[pa.Array]] = {}
        for batch in batches:
            for partition, there in by_partition(batch):
                pieces.setdefault(partition, []).append(batch["offset"].filter(there))
        return cls({partition: _sorted(pa.concat_arrays(found)) for partition, found in pieces.items()})

    def __len__(self) -> int:
        """How many there are."""
        return sum(len(found) for found in self._offsets.values())

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows of a batch stand at one of these."""
        held = pa.repeat(pa.scalar(value=False), batch.num_rows)
        for partition, there in by_partition(batch):
            if partition in self._offsets:
                known = between(self._offsets[partition], batch["offset"].filter(there))
                held = pc.or_(held, pc.and_(there, pc.is_in(batch["offset"], value_set=known)))
        return held

    def predicate(self) -> str:
        """SQL over bronze's columns that holds for all of these, and for not many others."""
        ranges = [(partition, *_ends(found)) for partition, found in sorted(self._offsets.items())]
        if len(ranges) > _MOST_RANGES:
            first, last = min(one[1] for one in ranges), max(one[2] for one in ranges)
            return f"{c.OFFSET} BETWEEN {first} AND {last}"
        return " OR ".join(
            f"({c.TOPIC} = {_literal(topic)} AND {c.PARTITION} = {number} AND {c.OFFSET} BETWEEN {first} AND {last})"
            for (topic, number), first, last in ranges
        )


NOWHERE = Positions({})


def held_in(path: str, positions: Positions) -> Positions:
    """Those of the positions that the bronze table at `path` holds; its rows are streamed, three columns of them."""
    if not len(positions) or not DeltaTable.is_deltatable(path):
        return NOWHERE
    rows = DeltaTable(path).scan(columns=[c.TOPIC, c.PARTITION, c.OFFSET], predicate=positions.predicate())
    found = (pa.record_batch(batch) for batch in rows)
    named = (_cast(batch.select([c.TOPIC, c.PARTITION, c.OFFSET])) for batch in found)
    return Positions.of(batch.filter(positions.mask(batch)) for batch in named)


def by_partition(batch: pa.RecordBatch | pa.Table) -> Iterator[tuple[Partition, pa.BooleanArray]]:
    """Each (topic, partition) of a batch, and which of its rows are there."""
    places = pa.table({name: batch[name] for name in ("topic", "partition")})
    for place in places.group_by(["topic", "partition"], use_threads=False).aggregate([]).to_pylist():
        is_topic = pc.equal(batch["topic"], place["topic"])
        yield (place["topic"], place["partition"]), pc.and_(is_topic, pc.equal(batch["partition"], place["partition"]))


def between(known: pa.Int64Array, asked: pa.Int64Array) -> pa.Int64Array:
    """Of the known offsets those within the range that is asked for: a smaller table to build for the look-up."""
    first, last = _ends(asked)
    return known.filter(pc.and_(pc.greater_equal(known, first), pc.less_equal(known, last)))


def _sorted(offsets: pa.Int64Array) -> pa.Int64Array:
    unique = pc.unique(offsets)
    return unique.take(pc.array_sort_indices(unique))


def _ends(offsets: pa.Int64Array) -> tuple[int, int]:
    ends = pc.min_max(offsets)
    return int(ends["min"].as_py()), int(ends["max"].as_py())


def _cast(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [column.cast(field.type) for column, field in zip(batch.columns, POSITION, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=POSITION)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
