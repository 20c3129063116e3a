"""A silver table that is large already: made by Sluice, filled through delta-rs with rows sorted by key."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from schemas import columns as c

KEY = "order_id"
FIRST_FREE_POSITION = 1_000_000_000
"""The least LSN that is larger than that of any row."""

_CHUNK = 250_000
_FIRST_MICROS = 1_760_000_000_000_000
_CURRENCIES, _STATUSES = ["USD", "EUR", "GBP"], ["new", "paid", "shipped", "returned"]


def fill(table: str, rows: int) -> None:
    """Append so many rows, of keys 0, 1, 2 and so on, in files as large as the table's own writer makes them."""
    delta = DeltaTable(table)
    schema = pa.schema(delta.schema().to_arrow())
    write_deltalake(delta, pa.RecordBatchReader.from_batches(schema, _batches(schema, rows)), mode="append")


def copy(source: Path, target: Path) -> None:
    """The same lake at another place; its files are links, since no commit ever changes one."""
    shutil.copytree(source, target, copy_function=os.link)


def _batches(schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, rows, _CHUNK):
        values = _values(np.arange(start, min(start + _CHUNK, rows), dtype="int64"))
        yield from rows_of(schema, values, len(values[KEY])).to_batches()


def _values(keys: Any) -> dict[str, pa.Array]:
    """The columns that are known here, by name; those of a struct as `struct.field`."""
    rng, count = np.random.default_rng(int(keys[0])), len(keys)

    def numbers(below: int) -> pa.Array:
        return pa.array(rng.integers(1, below, count))

    def always(value: Any) -> pa.Array:
        return pa.repeat(pa.scalar(value), count)

    # The newest change of a key is from any time: positions are in no order of the keys, and compress badly.
    positions = numbers(FIRST_FREE_POSITION)
    return {
        KEY: pa.array(keys),
        "customer_id": numbers(20_001),
        "product_id": numbers(1_000),
        "qty": numbers(9),
        "amount": pc.multiply(numbers(50_000).cast(pa.decimal128(19, 0)), pa.scalar(Decimal("0.01"))),
        "currency": pa.array(_CURRENCIES).take(pa.array(rng.integers(0, len(_CURRENCIES), count))),
        "status": pa.array(_STATUSES).take(pa.array(rng.integers(0, len(_STATUSES), count))),
        "order_ts": pc.add(pc.multiply(numbers(30 * 86_400), 1_000_000), _FIRST_MICROS),
        "lsn": positions,
        f"{c.SEQUENCE}.major": positions,
        f"{c.SEQUENCE}.minor": always(1),
        f"{c.SEQUENCE}.partition": pa.array(keys % 4),
        f"{c.SEQUENCE}.offset": pc.divide(positions, 100),
        c.INGEST_TS: always(datetime(2026, 1, 1, tzinfo=UTC)),
        c.BATCH_ID: always("00000000-0000-5000-8000-000000000000"),
        c.SOURCE_SYSTEM: always("shop"),
        c.RUN_DATE: always(date(2026, 1, 1)),
    }


def rows_of(schema: pa.Schema, values: dict[str, pa.Array], count: int) -> pa.Table:
    """Rows of these columns, with the values that are known by name, those of a struct as `struct.field`.

    Of what Sluice may keep besides: no, zero or nothing.
    """
    return pa.table([_column(values, field, count) for field in schema], schema=schema)


def _column(values: dict[str, pa.Array], field: pa.Field, count: int, prefix: str = "") -> pa.Array:
    name = f"{prefix}{field.name}"
    if name in values:
        return values[name].cast(field.type)
    if pa.types.is_struct(field.type):
        inner = [_column(values, child, count, f"{name}.") for child in field.type.fields]
        return pa.StructArray.from_arrays(inner, fields=field.type.fields)
    if pa.types.is_boolean(field.type):
        return pa.repeat(pa.scalar(False), count)
    if pa.types.is_integer(field.type):
        return pa.repeat(pa.scalar(0, field.type), count)
    return pa.nulls(count, field.type)
