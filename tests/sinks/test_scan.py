"""A scan gives the rows that there are, and no others."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from sinks.scan import scan


def test_it_gives_columns_of_rows_by_a_condition_with_texts_as_texts(tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    write_deltalake(
        path, pa.table({"a b": [1, 2, 3], "day": ["x", "y", "y"], "c": ["1", None, "3"]}), partition_by=["day"]
    )

    [*batches] = scan(DeltaTable(path), ["a b", "c", "day"], '"a b" > 1')

    found = pa.Table.from_batches(batches)
    assert sorted(found.to_pylist(), key=lambda row: row["a b"]) == [
        {"a b": 2, "c": None, "day": "y"},
        {"a b": 3, "c": "3", "day": "y"},
    ]
    assert found.schema.field("c").type == pa.string()


def test_rows_behind_a_deletion_vector_do_not_come(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    rows = spark.range(100).coalesce(1)
    rows.write.format("delta").option("delta.enableDeletionVectors", "true").save(path)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE id % 10 = 3")

    table = DeltaTable(path)

    assert table.protocol().reader_features == ["deletionVectors"]
    assert sum(batch.num_rows for batch in scan(table, ["id"])) == 90
