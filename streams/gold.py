"""The rows of a derived table: what its query gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from schemas import columns as c
from schemas.spec import DerivedSpec
from streams.affected import KeySet, restricted
from streams.compute import DUCKDB, SPARK
from streams.exact.query import ToldQuery, told_query
from streams.scd2 import surrogate_key
from streams.table_names import with_tables_renamed


@dataclass(frozen=True)
class QueryRecipe:
    """The rows that a spec's query gives."""

    spec: DerivedSpec

    @property
    def grain(self) -> tuple[str, ...]:
        """The spec's grain."""
        return self.spec.grain

    def mapping(self, upstream: str) -> dict[str, str]:
        """What `affected_by` says."""
        return self.spec.affected_columns(upstream)

    def told(self, upstreams: Mapping[str, StructType]) -> ToldQuery | None:
        """The query for DuckDB over upstreams with these columns; None where only Spark can tell it."""
        found = told_query(self.spec.query, upstreams)
        if found is None:
            return None
        metadata = {*c.INGEST_METADATA, c.COLUMN_SEQUENCES}
        columns = StructType([field for field in found.columns.fields if field.name not in metadata])
        names = DUCKDB.names(columns.names)
        if (key := self.spec.surrogate_key) is None:
            return replace(found, sql=f"SELECT {names} FROM ({found.sql})", columns=columns)
        hashed = surrogate_key(DUCKDB, {name: columns[name].dataType for name in self.spec.grain})
        sql = f"SELECT {hashed} AS {DUCKDB.name(key)}, {names} FROM ({found.sql})"
        return replace(found, sql=sql, columns=StructType([StructField(key, StringType()), *columns.fields]))

    def rows(self, spark: SparkSession, upstreams: Mapping[str, DataFrame], keys: Sequence[KeySet] | None) -> DataFrame:
        """The query over the upstreams as they are given."""
        views = {name: f"{self.spec.name}__{name.replace('.', '__')}" for name in upstreams}
        for name, frame in upstreams.items():
            frame.createOrReplaceTempView(views[name])
        # `SELECT *` brings the upstreams' own ingest metadata along; this table has its own.
        rows = spark.sql(with_tables_renamed(self.spec.query, views)).drop(*c.INGEST_METADATA, c.COLUMN_SEQUENCES)
        if keys is not None:
            rows = restricted(rows, keys, self.spec.grain)
        if self.spec.surrogate_key:
            key = surrogate_key(SPARK, {name: rows.schema[name].dataType for name in self.spec.grain})
            rows = rows.select(F.expr(key).alias(self.spec.surrogate_key), "*")
        return rows
