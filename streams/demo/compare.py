"""Silver against its sources: the same rows in PostgreSQL, in the events that were made, and in the lake."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from deploy.embedded.behavior import BehaviorEvent
from sinks.table import Table
from streams.demo.activity import ACTIVITY_COLUMNS, BEHAVIOR_COLUMNS, activity_rows, behavior_rows

COMPARED: Final[Mapping[str, tuple[str, ...]]] = {
    "customers": ("customer_id", "city", "country", "tier"),
    "products": ("product_id", "price", "currency"),
    "orders": ("order_id", "customer_id", "product_id", "quantity", "amount", "currency", "status"),
}
"""Table -> the columns that silver takes over as they are, the key first."""

_CUSTOMERS: Final = "SELECT customer_id, country, tier FROM customers"
_ORDERS: Final = "SELECT customer_id, quantity, order_ts FROM orders"


@dataclass(frozen=True)
class Comparison:
    """One table: its rows in the source and in silver, and the keys whose rows are not the same in both."""

    table: str
    in_source: int
    in_silver: int
    differing: tuple[Any, ...]

    @property
    def is_equal(self) -> bool:
        """Whether they hold the same rows."""
        return not self.differing and self.in_source == self.in_silver


def compare(dsn: str, events: Collection[BehaviorEvent], tables: Mapping[str, Table]) -> list[Comparison]:
    """Compare the shop's silver tables with what they are made from: PostgreSQL, and each event once."""
    found = []
    with psycopg.connect(dsn) as connection:
        for name, columns in COMPARED.items():
            query = sql.SQL("SELECT {} FROM {}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(name)
            )
            found.append(_compared(name, connection.execute(query).fetchall(), tables, columns, 1))
        activity = activity_rows(
            connection.execute(_CUSTOMERS).fetchall(), connection.execute(_ORDERS).fetchall(), events
        )
    found.append(_compared("behavior", behavior_rows(events), tables, BEHAVIOR_COLUMNS, 1))
    found.append(_compared("customer_activity", activity, tables, ACTIVITY_COLUMNS, 2))
    return found


def rows_of(table: Table, columns: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """A table's rows as they are now; none where it does not exist."""
    if not table.exists:
        return []
    rows: list[dict[str, Any]] = table.to_arrow(columns or table.schema().names).to_pylist()
    return rows


def _compared(
    name: str, expected: Sequence[tuple[Any, ...]], tables: Mapping[str, Table], columns: tuple[str, ...], keys: int
) -> Comparison:
    """`expected` beside the silver table's rows; the first `keys` columns are the key."""
    rows = [tuple(row[column] for column in columns) for row in rows_of(tables[f"silver.{name}"], columns)]
    source, silver = ({_key(row, keys): row for row in side} for side in (expected, rows))
    differing = sorted(key for key in source.keys() | silver.keys() if source.get(key) != silver.get(key))
    return Comparison(name, len(expected), len(rows), tuple(differing))


def _key(row: tuple[Any, ...], keys: int) -> Any:
    return row[0] if keys == 1 else " ".join(str(value) for value in row[:keys])
