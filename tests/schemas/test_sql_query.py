"""What a query reads and gives, and which of its columns are not there."""

from __future__ import annotations

import pytest

from schemas.sql_query import parse_query

TABLES = {
    "silver.orders": ("order_id", "customer_id", "amount", "address", "_ingest_ts"),
    "silver.customers": ("customer_id", "email", "_ingest_ts"),
}


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        (
            "SELECT 1 FROM silver.orders o JOIN Silver.Customers c USING (customer_id)",
            ["silver.customers", "silver.orders"],
        ),
        ("WITH a AS (SELECT 1 FROM silver.orders) SELECT * FROM a", ["silver.orders"]),
        (
            "SELECT 1 FROM silver.orders WHERE EXISTS (SELECT 1 FROM silver.customers)",
            ["silver.customers", "silver.orders"],
        ),
        ("SELECT id FROM range(10)", []),
        (
            "SELECT order_id FROM silver.orders UNION ALL SELECT customer_id FROM silver.customers",
            ["silver.customers", "silver.orders"],
        ),
        ("SELECT 1 FROM delta.`/x/y`", ["delta./x/y"]),
    ],
)
def test_tables(sql: str, tables: list[str]) -> None:
    assert [table.name for table in parse_query(sql).tables()] == tables


@pytest.mark.parametrize(
    ("sql", "output"),
    [
        ("SELECT order_id, amount AS a, o.address.city FROM silver.orders o", ("order_id", "a", "city")),
        ("SELECT * FROM silver.customers", ("customer_id", "email")),
        (
            "SELECT o.order_id, c.* FROM silver.orders o, silver.customers c",
            ("order_id", "customer_id", "email"),
        ),
        ("SELECT CAST(amount AS INT) FROM silver.orders", ("amount",)),
        ("WITH a (x) AS (SELECT order_id FROM silver.orders) SELECT * FROM a", ("x",)),
        ("SELECT * FROM (SELECT order_id AS x FROM silver.orders) d", ("x",)),
        ("SELECT order_id FROM silver.orders UNION SELECT email FROM silver.customers", ("order_id",)),
        ("SELECT * FROM silver.nowhere", None),
        ("SELECT * FROM silver.orders JOIN silver.customers USING (customer_id)", None),
        ("SELECT * EXCEPT (email) FROM silver.customers", None),
        ("SELECT posexplode(address) FROM silver.orders", None),
        ("SELECT * FROM silver.orders PIVOT (sum(amount) FOR customer_id IN (1, 2))", None),
    ],
)
def test_output(sql: str, output: tuple[str, ...] | None) -> None:
    assert parse_query(sql).output(TABLES.get) == output


@pytest.mark.parametrize(
    ("sql", "unknown"),
    [
        ("SELECT o.nope, foo FROM silver.orders o", ["o.nope", "foo"]),
        ("SELECT ORDER_ID, O.Amount FROM silver.orders o", []),
        (
            "SELECT silver.orders.amount, orders.amount, silver.orders.nope FROM silver.orders",
            ["silver.orders.nope"],
        ),
        ("SELECT address.city, o.address.city.x FROM silver.orders o", []),
        ("SELECT order_id AS a, a + 1 AS b FROM silver.orders HAVING b > 1 ORDER BY a, b", []),
        ("SELECT o.address.city FROM silver.orders o ORDER BY city", []),
        ("SELECT nope FROM silver.orders ORDER BY nope", ["nope", "nope"]),
        (
            "SELECT 1 AS x FROM silver.orders o WHERE EXISTS "
            "(SELECT 1 FROM silver.customers c WHERE c.customer_id = o.customer_id AND amount > o.nope)",
            ["o.nope"],
        ),
        ("WITH a AS (SELECT order_id FROM silver.orders) SELECT a.order_id, a.amount FROM a", ["a.amount"]),
        ("SELECT d.y FROM (SELECT order_id AS x FROM silver.orders) d", ["d.y"]),
        ("SELECT order_id, item FROM silver.orders LATERAL VIEW explode(address) t AS item", []),
        ("SELECT order_id FROM silver.orders UNION ALL SELECT nope FROM silver.customers", ["nope"]),
        ("SELECT transform(address, x -> x.y + amount + nope) AS z FROM silver.orders", ["nope"]),
        ("SELECT sum(amount) OVER (PARTITION BY nope) AS s FROM silver.orders", ["nope"]),
        ("SELECT n.anything FROM silver.nowhere n JOIN silver.orders o ON whatever = 1", []),
        ("SELECT x.a FROM silver.orders o", ["x.a"]),
        ("SELECT id FROM range(10)", []),
        ("SELECT window.start, count(*) AS n FROM silver.orders GROUP BY window(address, '1 day')", []),
        ("SELECT current_date AS d FROM silver.orders", []),
        (
            "SELECT /*+ BROADCAST(c) */ o.order_id FROM silver.orders o JOIN silver.customers c USING (customer_id)",
            [],
        ),
    ],
)
def test_unknown_columns(sql: str, unknown: list[str]) -> None:
    assert [str(one.reference) for one in parse_query(sql).unknown(TABLES.get)] == unknown


@pytest.mark.parametrize(
    ("sql", "numbers"),
    [
        ("SELECT order_id, upper(email), amount + 1, count(*) AS n FROM t", [2, 3]),
        ("SELECT CASE WHEN a THEN b END, explode(x), window(ts, '1 day'), CAST(a AS INT) FROM t", [1]),
        ("SELECT my_function(a) FROM t UNION ALL SELECT a FROM t", [1]),
    ],
)
def test_unnamed_columns(sql: str, numbers: list[int]) -> None:
    assert list(parse_query(sql).unnamed()) == numbers
