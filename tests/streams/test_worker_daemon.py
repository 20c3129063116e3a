"""Python workers without archives on their path."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

from streams.worker_daemon import without_archives


def test_only_what_spark_puts_there_of_itself_is_left_out() -> None:
    path = ["/spark/python/lib/pyspark.zip", "/spark/python/lib/py4j-0.10.9-src.zip", "/jars/spark-core_2.13-4.1.1.jar"]

    assert without_archives([*path, "", "/mine/own.zip", "/mine/my-spark-core.jar"]) == [
        "",
        "/mine/own.zip",
        "/mine/my-spark-core.jar",
    ]


def test_a_worker_reads_no_archive_anew(spark: SparkSession) -> None:
    def archives(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import sys
        import zipimport

        found = [path for path, one in sys.path_importer_cache.items() if isinstance(one, zipimport.zipimporter)]
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"archive": pa.array(found, pa.string())})

    assert spark.range(1).mapInArrow(archives, "archive string").collect() == []
