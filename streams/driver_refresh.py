"""A derived table's rows worked out in the driver: of each upstream only the rows that the keys of a change need.

A refresh by Spark costs a dozen jobs however few rows there are. Here the query is DuckDB's, where it is known to give
what Spark gives (streams/exact), over rows that are looked up by key; the rows of one upstream say which are needed of
the others that it is joined with. What is too much for the driver, or not known to be the same, is left to Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import pyarrow as pa
from pyspark.sql import SparkSession

from schemas.arrow_values import arrow_type
from sinks.lookup import MoreRows
from sinks.table import Table
from streams.compute import DUCKDB, InDriver
from streams.exact.origins import Place
from streams.exact.query import ToldQuery, view_of
from streams.exact.turns import Turns
from streams.recipe import Recipe

_KEYS = "keys_{}"


@dataclass(frozen=True)
class At:
    """An upstream at the version that is read."""

    table: Table
    version: int


@dataclass
class DriverRefresh:
    """Works out the rows of one derived table, and those that it holds of the same keys; up to `most` rows of each."""

    recipe: Recipe
    table: Table
    most: int
    _plans: dict[tuple[str, ...], ToldQuery | None] = field(default_factory=dict)

    @cached_property
    def _turns(self) -> Turns:
        return Turns(self.recipe.spec.table)

    def rows(
        self, spark: SparkSession, upstreams: Sequence[At], keys: Sequence[pa.Table] | None
    ) -> tuple[pa.Table, pa.Table] | None:
        """The rows as they are to be and as they are, without metadata; None where Spark is to work them out.

        `keys` are values of columns of the table, each combination once: those of the changes of one upstream after
        the other. None asks for all rows.
        """
        plan = self._plan_of(spark, upstreams)
        if plan is None or not self._turns.is_drivers():
            return None
        try:
            found = self._all(plan, upstreams) if keys is None else self._of_keys(plan, upstreams, keys)
        except MoreRows:
            return None
        except (duckdb.Error, pa.ArrowException) as error:
            self._turns.left_to_spark(error)
            return None
        self._turns.went_well()
        return found

    def _plan_of(self, spark: SparkSession, upstreams: Sequence[At]) -> ToldQuery | None:
        """The query that was told; None where the columns that it has for Spark are not those that it was told with."""
        schemas = {one.table.name: one.table.schema() for one in upstreams}
        known = tuple(schema.json() for schema in schemas.values())
        if known not in self._plans:
            told = self.recipe.told(schemas)
            if told is not None:
                empty = {one.table.name: one.table.empty(spark) for one in upstreams}
                wanted = self.recipe.rows(spark, empty, None).schema
                if [(one.name, one.dataType) for one in wanted] != [(one.name, one.dataType) for one in told.columns]:
                    told = None
            self._plans = {known: told}
        return self._plans[known]

    def _all(self, plan: ToldQuery, upstreams: Sequence[At]) -> tuple[pa.Table, pa.Table]:
        rows = {one.table.name: self._whole(one.table, plan.reads.get(one.table.name, ()), one) for one in upstreams}
        return self._result(plan, rows, [], 0), self._whole(self.table, plan.columns.names)

    def _of_keys(self, plan: ToldQuery, upstreams: Sequence[At], keys: Sequence[pa.Table]) -> tuple[pa.Table, pa.Table]:
        new, old = [], []
        for number, one in enumerate(keys):
            needed = _Needed(plan, {up.table.name: up for up in upstreams}, self.most)
            new.append(self._result(plan, needed.rows(one), keys, number))
            held = _read(
                self.table, plan.columns.names, None, one, {name: name for name in one.column_names}, self.most
            )
            old.append(_only_of(held, keys, number))
        return pa.concat_tables(new), pa.concat_tables(old)

    def _whole(self, table: Table, columns: Sequence[str], at: At | None = None) -> pa.Table:
        return _whole(table, columns, at.version if at is not None else None, self.most)

    def _result(self, plan: ToldQuery, rows: Mapping[str, pa.Table], keys: Sequence[pa.Table], number: int) -> pa.Table:
        tables = {view_of(name): found for name, found in rows.items()}
        tables |= {_KEYS.format(each): one for each, one in enumerate(keys)}
        text = f"SELECT * FROM ({plan.sql}) r{_restriction(keys, number)}"
        return InDriver().sql(text, tables).cast(pa.schema(list(arrow_type(plan.columns))))


@dataclass
class _Needed:
    """The rows of the upstreams that some rows of a query's result need."""

    plan: ToldQuery
    upstreams: Mapping[str, At]
    most: int
    found: dict[str, pa.Table] = field(default_factory=dict)

    def rows(self, keys: pa.Table) -> dict[str, pa.Table]:
        """By upstream; raises MoreRows.

        1. Where the keys are values of an upstream's own columns, the rows that have them.
        2. Where an upstream is joined with rows that were found, the rows that they are joined with.
        3. Of any other, all.
        """
        # 1
        for table, columns in self._of_keys(keys).items():
            self._read(table, keys, columns)
        # 2
        while self._follow():
            pass
        # 3
        for table, at in self.upstreams.items():
            if table not in self.found:
                self.found[table] = _whole(at.table, self.plan.reads.get(table, ()), at.version, self.most)
        return self.found

    def _of_keys(self, keys: pa.Table) -> dict[str, dict[str, str]]:
        """Table -> its column -> the column of the keys."""
        found: dict[str, dict[str, str]] = {}
        for name in keys.column_names:
            origin = self.plan.origins.get(name)
            # Without their partners, rows would get nulls that are not theirs, and be taken for those of a null key.
            if origin is None or (origin.may_lack and keys[name].null_count):
                continue
            for table, column in origin.places:
                if table not in self.plan.twice:
                    found.setdefault(table, {})[column] = name
        return found

    def _follow(self) -> bool:
        for follow in self.plan.follows:
            tables = {table for table, _ in follow.to}
            if (
                tables & (self.found.keys() | self.plan.twice)
                or not {table for table, _ in follow.of} <= self.found.keys()
            ):
                continue
            values = self._values(follow.of)
            for table, column in follow.to:
                self._read(table, values, {column: "value"})
            return True
        return False

    def _values(self, places: frozenset[Place]) -> pa.Table:
        columns = [self.found[table][column] for table, column in places]
        every = pa.chunked_array([chunk for column in columns for chunk in column.cast(columns[0].type).chunks])
        return pa.table({"value": every.unique().drop_null()})

    def _read(self, table: str, keys: pa.Table, columns: Mapping[str, str]) -> None:
        at = self.upstreams[table]
        self.found[table] = _read(at.table, self.plan.reads[table], at.version, keys, columns, self.most)


def _whole(table: Table, columns: Sequence[str], version: int | None, most: int) -> pa.Table:
    count = table.rows_at(version)
    if count is None or count > most:
        raise MoreRows(most)
    # A query may count rows and read no column of them.
    return table.to_arrow(columns or table.schema().names[:1], version)


def _read(
    table: Table,
    columns: Sequence[str],
    version: int | None,
    keys: pa.Table,
    by: Mapping[str, str],
    most: int,
) -> pa.Table:
    """The rows that have values of the keys; `by` is column of the table -> column of the keys.

    They are looked up by the column that has the most values: the others tell less.
    """
    values = {column: keys[name].combine_chunks().unique() for column, name in by.items()}
    column = max(values, key=lambda name: len(values[name]))
    has_null = bool(values[column].null_count)
    names = list(dict.fromkeys([*columns, *by]))
    return table.of_keys(names, column, values[column].drop_null(), version, or_null=has_null, most=most)


def _only_of(rows: pa.Table, keys: Sequence[pa.Table], number: int) -> pa.Table:
    tables = {"rows": rows} | {_KEYS.format(each): one for each, one in enumerate(keys)}
    return InDriver().sql(f"SELECT * FROM rows r{_restriction(keys, number)}", tables).cast(rows.schema)


def _restriction(keys: Sequence[pa.Table], number: int) -> str:
    """Rows `r` that have keys of this number, and none of those before: each row comes once."""
    if not keys:
        return ""
    conditions = [f"NOT {_has(keys[each], each)}" for each in range(number)]
    return f" WHERE {' AND '.join([_has(keys[number], number), *conditions])}"


def _has(keys: pa.Table, number: int) -> str:
    names = [DUCKDB.name(name) for name in keys.column_names]
    same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM k.{name}" for name in names)
    return f"EXISTS (SELECT 1 FROM {_KEYS.format(number)} k WHERE {same})"
