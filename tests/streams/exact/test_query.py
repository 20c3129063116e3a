"""Queries that DuckDB is given of Spark's give the same rows, column for column and type for type."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import (
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from schemas.arrow_values import arrow_type
from streams.compute import InDriver
from streams.exact.query import told_query, view_of
from streams.table_names import with_tables_renamed

ORDERS = StructType(
    [
        StructField("order_id", LongType()),
        StructField("customer_id", LongType()),
        StructField("product_id", LongType()),
        StructField("order_date", DateType()),
        StructField("order_ts", TimestampType()),
        StructField("status", StringType()),
        StructField("quantity", IntegerType()),
        StructField("amount", DecimalType(18, 2)),
        StructField("currency", StringType()),
        StructField("weight", DoubleType()),
    ]
)
CUSTOMERS = StructType(
    [
        StructField("customer_id", LongType()),
        StructField("tier", StringType()),
        StructField("valid_from", TimestampType()),
        StructField("valid_to", TimestampType()),
        StructField("home", StructType([StructField("City", StringType())])),
    ]
)
RATES = StructType(
    [
        StructField("currency", StringType()),
        StructField("rate_date", DateType()),
        StructField("usd_rate", DecimalType(18, 8)),
    ]
)
TABLES = {"silver.orders": ORDERS, "silver.customers": CUSTOMERS, "silver.fx_rates": RATES}

TOLD = [
    "SELECT * FROM silver.orders",
    "SELECT o.*, c.tier FROM silver.orders o JOIN silver.customers c ON o.customer_id = c.customer_id",
    "SELECT order_id, tier FROM silver.orders o LEFT JOIN silver.customers c ON o.customer_id = c.customer_id",
    "SELECT order_id, c.tier, r.usd_rate FROM silver.customers c RIGHT JOIN silver.orders o "
    "ON o.customer_id = c.customer_id AND o.order_ts >= c.valid_from "
    "AND o.order_ts < coalesce(c.valid_to, TIMESTAMP '9999-12-31 23:59:59.999999') "
    "FULL OUTER JOIN silver.fx_rates r ON r.currency = o.currency AND r.rate_date = o.order_date",
    "SELECT orders.order_id, c.home.city AS city FROM silver.orders, silver.customers c "
    "WHERE orders.customer_id = c.customer_id",
    "SELECT o.order_id, r.currency FROM silver.orders o CROSS JOIN silver.fx_rates r WHERE o.quantity > 3",
    "SELECT customer_id, count(*) AS n, count(amount) AS known, sum(amount) AS total, sum(quantity) AS pieces, "
    "min(order_ts) AS first, max(status) AS last, count(DISTINCT product_id) AS products, "
    "count_if(status = 'paid') AS paid, coalesce(sum(quantity), 0) AS some "
    "FROM silver.orders GROUP BY customer_id",
    "SELECT o.customer_id, year(order_date) AS year, sum(amount) AS total FROM silver.orders o "
    "WHERE status <> 'void' GROUP BY o.customer_id, year(order_date) HAVING sum(amount) > 20",
    "SELECT count(*) AS n, sum(quantity) AS pieces, count_if(quantity > 1) AS some, min(status) AS least "
    "FROM silver.orders WHERE order_id IS NULL",
    "SELECT DISTINCT currency, order_date FROM silver.orders WHERE order_date IS NOT NULL",
    "SELECT currency, order_date AS day FROM silver.orders UNION SELECT currency, rate_date FROM silver.fx_rates",
    "SELECT amount AS value FROM silver.orders UNION ALL SELECT usd_rate FROM silver.fx_rates",
    "WITH paid AS (SELECT * FROM silver.orders WHERE status = 'paid'), few AS (SELECT order_id FROM paid) "
    "SELECT p.order_id, p.amount FROM paid p JOIN few ON p.order_id = few.order_id",
    "SELECT s.customer_id, s.n FROM (SELECT customer_id, count(*) AS n FROM silver.orders GROUP BY customer_id) s "
    "WHERE s.n > 1",
    "SELECT n FROM (SELECT count(*) AS n FROM silver.orders GROUP BY customer_id)",
    "SELECT a.order_id FROM silver.orders a JOIN silver.orders b ON a.customer_id = b.customer_id "
    "AND a.order_id > b.order_id",
    "SELECT CAST(CASE WHEN o.currency = 'USD' THEN o.amount ELSE round(o.amount * r.usd_rate, 2) END "
    "AS DECIMAL(18, 2)) AS usd FROM silver.orders o LEFT JOIN silver.fx_rates r ON o.currency = r.currency "
    "AND o.order_date = r.rate_date",
]
LEFT_TO_SPARK = [
    "SELECT order_id FROM silver.orders ORDER BY order_id LIMIT 3",
    "SELECT order_id, row_number() OVER (PARTITION BY customer_id ORDER BY order_ts) AS n FROM silver.orders",
    "SELECT sum(weight) AS total FROM silver.orders",
    "SELECT DISTINCT weight FROM silver.orders",
    "SELECT weight FROM silver.orders UNION SELECT weight FROM silver.orders",
    "SELECT avg(amount) AS mean FROM silver.orders",
    "SELECT order_id FROM silver.orders WHERE customer_id IN (SELECT customer_id FROM silver.customers)",
    "SELECT order_id FROM silver.orders JOIN silver.customers USING (customer_id)",
    "SELECT order_id FROM silver.orders o LEFT SEMI JOIN silver.customers c ON o.customer_id = c.customer_id",
    "SELECT customer_id FROM silver.orders o JOIN silver.customers c ON o.customer_id = c.customer_id",
    "SELECT order_id, order_id FROM silver.orders",
    "SELECT order_id + 1 FROM silver.orders",
    "SELECT customer_id AS who, count(*) AS n FROM silver.orders GROUP BY who",
    "SELECT customer_id, count(*) AS n FROM silver.orders GROUP BY 1",
    "SELECT customer_id, count(*) AS n FROM silver.orders GROUP BY customer_id WITH ROLLUP",
    "SELECT order_id FROM silver.elsewhere",
    "SELECT a.x FROM silver.orders AS a (x)",
    "SELECT order_id FROM silver.orders TABLESAMPLE (10 PERCENT)",
    "SELECT explode(array(order_id)) AS x FROM silver.orders",
    "SELECT amount AS value FROM silver.orders UNION ALL SELECT status FROM silver.orders",
    "SELECT amount FROM silver.orders EXCEPT SELECT amount FROM silver.orders",
    "SELECT count(*) FILTER (WHERE quantity > 1) AS n FROM silver.orders",
    "SELECT sum(DISTINCT quantity) AS n FROM silver.orders",
    "SELECT order_id FROM silver.orders WHERE sum(quantity) > 1",
    "SELECT * EXCEPT (order_id) FROM silver.orders",
]


def some(random: Random, *values: Any) -> Any:
    return random.choice([*values, None])


def rows() -> dict[str, pa.Table]:
    random = Random(5)
    start, day = datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)
    orders = [
        {
            "order_id": number,
            "customer_id": some(random, *range(6)),
            "product_id": some(random, 1, 2, 3),
            "order_date": some(random, *(day + timedelta(days=each) for each in range(4))),
            "order_ts": some(random, *(start + timedelta(hours=each) for each in range(0, 96, 5))),
            "status": some(random, "paid", "void", "Paid", "é"),
            "quantity": some(random, 1, 2, 5, -3),
            "amount": some(random, Decimal("1.05"), Decimal("19.99"), Decimal("-3.50"), Decimal("1000000.01")),
            "currency": some(random, "USD", "EUR", "NOK"),
            "weight": some(random, 0.5, float("nan"), -0.0, 0.0),
        }
        for number in range(80)
    ]
    customers = [
        {
            "customer_id": some(random, *range(7)),
            "tier": some(random, "gold", "basic"),
            "valid_from": some(random, datetime(1, 1, 1, tzinfo=UTC), start + timedelta(hours=30)),
            "valid_to": some(random, start + timedelta(hours=30)),
            "home": some(random, {"City": "Oslo"}, {"City": None}),
        }
        for _ in range(12)
    ]
    rates = [
        {"currency": some(random, "EUR", "NOK"), "rate_date": day, "usd_rate": Decimal("1.08123457")},
        {"currency": "EUR", "rate_date": day + timedelta(days=1), "usd_rate": Decimal("0.99999999")},
        {"currency": "NOK", "rate_date": day + timedelta(days=2), "usd_rate": Decimal("0.09250000")},
    ]
    made = zip(TABLES.items(), (orders, customers, rates), strict=True)
    return {name: pa.Table.from_pylist(found, pa.schema(list(arrow_type(kind)))) for (name, kind), found in made}


def in_order(found: pa.Table) -> list[str]:
    # As counts: Python's times end with the year 9999, and a NaN is no other's equal.
    micros = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in found.itercolumns()
    ]
    return sorted(map(repr, pa.table(micros, names=found.column_names).to_pylist()))


@pytest.mark.parametrize("query", TOLD)
def test_what_is_told_gives_the_rows_of_spark(query: str, spark: SparkSession) -> None:
    tables = rows()
    for name, table in tables.items():
        spark.createDataFrame(table).createOrReplaceTempView(view_of(name))
    frame = spark.sql(with_tables_renamed(query, {name: view_of(name) for name in tables}))
    told = told_query(query, TABLES)
    assert told is not None
    found = InDriver().sql(told.sql, {view_of(name): table for name, table in tables.items()})
    assert [(field.name, field.dataType) for field in told.columns] == [
        (field.name, field.dataType) for field in frame.schema
    ]
    assert found.schema.types == [field.type for field in arrow_type(told.columns)]
    assert in_order(found) == in_order(frame.toArrow())


@pytest.mark.parametrize("query", LEFT_TO_SPARK)
def test_what_is_not_known_to_be_the_same_is_left_to_spark(query: str) -> None:
    assert told_query(query, TABLES) is None


def test_only_the_columns_that_are_read_are_named() -> None:
    told = told_query(TOLD[1], TABLES)
    assert told is not None
    assert told.reads["silver.orders"] == tuple(sorted(ORDERS.names))
    assert told.reads["silver.customers"] == ("customer_id", "tier")
