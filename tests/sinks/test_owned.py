"""What is handed to delta-rs lies in memory that it may read: also where a column holds nothing at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from sinks.engine import owned

NOTHING = pa.allocate_buffer(0)


def of_nulls(kind: pa.DataType, rows: int) -> pa.Array:
    """Lists that are all null, with a child without offsets, as Spark's Arrow has them."""
    child = pa.Array.from_buffers(pa.string(), 0, [None, NOTHING, NOTHING])
    if pa.types.is_struct(kind):
        inner = of_nulls(kind[0].type, rows)
        return pa.StructArray.from_buffers(kind, rows, [pa.py_buffer(bytes(rows))], children=[inner])
    if pa.types.is_map(kind):
        child = pa.StructArray.from_buffers(
            pa.struct([pa.field("key", pa.string(), nullable=False), ("value", pa.string())]),
            0,
            [None],
            children=[child, child],
        )
    buffers = [pa.py_buffer(bytes(rows)), pa.py_buffer(bytes(4 * (rows + 1)))]
    return pa.Array.from_buffers(kind, rows, buffers, children=[child])


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.string()), pa.map_(pa.string(), pa.string()), pa.struct([("l", pa.list_(pa.string()))])],
    ids=["list", "map", "struct"],
)
def test_a_column_of_nulls_is_merged(kind: pa.DataType, tmp_path: Path) -> None:
    """Some rows taken, some not: delta-rs then puts the column together from slices."""
    size = 7
    rows = pa.table(
        {"id": list(range(size)), "nothing": of_nulls(kind, size), "gone": [index % 3 == 1 for index in range(size)]}
    )
    DeltaTable.create(tmp_path, schema=pa.schema([("id", pa.int64()), ("nothing", kind)]))
    for _ in range(2):
        (
            DeltaTable(tmp_path)
            .merge(owned(rows), "t.id = s.id", source_alias="s", target_alias="t")
            .when_matched_delete("s.gone")
            .when_matched_update({"nothing": "s.nothing"}, "NOT s.gone")
            .when_not_matched_insert({"id": "s.id", "nothing": "s.nothing"}, "NOT s.gone")
            .execute()
        )

    found = DeltaTable(tmp_path).to_pyarrow_table().sort_by("id").to_pydict()
    assert found["id"] == [0, 2, 3, 5, 6]
    assert found["nothing"] in ([None] * 5, [{"l": None}] * 5)
    assert owned(rows).to_pydict() == rows.to_pydict()
