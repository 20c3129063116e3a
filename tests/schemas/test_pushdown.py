"""How far the key of a change gets in a derived table's query, and what stops it."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import InvalidPipeline
from schemas.loader import load
from schemas.pushdown import reach_of, unsteady
from schemas.sql_query import parse_query
from tests.schemas.folders import changed, write

TABLES = {
    "silver.orders": ("order_id", "customer_id", "amount", "order_date"),
    "silver.customers": ("customer_id", "email"),
}
ORDERS, CUSTOMERS = "silver.orders", "silver.customers"
SHOP = Path(__file__).parents[2] / "schemas"


@pytest.mark.parametrize(
    ("sql", "column", "reads"),
    [
        ("SELECT order_id FROM silver.orders", "ORDER_ID", [(ORDERS, "order_id", False)]),
        ("SELECT * FROM silver.orders", "order_id", [(ORDERS, "order_id", False)]),
        ("SELECT order_id + 1 AS k FROM silver.orders", "k", [(ORDERS, "order_id", False)]),
        ("SELECT 1 AS k FROM silver.orders", "k", []),
        (
            "SELECT o.customer_id FROM silver.orders o JOIN silver.customers c ON o.customer_id = c.customer_id",
            "customer_id",
            [(ORDERS, "customer_id", False), (CUSTOMERS, "customer_id", True)],
        ),
        (
            "SELECT o.order_id FROM silver.orders o LEFT JOIN silver.customers c ON o.customer_id = c.customer_id",
            "order_id",
            [(ORDERS, "order_id", False)],
        ),
        (
            "SELECT customer_id AS k FROM silver.orders UNION ALL SELECT customer_id FROM silver.customers",
            "k",
            [(ORDERS, "customer_id", False), (CUSTOMERS, "customer_id", False)],
        ),
        (
            "SELECT customer_id, sum(amount) AS s FROM silver.orders GROUP BY customer_id",
            "customer_id",
            [(ORDERS, "customer_id", False)],
        ),
        (
            "SELECT order_id, row_number() OVER (PARTITION BY order_id ORDER BY amount) AS n FROM silver.orders",
            "order_id",
            [(ORDERS, "order_id", False)],
        ),
        (
            "SELECT order_id, sum(amount) OVER W AS s FROM silver.orders WINDOW w AS (PARTITION BY order_id)",
            "order_id",
            [(ORDERS, "order_id", False)],
        ),
        ("WITH a AS (SELECT order_id AS k FROM silver.orders) SELECT k FROM a", "k", [(ORDERS, "order_id", False)]),
        ("WITH a(k) AS (SELECT order_id FROM silver.orders) SELECT k FROM a", "k", [(ORDERS, "order_id", False)]),
        ("SELECT k FROM (SELECT order_id AS k FROM silver.orders) s", "k", [(ORDERS, "order_id", False)]),
    ],
)
def test_a_key_gets_to_the_tables_that_have_it(sql: str, column: str, reads: list[tuple[str, str, bool]]) -> None:
    found = reach_of(parse_query(sql), column, TABLES.get)

    assert [(read.table, read.column, read.joined) for read in found.reads] == reads
    assert (found.barriers, found.is_known) == ([], True)


@pytest.mark.parametrize(
    ("sql", "column", "why"),
    [
        ("SELECT max(order_id) AS k FROM silver.orders", "k", "it is the result of an aggregate"),
        ("SELECT order_id FROM silver.orders LIMIT 5", "order_id", "a LIMIT stands in the way"),
        (
            "WITH a AS (SELECT order_id FROM silver.orders LIMIT 5) SELECT order_id FROM a",
            "order_id",
            "a LIMIT stands in the way",
        ),
        (
            "SELECT rank() OVER (ORDER BY amount) AS k FROM silver.orders",
            "k",
            "it is the result of a window function",
        ),
        (
            "SELECT order_id, sum(amount) OVER (PARTITION BY customer_id) AS s FROM silver.orders",
            "order_id",
            "a window function beside it is not partitioned by it",
        ),
        (
            "SELECT order_id, sum(amount) OVER w AS s FROM silver.orders WINDOW w AS (PARTITION BY customer_id)",
            "order_id",
            "a window function beside it is not partitioned by it",
        ),
        (
            "SELECT (SELECT max(customer_id) FROM silver.customers) AS k FROM silver.orders",
            "k",
            "it is the result of a subquery",
        ),
        (
            "SELECT concat(o.order_id, c.email) AS k FROM silver.orders o CROSS JOIN silver.customers c",
            "k",
            "it is made of columns of `c` and `o`",
        ),
        (
            "SELECT coalesce(c.email, '') AS k FROM silver.orders o LEFT JOIN silver.customers c USING (customer_id)",
            "k",
            "it is an expression over `c`, which an outer join may leave empty",
        ),
        ("SELECT uuid() AS k FROM silver.orders", "k", "it is another value each time"),
    ],
)
def test_a_key_stops_where_spark_can_not_bring_it_on(sql: str, column: str, why: str) -> None:
    assert why in [barrier.why for barrier in reach_of(parse_query(sql), column, TABLES.get).barriers]


def test_a_side_of_a_union_that_stops_a_key_is_told_beside_the_side_that_does_not() -> None:
    sql = "SELECT order_id AS k FROM silver.orders UNION ALL SELECT max(customer_id) FROM silver.customers"

    found = reach_of(parse_query(sql), "k", TABLES.get)

    assert [read.table for read in found.reads] == [ORDERS]
    assert [barrier.why for barrier in found.barriers] == ["it is the result of an aggregate"]


def test_what_only_spark_can_tell_is_not_refused() -> None:
    found = reach_of(parse_query("SELECT k FROM silver.a JOIN silver.b"), "k", TABLES.get)

    assert (found.reads, found.barriers, found.is_known) == ([], [], False)


@pytest.mark.parametrize(
    "group",
    [
        "ROLLUP (order_id)",
        "order_id WITH ROLLUP",
        "CUBE (order_id)",
        "order_id WITH CUBE",
        "GROUPING SETS ((order_id), ())",
        "order_id GROUPING SETS ((order_id), ())",
    ],
)
def test_rows_of_totals_stop_a_key_however_they_are_written(group: str) -> None:
    found = reach_of(parse_query(f"SELECT order_id FROM silver.orders GROUP BY {group}"), "order_id", TABLES.get)

    assert [barrier.why for barrier in found.barriers] == ["it is grouped by ROLLUP, CUBE or GROUPING SETS"]


@pytest.mark.parametrize(
    ("item", "names"),
    [("now()", 1), ("current_date", 1), ("rand()", 1), ("uuid()", 1), ("order_date", 0), ("`current_date`", 0)],
)
def test_functions_that_give_another_value_each_time_are_found(item: str, names: int) -> None:
    assert len(list(unsteady(parse_query(f"SELECT {item} AS x FROM silver.orders")))) == names


def test_the_queries_of_the_shop_are_not_refused() -> None:
    assert load(SHOP).tables


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("d.is_current\n", "d.is_current\n          LIMIT 5\n", "a LIMIT stands in the way. Each change would read"),
        ("c.customer_id, c.city", "max(c.customer_id) AS customer_id, c.city", "it is the result of an aggregate"),
        (
            "c.city,",
            "c.city, now() AS seen_at,",
            "gives another value each time: a refresh and a rebuild would not agree",
        ),
    ],
)
def test_a_query_whose_refresh_would_read_all_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(InvalidPipeline) as refused:
        load(write(tmp_path, changed("tables/gold.cities.yml", old, new)))

    assert sentence in str(refused.value)
    assert "gold.cities.yml" in str(refused.value)
