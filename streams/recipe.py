"""What a derived table's rows are: the query of a spec, or a part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from schemas.spec import DerivedSpec
from streams.affected import KeySet
from streams.exact.query import ToldQuery


class Recipe(Protocol):
    """How a derived table's rows are worked out."""

    @property
    def spec(self) -> DerivedSpec:
        """The table's spec."""

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that tell its rows apart."""

    def mapping(self, upstream: str) -> dict[str, str]:
        """Column of the upstream -> column of the table, by which a change there finds the rows here."""

    def told(self, upstreams: Mapping[str, StructType]) -> ToldQuery | None:
        """The query for DuckDB over upstreams with these columns; None where only Spark can tell it."""

    def rows(self, spark: SparkSession, upstreams: Mapping[str, DataFrame], keys: Sequence[KeySet] | None) -> DataFrame:
        """The table's rows without metadata; only those that `keys` touch, or all of them."""
