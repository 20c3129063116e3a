"""Tables of the lake as the common truth compares them: Parquet with times as whole numbers, without metadata."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder

from schemas import columns as c
from tests.bench.peers import Topic

_MICROS = "CAST(arrow_cast({0}, 'Timestamp(Microsecond, None)') AS BIGINT)"
_COLUMNS: dict[Topic, dict[str, str]] = {
    "orders": {
        **{name: name for name in ("order_id", "customer_id", "product_id", "qty", "amount", "currency", "status")},
        "order_ts": _MICROS.format("order_ts"),
        "lsn": "lsn",
    },
    "customers": {
        **{name: name for name in ("customer_id", "name", "email", "tier", "city")},
        "updated_at": _MICROS.format("updated_at"),
        "valid_from": _MICROS.format("valid_from") + " / 1000",
        "valid_to": _MICROS.format("valid_to") + " / 1000",
        "is_current": "is_current",
    },
}


def export(table: str, kind: Topic, folder: Path) -> Path:
    """Write what a reader of the table sees; returns the folder."""
    folder.mkdir(parents=True)
    pq.write_table(visible(table, _COLUMNS[kind]), folder / "rows.parquet")
    return folder


def visible(table: str, columns: dict[str, str]) -> pa.Table:
    """The rows that a reader of the table sees; `columns` are name -> SQL."""
    delta = DeltaTable(table)
    selected = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    names = {field.name for field in delta.schema().fields}
    # What is deleted may leave its position behind as a row that says so.
    seen = f" WHERE NOT coalesce({c.DELETED}, false)" if c.DELETED in names else ""
    return pa.table(QueryBuilder().register("t", delta).execute(f"SELECT {selected} FROM t{seen}").read_all())
