"""The side of silver: a table of the lake at one version, read by the driver a batch at a time."""

from __future__ import annotations

import hashlib
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from schemas import columns as c
from sinks.scan import quoted, scan
from streams.reconcile.columns import Columns
from streams.reconcile.sides import Ranges, Row, Total
from streams.reconcile.values import Kind, in_arrow, joined_in_arrow, parted

_LOOKED_AT: Final = 64
"""Keys of the table that are looked at for each range, to find out where ranges begin."""


class Silver:
    """A silver table at one version; what it hides, as marks of deleted rows, is not part of it."""

    def __init__(self, table: DeltaTable, columns: Columns) -> None:
        self._table, self._columns = table, columns
        self.version = int(table.version())
        schema = pa.schema(table.schema().to_arrow())
        key = schema.field(columns.keys[0]).type
        self._of_numbers = len(columns.keys) == 1 and pa.types.is_integer(key)
        self._visible = f"{quoted(c.DELETED)} IS NOT TRUE" if c.DELETED in schema.names else "TRUE"
        self._has_position = c.SEQUENCE in schema.names and {"epoch", "major"} <= {
            field.name for field in schema.field(c.SEQUENCE).type
        }

    def ranges(self, most: int, least_rows: int) -> Ranges:
        """Up to `most` ranges of about as many keys each, and of at least `least_rows`."""
        total = int(self._table.count())
        wanted = min(most, total // least_rows)
        if wanted < 2:
            return Ranges(of_numbers=self._of_numbers)
        step = max(1, total // (wanted * _LOOKED_AT))
        looked_at: list[int | str | None] = []
        at = 0
        for batch in self._scan(self._columns.keys):
            values = self._placed(batch)
            looked_at += values[-at % step :: step]
            at += len(values)
        known = sorted(value for value in looked_at if value is not None)
        every = max(1, len(known) // wanted)
        bounds = tuple(dict.fromkeys(known[every::every]))
        return Ranges(bounds, self._of_numbers)  # type: ignore[arg-type]

    def totals(self, ranges: Ranges, only: Collection[int] | None) -> Mapping[int, Total]:
        """The total of each range that has rows; see Side."""
        found: dict[int, Total] = {}
        for batch in self._scan(self._columns.names):
            places = pa.array(ranges.places(self._placed(batch)), pa.int32())
            if only is not None:
                chosen = pc.is_in(places, pa.array(list(only), pa.int32()))
                places, batch = places.filter(chosen), batch.filter(chosen)
            if not len(places):
                continue
            halves = struct.unpack(f">{2 * len(places)}i", b"".join(digest[:8] for digest in self._hashes(batch)))
            # The lower half has no sign: what was read as one is put right.
            high, low = (
                pa.array(halves[::2], pa.int64()),
                pc.bit_wise_and(pa.array(halves[1::2], pa.int64()), 2**32 - 1),
            )
            sums = pa.table({"place": places, "high": high, "low": low}).group_by("place", use_threads=False)
            for row in sums.aggregate([("high", "sum"), ("low", "sum"), ("low", "count")]).to_pylist():
                before = found.get(row["place"], Total())
                hashes = before.hashes + (row["high_sum"] << 32) + row["low_sum"]
                found[row["place"]] = Total(before.rows + row["low_count"], hashes)
        return found

    def digests(self, ranges: Ranges, only: Collection[int]) -> Iterator[tuple[str, bytes]]:
        """The key and the hash of each row of some ranges; see Side."""
        chosen = pa.array(list(only), pa.int32())
        for batch in self._scan(self._columns.names):
            places = pa.array(ranges.places(self._placed(batch)), pa.int32())
            rows = batch.filter(pc.is_in(places, chosen))
            if rows.num_rows:
                yield from zip(self._keys(rows).to_pylist(), self._hashes(rows), strict=True)

    def rows(self, keys: Collection[str]) -> Mapping[str, Sequence[Row]]:
        """The rows of some keys; see Side."""
        found: dict[str, list[Row]] = defaultdict(list)
        where = self._near(keys)
        wanted = pa.array(list(keys), pa.string())
        for batch in self._scan(self._columns.names, where):
            texts = self._keys(batch)
            chosen = pc.is_in(texts, wanted)
            rows = batch.filter(chosen)
            columns = [joined_in_arrow([one]) for one in self._texts(rows, self._columns.names)]
            hashes = [[_short(text) for text in column.to_pylist()] for column in columns]
            for key, *row in zip(texts.filter(chosen).to_pylist(), *hashes, strict=True):
                found[key].append(tuple(row))
        return found

    def newest_position(self) -> int | None:
        """The greatest `major` of the newest epoch in `_sequence`, which is an LSN; None where there is none."""
        if not self._has_position:
            return None
        newest: tuple[int, int] | None = None
        for batch in scan(self._table, [c.SEQUENCE]):
            sequences = batch.column(0)
            epochs, majors = pc.struct_field(sequences, "epoch"), pc.struct_field(sequences, "major")
            epoch = pc.max(epochs).as_py()
            major = None if epoch is None else pc.max(majors.filter(pc.equal(epochs, epoch))).as_py()
            if major is not None:
                newest = max(newest or (epoch, major), (epoch, major))
        return newest[1] if newest else None

    def _scan(self, names: Sequence[str], where: str = "TRUE") -> Iterator[pa.RecordBatch]:
        return scan(self._table, names, f"({where}) AND {self._visible}")

    def _near(self, keys: Collection[str]) -> str:
        """SQL that leaves out files, and no row that is wanted."""
        if not self._of_numbers:
            return "TRUE"
        numbers = [int(text) for key in keys for text in parted(key, self._columns.key_kinds) if text is not None]
        name = quoted(self._columns.keys[0])
        return f"{name} BETWEEN {min(numbers)} AND {max(numbers)}" if len(numbers) == len(keys) else "TRUE"

    def _placed(self, batch: pa.RecordBatch) -> list[int | str | None]:
        """What the range of each row is told by."""
        values = batch.column(self._columns.keys[0]) if self._of_numbers else self._keys(batch)
        placed: list[int | str | None] = values.to_pylist()
        return placed

    def _keys(self, batch: pa.RecordBatch) -> pa.Array:
        return joined_in_arrow(self._texts(batch, self._columns.keys))

    def _texts(self, batch: pa.RecordBatch, names: Sequence[str]) -> list[tuple[Kind, pa.Array]]:
        kinds = [self._columns.kind(name) for name in names]
        return [(kind, in_arrow(kind, batch.column(name))) for kind, name in zip(kinds, names, strict=True)]

    def _hashes(self, batch: pa.RecordBatch) -> list[bytes]:
        whole = joined_in_arrow(self._texts(batch, self._columns.names))
        return [hashlib.sha256(text.encode()).digest()[:16] for text in whole.to_pylist()]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
