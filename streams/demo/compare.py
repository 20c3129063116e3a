"""Silver against its source: the same rows in PostgreSQL and in the lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from sinks.table import Table

COMPARED: Final[Mapping[str, tuple[str, ...]]] = {
    "customers": ("customer_id", "city", "country", "tier"),
    "products": ("product_id", "price", "currency"),
    "orders": ("order_id", "customer_id", "product_id", "quantity", "amount", "currency", "status"),
}
"""Table -> the columns that silver takes over as they are, the key first."""


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


def compare(dsn: str, tables: Mapping[str, Table]) -> list[Comparison]:
    """Compare every table of the shop with its silver table, by key and by the columns of `COMPARED`."""
    found = []
    with psycopg.connect(dsn) as connection:
        for name, columns in COMPARED.items():
            query = sql.SQL("SELECT {} FROM {}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(name)
            )
            source = {row[0]: row for row in connection.execute(query).fetchall()}
            rows = [tuple(row[column] for column in columns) for row in rows_of(tables[f"silver.{name}"], columns)]
            silver = {row[0]: row for row in rows}
            differing = sorted(key for key in source.keys() | silver.keys() if source.get(key) != silver.get(key))
            found.append(Comparison(name, len(source), len(rows), tuple(differing)))
    return found


def rows_of(table: Table, columns: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """A table's rows as they are now; none where it does not exist."""
    if not table.exists:
        return []
    rows: list[dict[str, Any]] = table.handle().to_pyarrow_table(columns=list(columns) if columns else None).to_pylist()
    return rows
