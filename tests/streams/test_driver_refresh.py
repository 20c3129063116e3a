"""A refresh in the driver gives what one by Spark gives, and reads no more than the keys of the change need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.spec import DerivedSpec
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.table import Table
from streams.driver_refresh import At, DriverRefresh
from streams.gold import QueryRecipe
from streams.refresh import RefreshStep
from tests.support.tables import rows_of

Row = dict[str, object]
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
SALES = pa.schema(
    [("sale", pa.int64()), ("person", pa.int64()), ("day", pa.string()), ("amount", pa.decimal128(10, 2))]
)
PEOPLE = pa.schema([("id", pa.int32()), ("city", pa.string())])


@dataclass
class Star:
    """Two upstreams, and a derived table over them in two copies: one made by the driver, one by Spark."""

    spark: SparkSession
    sales: Table
    people: Table
    by_driver: RefreshStep
    by_spark: RefreshStep

    def write(
        self, table: Table, rows: list[dict[str, object]], deleted: list[dict[str, object]] | None = None
    ) -> None:
        """MERGE rows into an upstream by its first column; those that are `deleted` go."""
        schema = SALES if table is self.sales else PEOPLE
        made = pa.Table.from_pylist([*rows, *(deleted or [])], schema)
        made = made.append_column("gone", pa.array([False] * len(rows) + [True] * len(deleted or [])))
        key = schema.names[0]
        clauses = Merge([key], schema.names, "s.gone", "NOT s.gone", "NOT s.gone")
        engine.merge(table, made, clauses, Commit({}, entry(table.name, len(made))))

    def refresh(self) -> list[object]:
        """Refresh both, which then are the same; the rows."""
        for step in (self.by_driver, self.by_spark):
            step.run(self.spark, None)
        names = [name for name in self.by_driver.table.schema().names if name not in c.INGEST_METADATA]
        found, other = (rows_of(step.table.path, *names) for step in (self.by_driver, self.by_spark))
        assert found == other
        return list(found)


def entry(table: str, rows: int) -> LedgerEntry:
    return LedgerEntry(
        table=table,
        step="merge",
        run_id="r",
        clock=CLOCK,
        generation=0,
        engine="driver",
        source="full",
        rows={"upserts": rows},
    )


def made(name: str, lake: Lake, schema: pa.Schema, spark: SparkSession) -> Table:
    table = Table(name, lake)
    table.ensure(spark.createDataFrame(schema.empty_table()).schema, (), additive=False)
    return table


def star(tmp_path: Path, spark: SparkSession, query: str, grain: list[str], affected_by: dict[str, object]) -> Star:
    lake, other = Lake.at(str(tmp_path / "lake")), Lake.at(str(tmp_path / "other"))
    sales, people = made("silver.sales", lake, SALES, spark), made("silver.people", lake, PEOPLE, spark)
    spec = DerivedSpec.model_validate(
        {"table": "gold.derived", "grain": grain, "query": query, "affected_by": affected_by}
    )
    step = RefreshStep(QueryRecipe(spec), Table("gold.derived", lake), (sales, people), 1000, 100)
    by_spark = replace(step, table=Table("gold.derived", other), in_driver=False)
    for one in (step, by_spark):
        one.prepare(spark)
    return Star(spark, sales, people, step, by_spark)


def sale(number: int, person: int | None, day: str, amount: str = "1.00") -> dict[str, object]:
    return {"sale": number, "person": person, "day": day, "amount": Decimal(amount)}


CASES = {
    "left join": (
        "SELECT s.sale, s.person, s.amount, p.city FROM silver.sales s LEFT JOIN silver.people p ON s.person = p.id",
        ["sale"],
        {"silver.sales": "sale", "silver.people": {"id": "person"}},
    ),
    "inner join": (
        "SELECT s.sale, s.person, p.city FROM silver.sales s JOIN silver.people p ON s.person = p.id",
        ["sale"],
        {"silver.sales": "sale", "silver.people": {"id": "person"}},
    ),
    "right join": (
        "SELECT p.id, s.sale, s.amount FROM silver.sales s RIGHT JOIN silver.people p ON s.person = p.id "
        "WHERE s.sale IS NOT NULL",
        ["id", "sale"],
        {"silver.sales": "sale", "silver.people": "id"},
    ),
    "aggregate of a join": (
        "SELECT s.person, p.city, count(*) AS sales, sum(s.amount) AS total FROM silver.sales s "
        "JOIN silver.people p ON s.person = p.id GROUP BY s.person, p.city",
        ["person"],
        {"silver.sales": "person", "silver.people": {"id": "person"}},
    ),
    "several rows of a key": (
        "SELECT s.person, s.day, count(*) AS sales FROM silver.sales s GROUP BY s.person, s.day",
        ["person", "day"],
        {"silver.sales": {"person": "person", "day": "day"}, "silver.people": {"id": "person"}},
    ),
    "union": (
        "SELECT person AS who, count(*) AS n FROM (SELECT person FROM silver.sales UNION ALL "
        "SELECT CAST(id AS BIGINT) AS person FROM silver.people) GROUP BY person",
        ["who"],
        {"silver.sales": {"person": "who"}, "silver.people": {"id": "who"}},
    ),
    "a table twice": (
        "SELECT a.sale, a.person, count(b.sale) AS others FROM silver.sales a "
        "LEFT JOIN silver.sales b ON a.person = b.person JOIN silver.people p ON a.person = p.id "
        "GROUP BY a.sale, a.person",
        ["sale"],
        {"silver.sales": "person", "silver.people": {"id": "person"}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_spark_gives(case: str, tmp_path: Path, spark: SparkSession) -> None:
    one = star(tmp_path, spark, *CASES[case])  # type: ignore[arg-type]
    one.write(one.sales, [sale(1, 7, "a"), sale(2, 7, "b", "2.50"), sale(3, None, "a"), sale(4, 9, "a")])
    one.write(one.people, [{"id": 7, "city": "Oslo"}, {"id": 8, "city": "Rome"}])
    assert one.refresh()
    one.write(one.people, [{"id": 9, "city": "Oslo"}])
    one.refresh()
    one.write(one.sales, [sale(5, 8, "c"), sale(2, None, "b"), sale(1, 9, "a", "3.00")], deleted=[sale(3, None, "a")])
    one.refresh()
    one.write(one.people, [{"id": 7, "city": None}], deleted=[{"id": 8, "city": None}])
    one.refresh()
    one.write(one.sales, [sale(6, None, "c"), sale(7, None, "c")])
    one.write(one.people, [{"id": 10, "city": "Rome"}])
    assert one.refresh()


def test_only_what_the_keys_need_is_read(tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    query, grain, affected_by = CASES["left join"]
    one = star(tmp_path, spark, query, grain, affected_by)  # type: ignore[arg-type]
    one.write(one.sales, [sale(number, number % 5, "a") for number in range(20)])
    one.write(one.people, [{"id": number, "city": str(number)} for number in range(5)])
    read: dict[str, int] = {}
    of_keys = Table.of_keys

    def counted(self: Table, *args: object, **named: object) -> pa.Table:
        found = of_keys(self, *args, **named)  # type: ignore[arg-type]
        read[self.name] = found.num_rows
        return found

    monkeypatch.setattr(Table, "of_keys", counted)
    driver = DriverRefresh(one.by_driver.recipe, one.by_driver.table, 1000)
    upstreams = [At(table, table.version()) for table in (one.sales, one.people)]
    found = driver.rows(spark, upstreams, [pa.table({"sale": pa.array([3, 4, 8])})])
    assert found is not None
    assert found[0].sort_by("sale").to_pydict()["city"] == ["3", "4", "3"]
    assert (read["silver.sales"], read["silver.people"]) == (3, 2)


def test_more_rows_than_the_driver_is_to_hold_are_left_to_spark(tmp_path: Path, spark: SparkSession) -> None:
    query, grain, affected_by = CASES["left join"]
    one = star(tmp_path, spark, query, grain, affected_by)  # type: ignore[arg-type]
    one.write(one.sales, [sale(number, 7, "a") for number in range(20)])
    one.write(one.people, [{"id": 7, "city": "Oslo"}])
    upstreams = [At(table, table.version()) for table in (one.sales, one.people)]
    keys = [pa.table({"person": pa.array([7])})]
    assert DriverRefresh(one.by_driver.recipe, one.by_driver.table, 19).rows(spark, upstreams, keys) is None
    found = DriverRefresh(one.by_driver.recipe, one.by_driver.table, 20).rows(spark, upstreams, keys)
    assert found is not None
    assert found[0].num_rows == 20
