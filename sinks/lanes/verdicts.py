"""What was said of rejected records when they were judged again: beside the lane's records, never in them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from sinks.lanes.positions import Partition, between, by_partition

VIOLATIONS = pa.list_(pa.struct([("rule", pa.string()), ("pointer", pa.string()), ("schema_path", pa.string())]))
INSTANT = pa.timestamp("us", tz="UTC")
VERDICT = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("violations", VIOLATIONS),
        ("contract", pa.string()),
        ("contract_version", pa.string()),
        ("contract_hash", pa.string()),
        ("ingest_ts", INSTANT),
    ]
)
"""The fields of a line below `_verdicts/run_id=<uuid>/`."""

NEEDED = ("topic", "partition", "offset", "violations", "ingest_ts")
REPLACED = ("violations", "contract", "contract_version", "contract_hash")
"""What a verdict replaces of the record."""

_FOLD_ROWS = 65_536


class Verdicts:
    """The newest verdict on each record: by `ingest_ts`, then by run."""

    def __init__(self, newest: pa.Table) -> None:
        self._newest = newest.combine_chunks()
        self._rows: dict[Partition, tuple[pa.Int64Array, pa.Int64Array]] = {}
        numbers = pa.array(range(newest.num_rows), pa.int64())
        for partition, there in by_partition(self._newest):
            offsets = self._newest["offset"].filter(there).combine_chunks()
            self._rows[partition] = (offsets, numbers.filter(there))

    @classmethod
    def of(cls, runs: Iterable[tuple[str, Iterable[pa.RecordBatch]]]) -> Verdicts:
        """The verdicts of these runs, by their ids; kept in memory are the newest ones and some thousands more."""
        schema = VERDICT.append(pa.field("run_id", pa.string()))
        newest, pending, rows = schema.empty_table(), list[pa.RecordBatch](), 0
        for run_id, batches in runs:
            for batch in batches:
                pending.append(batch.append_column("run_id", pa.repeat(run_id, batch.num_rows)))
                rows += batch.num_rows
                if rows > _FOLD_ROWS:
                    newest = _newest(pa.concat_tables([newest, pa.Table.from_batches(pending, schema)]))
                    pending, rows = [], 0
        return cls(_newest(pa.concat_tables([newest, pa.Table.from_batches(pending, schema)])))

    def applied(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.BooleanArray]:
        """The batch with the newest verdicts in place of its own, and which records nothing is left against.

        The latter keep what they were rejected for.
        """
        none = pa.repeat(pa.scalar(value=False), batch.num_rows)
        at = self._indexes(batch)
        if at.null_count == len(at):
            return batch, none
        said = self._newest["violations"].combine_chunks()
        settled = pc.fill_null(pc.equal(pc.list_value_length(said).take(at), 0), fill_value=False)
        own = pa.array(range(batch.num_rows), pa.int64())
        # Of own values and the verdicts' behind them, one for each row.
        chosen = pc.if_else(settled, own, pc.coalesce(pc.add(at, batch.num_rows), own))
        for name in set(REPLACED).intersection(batch.schema.names):
            both = pa.concat_arrays([batch[name], self._newest[name].combine_chunks()])
            batch = batch.set_column(batch.schema.get_field_index(name), name, both.take(chosen))
        return batch, settled

    def _indexes(self, batch: pa.RecordBatch) -> pa.Int64Array:
        """For each row the row of its verdict, or null."""
        at = pa.nulls(batch.num_rows, pa.int64())
        for partition, there in by_partition(batch):
            if partition not in self._rows:
                continue
            offsets, numbers = self._rows[partition]
            known = between(offsets, batch["offset"].filter(there))
            here = numbers.filter(pc.is_in(offsets, value_set=known))
            found = here.take(pc.index_in(batch["offset"], value_set=known))
            at = pc.if_else(there, found, at)
        return at


def _newest(verdicts: pa.Table) -> pa.Table:
    ordered = verdicts.sort_by([("ingest_ts", "ascending"), ("run_id", "ascending")])
    numbered = ordered.append_column("row", pa.array(range(ordered.num_rows), pa.int64()))
    keys = ["topic", "partition", "offset"]
    return ordered.take(numbered.group_by(keys).aggregate([("row", "max")])["row_max"])
