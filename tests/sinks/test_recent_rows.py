"""The newest rows of a table, file by file."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from sinks.recent_rows import recent_rows
from sinks.table import Table

NAME = "bronze.things"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


def append(lake: Lake, rows: list[dict[str, Any]], **options: Any) -> None:
    write_deltalake(lake.table(NAME), pa.Table.from_pylist(rows), mode="append", **options)


def recent(lake: Lake, most: int, *columns: str) -> list[dict[str, Any]]:
    return [row for piece in recent_rows(lake, Table(NAME, lake), columns or ("n",), most) for row in piece]


def numbers(lake: Lake, most: int) -> list[int]:
    return [row["n"] for row in recent(lake, most)]


def test_the_newest_file_comes_first_and_its_last_rows(lake: Lake) -> None:
    for first in (0, 10, 20):
        append(lake, [{"n": number, "other": "x"} for number in range(first, first + 5)])
    assert numbers(lake, 3) == [22, 23, 24]
    assert numbers(lake, 7) == [20, 21, 22, 23, 24, 13, 14]
    assert len(numbers(lake, 100)) == 15
    assert numbers(lake, 0) == []


def test_pieces_are_small(lake: Lake) -> None:
    append(lake, [{"n": number} for number in range(2_500)])
    pieces = [len(piece) for piece in recent_rows(lake, Table(NAME, lake), ["n"], 2_100)]
    assert (sum(pieces), max(pieces)) == (2_100, 1_000)


def test_a_column_that_came_later_is_not_there_and_one_of_the_partition_is(lake: Lake) -> None:
    append(lake, [{"n": 1, "day": date(2026, 1, 2), "at": "x y"}], partition_by=["day", "at"])
    append(lake, [{"n": 2, "day": None, "at": "z", "late": 5}], schema_mode="merge")
    rows = {row["n"]: row for row in recent(lake, 9, "n", "day", "at", "late")}
    assert rows == {1: {"n": 1, "day": date(2026, 1, 2), "at": "x y"}, 2: {"n": 2, "day": None, "at": "z", "late": 5}}


def test_rows_that_are_deleted_are_left_out_and_a_missing_file_is_passed_over(lake: Lake, spark: SparkSession) -> None:
    path = lake.table(NAME)
    append(lake, [{"n": 0}])
    append(lake, [{"n": number} for number in range(1, 9)])
    spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    spark.sql(f"DELETE FROM delta.`{path}` WHERE n IN (2, 8)")
    assert sorted(numbers(lake, 100)) == [0, 1, 3, 4, 5, 6, 7]
    assert numbers(lake, 2) == [6, 7]
    min(Path(path).glob("*.parquet"), key=lambda file: file.stat().st_size).unlink()
    assert sorted(numbers(lake, 100)) in ([1, 3, 4, 5, 6, 7], [0])
