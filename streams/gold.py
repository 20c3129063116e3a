"""The two recipes of derived tables: a query over other tables, and the versions of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas import columns as c
from schemas.spec import DerivedSpec, Scd2Spec
from streams.affected import KeySet, restricted
from streams.scd2 import versions
from streams.table_names import with_tables_renamed


def surrogate_key(columns: Sequence[str]) -> Column:
    """A 128-bit hash of the columns' values as 32 hex digits: the same after a rebuild, and on any machine.

    Values are joined as JSON, so that neither a separator within a value nor a null makes two keys meet.
    """
    return F.md5(
        F.to_json(
            F.struct(*(F.col(name).cast("string").alias(name) for name in columns)), {"ignoreNullFields": "false"}
        )
    )


@dataclass(frozen=True)
class QueryRecipe:
    """The rows that a spec's query gives."""

    spec: DerivedSpec
    follows_columns: ClassVar[bool] = False

    @property
    def grain(self) -> tuple[str, ...]:
        """The spec's grain."""
        return self.spec.grain

    def mapping(self, upstream: str) -> dict[str, str]:
        """What `affected_by` says."""
        return self.spec.affected_columns(upstream)

    def touches_all(self, keys: KeySet) -> bool:
        """Never: a row is touched by its keys."""
        del keys
        return False

    def rows(self, spark: SparkSession, upstreams: Mapping[str, DataFrame], keys: Sequence[KeySet] | None) -> DataFrame:
        """The query over the upstreams as they are given."""
        views = {name: f"{self.spec.name}__{name.replace('.', '__')}" for name in upstreams}
        for name, frame in upstreams.items():
            frame.createOrReplaceTempView(views[name])
        # `SELECT *` brings the upstreams' own ingest metadata along; this table has its own.
        rows = spark.sql(with_tables_renamed(self.spec.query, views)).drop(*c.INGEST_METADATA)
        if keys is not None:
            rows = restricted(rows, keys, self.spec.grain)
        if self.spec.surrogate_key:
            rows = rows.select(surrogate_key(self.spec.grain).alias(self.spec.surrogate_key), "*")
        return rows


@dataclass(frozen=True)
class VersionsRecipe:
    """The versions of each key of a history."""

    spec: Scd2Spec
    follows_columns: ClassVar[bool] = True

    @property
    def grain(self) -> tuple[str, ...]:
        """A key and the start of its version."""
        return (*self.spec.keys, "valid_from")

    def mapping(self, upstream: str) -> dict[str, str]:
        """A change of a key touches the versions of that key."""
        del upstream
        return {key: key for key in self.spec.keys}

    def touches_all(self, keys: KeySet) -> bool:
        """A change without a key is a TRUNCATE: it ends the versions of every key."""
        return keys.has_null(self.spec.keys[0])

    def rows(self, spark: SparkSession, upstreams: Mapping[str, DataFrame], keys: Sequence[KeySet] | None) -> DataFrame:
        """All versions of the touched keys, worked out from all their changes."""
        del spark
        [history] = upstreams.values()
        is_truncate = F.col(self.spec.keys[0]).isNull()
        changes = history.where(~is_truncate)
        if keys is not None:
            changes = restricted(changes, keys, self.grain)
        rows = versions(changes, history.where(is_truncate), self.spec)
        return rows.select(surrogate_key(self.grain).alias(self.spec.surrogate_key), "*")
