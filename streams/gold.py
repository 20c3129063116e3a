"""The rows of a derived table: what its query gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas import columns as c
from schemas.spec import DerivedSpec
from streams.affected import KeySet, restricted
from streams.compute import SPARK
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
