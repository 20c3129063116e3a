"""The large table is one that Sluice could have made: every column of it is filled."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType, StructType

from tests.bench import big_table


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Columns that are known, one of a struct, and two that Sluice may get one day."""
    long, place = PrimitiveType("long"), tmp_path / "table"
    sequence = StructType([Field("major", long), Field("row", long)])
    kinds = {"order_id": long, "qty": PrimitiveType("integer"), "amount": PrimitiveType("decimal(18,2)")}
    kinds |= {"order_ts": PrimitiveType("timestamp"), "_sequence": sequence}
    kinds |= {"_deleted": PrimitiveType("boolean"), "_note": PrimitiveType("string")}
    DeltaTable.create(place, Schema([Field(name, kind) for name, kind in kinds.items()]))
    return str(place)


def test_rows_have_keys_from_0_on_and_positions_below_the_first_free_one(table: str) -> None:
    big_table.fill(table, 500)

    rows = DeltaTable(table).to_pyarrow_table().sort_by("order_id").to_pylist()
    assert [row["order_id"] for row in rows] == list(range(500))
    assert all(0 < row["_sequence"]["major"] < big_table.FIRST_FREE_POSITION for row in rows)
    assert all(row["qty"] > 0 and row["amount"] > 0 and row["order_ts"] is not None for row in rows)


def test_a_column_that_is_not_known_says_nothing(table: str) -> None:
    big_table.fill(table, 10)

    rows = DeltaTable(table).to_pyarrow_table().to_pylist()
    assert {(row["_sequence"]["row"], row["_deleted"], row["_note"]) for row in rows} == {(0, False, None)}


def test_a_copy_has_the_same_rows_and_goes_its_own_way(table: str, tmp_path: Path) -> None:
    big_table.fill(table, 10)

    big_table.copy(Path(table), tmp_path / "copy")
    big_table.fill(str(tmp_path / "copy"), 10)

    assert DeltaTable(table).to_pyarrow_table().num_rows == 10
    assert DeltaTable(tmp_path / "copy").to_pyarrow_table().num_rows == 20
