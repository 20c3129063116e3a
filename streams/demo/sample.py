"""A few rows of the star schema, each fact with what its dimensions say of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sinks.table import Table
from streams.demo.compare import rows_of

FACT, CUSTOMER, PRODUCT, DAY = "gold.fact_sales", "gold.dim_customer", "gold.dim_product", "gold.dim_date"
_SAMPLE_ROWS, _PAIRED_ROWS = 8, 6


@dataclass(frozen=True)
class SampleRow:
    """One order: the city and tier are those of the customer's version that was valid when it was placed."""

    order_id: int
    ordered: datetime
    customer_id: int
    version: int
    versions: int
    city: str
    tier: str
    product: str
    amount: Decimal
    currency: str
    amount_usd: Decimal | None


@dataclass(frozen=True)
class Star:
    """The sample, and the counts that say how much more there is; `incomplete` facts miss a dimension or a rate."""

    sample: tuple[SampleRow, ...]
    facts: int
    customers: int
    versions: int
    changed_customers: int
    incomplete: int


def star_of(tables: Mapping[str, Table]) -> Star:
    """Read gold and join it; customers that ordered under two versions come first, then the newest orders."""
    facts = rows_of(tables[FACT])
    customers = {row["customer_sk"]: row for row in rows_of(tables[CUSTOMER])}
    products = {row["product_sk"]: row for row in rows_of(tables[PRODUCT])}
    days = {row["date_sk"] for row in rows_of(tables[DAY], ("date_sk",))}
    versions: defaultdict[int, list[str]] = defaultdict(list)
    for row in sorted(customers.values(), key=lambda row: row["valid_from"]):
        versions[row["customer_id"]].append(row["customer_sk"])
    joined = [
        _joined(fact, customers[fact["customer_sk"]], products[fact["product_sk"]], versions[fact["customer_id"]])
        for fact in facts
        if fact["customer_sk"] in customers and fact["product_sk"] in products and fact["date_sk"] in days
    ]
    return Star(
        sample=tuple(_sample(joined)),
        facts=len(facts),
        customers=len(versions),
        versions=len(customers),
        changed_customers=sum(len(keys) > 1 for keys in versions.values()),
        incomplete=len(facts) - sum(row.amount_usd is not None for row in joined),
    )


def _sample(rows: list[SampleRow]) -> list[SampleRow]:
    newest = sorted(rows, key=lambda row: row.ordered, reverse=True)
    by_customer: defaultdict[int, dict[tuple[str, str], SampleRow]] = defaultdict(dict)
    for row in newest:
        by_customer[row.customer_id].setdefault((row.city, row.tier), row)
    pairs = [row for held in by_customer.values() if len(held) > 1 for row in list(held.values())[:2]]
    chosen = {row.order_id: row for row in [*pairs[:_PAIRED_ROWS], *newest]}
    return sorted(list(chosen.values())[:_SAMPLE_ROWS], key=lambda row: (row.customer_id, row.ordered))


def _joined(fact: dict[str, Any], customer: dict[str, Any], product: dict[str, Any], versions: list[str]) -> SampleRow:
    return SampleRow(
        order_id=fact["order_id"],
        ordered=fact["order_ts"],
        customer_id=fact["customer_id"],
        version=versions.index(fact["customer_sk"]) + 1,
        versions=len(versions),
        city=customer["city"],
        tier=customer["tier"],
        product=product["name"],
        amount=fact["amount"],
        currency=fact["currency"],
        amount_usd=fact["amount_usd"],
    )
