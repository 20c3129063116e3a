"""Changes of rows that the driver holds: made by DuckDB where it tells the same as Spark, else by a job of Spark's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from schemas.arrow_values import arrow_type
from schemas.quality.rule import RowRule
from schemas.spec import ChangeSpec
from streams.change_sql import ChangeQuery
from streams.changes import only_what_is_read
from streams.compute import DUCKDB, InDriver
from streams.exact.expressions import told
from streams.exact.turns import Turns

_BRONZE = "bronze_rows"


@dataclass(frozen=True)
class Plan:
    """How rows of one type become changes: the type that these have, and DuckDB's query, None where only Spark can."""

    changes: StructType
    text: str | None


@dataclass
class DriverChanges:
    """Makes changes of one spec; `by_spark` are canonical_changes.

    A batch with a value of which only Spark can tell is made by Spark.
    """

    spec: ChangeSpec
    rules: tuple[RowRule, ...]
    by_spark: Callable[[DataFrame], DataFrame]
    rest_of: Callable[[StructType], Mapping[str, str]]
    _plans: dict[pa.Schema, Plan] = field(default_factory=dict)

    @cached_property
    def _turns(self) -> Turns:
        return Turns(self.spec.table)

    def of(self, spark: SparkSession, bronze: pa.Table) -> tuple[pa.Table, StructType]:
        """The changes of these rows, and their columns as types of Spark."""
        plan = self.plan_of(spark, bronze)
        rows = only_what_is_read(bronze, self.spec)
        made = self._by_duckdb(rows, plan) if plan.text is not None else None
        if made is not None:
            return made, plan.changes
        changes = self.by_spark(spark.createDataFrame(rows))
        return changes.toArrow(), changes.schema

    def _by_duckdb(self, rows: pa.Table, plan: Plan) -> pa.Table | None:
        if not self._turns.is_drivers():
            return None
        try:
            made = InDriver().sql(str(plan.text), {_BRONZE: rows})
        except duckdb.Error as error:
            self._turns.left_to_spark(error)
            return None
        self._turns.went_well()
        return made.cast(pa.schema(list(arrow_type(plan.changes))))

    def plan_of(self, spark: SparkSession, rows: pa.Table) -> Plan:
        """How rows of this type become changes; worked out once for each type."""
        if rows.schema not in self._plans:
            bronze = from_arrow_schema(only_what_is_read(rows.slice(0, 0), self.spec).schema)
            changes = self.by_spark(spark.createDataFrame([], bronze)).schema
            self._plans[rows.schema] = Plan(changes, self._text(bronze, changes))
        return self._plans[rows.schema]

    def _text(self, bronze: StructType, changes: StructType) -> str | None:
        if self.spec.protections:
            return None
        query = ChangeQuery(bronze, self.spec, self.rules, self.rest_of(bronze))
        words: dict[str, str] = {}
        kinds = {sql: changes[name].dataType for name, sql in query.select.items()}
        flags = [sql for sql in (self.spec.apply_as_deletes, self.spec.apply_as_truncates) if sql]
        for sql in [*kinds, *flags]:
            one = told(sql, bronze)
            if one is None or (sql in kinds and one.type != kinds[sql]):
                return None
            words[sql] = one.sql
        return query.text(_BRONZE, DUCKDB, words.__getitem__)
