"""Tables of a query replaced by views."""

from __future__ import annotations

import pytest

from streams.table_names import with_tables_renamed

VIEWS = {"silver.orders": "v1", "gold.dim_date": "v2"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM silver.orders", "SELECT * FROM v1 AS orders"),
        ("SELECT o.x FROM silver.orders o", "SELECT o.x FROM v1 o"),
        ("SELECT o.x FROM silver.orders AS o", "SELECT o.x FROM v1 AS o"),
        ("SELECT x FROM silver.orders WHERE x = 1", "SELECT x FROM v1 AS orders WHERE x = 1"),
        (
            "SELECT 1 FROM silver.orders o LEFT JOIN gold.dim_date ON o.d = dim_date.d",
            "SELECT 1 FROM v1 o LEFT JOIN v2 AS dim_date ON o.d = dim_date.d",
        ),
        (
            "SELECT 'from silver.orders' -- from silver.orders\nFROM silver.orders o",
            "SELECT 'from silver.orders' -- from silver.orders\nFROM v1 o",
        ),
        ("SELECT x FROM (SELECT x FROM `silver`.`orders`) t", "SELECT x FROM (SELECT x FROM v1 AS orders) t"),
        ("SELECT 1 FROM silver.orders a, gold.dim_date b", "SELECT 1 FROM v1 a, v2 b"),
        ("SELECT silver.orders FROM silver.orders silver", "SELECT silver.orders FROM v1 silver"),
        ("SELECT 1 FROM bronze.orders", "SELECT 1 FROM bronze.orders"),
    ],
)
def test_table_names_become_views(query: str, expected: str) -> None:
    assert with_tables_renamed(query, VIEWS) == expected
