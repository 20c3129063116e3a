"""A judged batch, held in one of two places: a small one by the driver as Arrow, a large one in Spark's cache.

Either way the records are read, decoded and judged once, and the rest works on what came of it. In the driver that is
one Spark job in all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from checkpoints.lake import Lake
from schemas import columns as c
from schemas.decode import Decoder
from schemas.outcome import DROPPED, NEW_FIELDS, VIOLATIONS, Outcomes
from sinks import engine
from sinks.commit import Commit
from sinks.lanes import lane
from sinks.table import Table
from streams.handover import SharedRows
from streams.outcomes import LaneColumn, accepted_rows, as_frame, bronze_names, in_driver, rejected_records
from streams.tally import Count, Tally

_HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))  # the value is base64 already
_TOO_LARGE = "spark.driver.maxResultSize"


class Judged(Protocol):
    """What came of one batch."""

    def tally(self) -> Tally:
        """The records by partition and outcome, a rejected one by its first violation."""

    def pointers(self, rule: str) -> set[str]:
        """The pointers of the first violations of one rule."""

    def new_fields(self) -> dict[tuple[str, ...], set[str]]:
        """The fields that no column knows, by path, with the types that they were seen to have."""

    def write_rejected(self, lake: Lake, path: str, columns: list[LaneColumn]) -> None:
        """Write the rejected records into this folder, anew, with these fields."""

    def append(self, table: Table, commit: Commit) -> int:
        """Append the accepted rows; the table's version."""

    def shared(self) -> SharedRows:
        """The accepted rows for the tables below; the last reader frees the batch."""

    def release(self) -> None:
        """Free the batch, where it is not shared."""


def hold(records: DataFrame, decoder: Decoder, outcomes: Outcomes, *, small: bool) -> Judged:
    """The batch, judged now; one that proves too large for the driver is held by Spark."""
    if small:
        try:
            return _InDriver(decoder, in_driver(records, outcomes))
        except PySparkException as error:
            if _TOO_LARGE not in str(error):
                raise
    return _InSpark(as_frame(records, outcomes).persist(), decoder)


@dataclass(frozen=True)
class _InDriver:
    _decoder: Decoder
    _rows: pa.Table

    def tally(self) -> Tally:
        rules = self._first("rule")
        table = pa.table(
            {
                "topic": self._rows[c.TOPIC],
                "partition": self._rows[c.PARTITION],
                "dropped": self._rows[DROPPED],
                "rule": rules,
            }
        )
        counted = table.group_by(table.column_names).aggregate([([], "count_all")])
        return Tally(tuple(Count(count=row.pop("count_all"), **row) for row in counted.to_pylist()))

    def pointers(self, rule: str) -> set[str]:
        return set(self._first("pointer").filter(pc.equal(self._first("rule"), rule)).to_pylist())

    def new_fields(self) -> dict[tuple[str, ...], set[str]]:
        column = self._rows[NEW_FIELDS]
        if column.null_count == len(column):
            return {}
        found = pc.list_flatten(column).combine_chunks()
        names = found.field("path").to_pylist()
        seen: dict[tuple[str, ...], set[str]] = {}
        for path, kind in zip(names, found.field("type").to_pylist(), strict=True):
            seen.setdefault(tuple(path), set()).add(kind)
        return seen

    def write_rejected(self, lake: Lake, path: str, columns: list[LaneColumn]) -> None:
        rejected = self._rows.filter(pc.is_valid(self._rows[VIOLATIONS]))
        fields: dict[str, Any] = {
            name: rejected[column] if column else pa.repeat(constant, len(rejected))
            for name, column, constant in columns
        }
        if "headers" in fields:
            headers = [None if text is None else json.loads(text) for text in fields["headers"].to_pylist()]
            fields["headers"] = pa.array(headers, _HEADERS)
        lane.write(lake, path, pa.table(fields))

    def append(self, table: Table, commit: Commit) -> int:
        return engine.append(table, self._accepted(), commit)

    def shared(self) -> SharedRows:
        return SharedRows(self._accepted(), lambda: None)

    def release(self) -> None:
        """Nothing holds it but this."""

    def _accepted(self) -> pa.Table:
        rows = self._rows.select(bronze_names(self._decoder))
        violations, dropped = self._rows[VIOLATIONS], self._rows[DROPPED]
        if violations.null_count == dropped.null_count == len(rows):
            return rows
        return rows.filter(pc.and_(pc.is_null(violations), pc.is_null(dropped)))

    def _first(self, name: str) -> pa.ChunkedArray:
        """One field of each record's first violation; a record is never rejected without one."""
        first = pc.list_element(self._rows[VIOLATIONS], 0)
        return pc.struct_field(first, name)


@dataclass(frozen=True)
class _InSpark:
    _rows: DataFrame
    _decoder: Decoder

    def tally(self) -> Tally:
        rule = F.col(VIOLATIONS)[0]["rule"].alias("rule")
        by = (
            F.col(c.TOPIC).alias("topic"),
            F.col(c.PARTITION).alias("partition"),
            F.col(DROPPED).alias("dropped"),
            rule,
        )
        return Tally(tuple(Count(**row.asDict()) for row in self._rows.groupBy(*by).count().collect()))

    def pointers(self, rule: str) -> set[str]:
        first = F.col(VIOLATIONS)[0]
        found = self._rows.where(first["rule"] == rule).select(first["pointer"].alias("pointer")).distinct()
        return {row["pointer"] for row in found.collect()}

    def new_fields(self) -> dict[tuple[str, ...], set[str]]:
        found = self._rows.select(F.explode(NEW_FIELDS).alias("field")).distinct().collect()
        seen: dict[tuple[str, ...], set[str]] = {}
        for row in found:
            seen.setdefault(tuple(row["field"]["path"]), set()).add(row["field"]["type"])
        return seen

    def write_rejected(self, lake: Lake, path: str, columns: list[LaneColumn]) -> None:
        del lake
        lane.replace(path, rejected_records(self._rows, columns))

    def append(self, table: Table, commit: Commit) -> int:
        return engine.append(table, accepted_rows(self._rows, self._decoder), commit)

    def shared(self) -> SharedRows:
        return SharedRows(accepted_rows(self._rows, self._decoder), self._rows.unpersist)

    def release(self) -> None:
        self._rows.unpersist()
