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
SAMPLE_ROWS = 8


@dataclass(frozen=True)
class SampleRow:
    """One order: the city and tier are those of the customer's version that was valid when it was placed."""

    order_id: int
    ordered: datetime
    weekday: int
    customer_id: int
    version: str
    city: str
    tier: str
    product: str
    amount: Decimal
    currency: str
    amount_usd: Decimal | None


@dataclass(frozen=True)
class Star:
    """The sample, and the counts that say how much more there is."""

    sample: tuple[SampleRow, ...]
    facts: int
    customers: int
    versions: int
    changed_customers: int
    unpriced: int


def star_of(tables: Mapping[str, Table]) -> Star:
    """Read gold and join it; customers that ordered under two versions come first, then the newest orders."""
    facts = [row for row in rows_of(tables[FACT]) if row["customer_sk"] != "-1"]
    customers = {row["customer_sk"]: row for row in rows_of(tables[CUSTOMER])}
    products = {row["product_sk"]: row for row in rows_of(tables[PRODUCT])}
    days = {row["date_sk"]: row for row in rows_of(tables[DAY])}
    versions: defaultdict[int, list[str]] = defaultdict(list)
    for row in sorted(customers.values(), key=lambda row: row["valid_from"]):
        versions[row["customer_id"]].append(row["customer_sk"])
    complete = [
        row
        for row in sorted(facts, key=lambda row: row["order_ts"], reverse=True)
        if row["customer_sk"] in customers and row["product_sk"] in products and row["date_sk"] in days
    ]
    chosen = sorted(_chosen(complete), key=lambda row: (row["customer_id"], row["order_ts"]))
    return Star(
        sample=tuple(_joined(row, customers, products, days, versions) for row in chosen),
        facts=len(rows_of(tables[FACT], ("order_id",))),
        customers=len(versions),
        versions=len(customers),
        changed_customers=sum(len(keys) > 1 for keys in versions.values()),
        unpriced=sum(row["amount_usd"] is None for row in facts),
    )


def _chosen(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_customer: defaultdict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for fact in facts:
        by_customer[fact["customer_id"]].setdefault(fact["customer_sk"], fact)
    telling = [fact for held in by_customer.values() if len(held) > 1 for fact in list(held.values())[:2]]
    chosen = {fact["order_id"]: fact for fact in [*telling[: SAMPLE_ROWS - 2], *facts]}
    return list(chosen.values())[:SAMPLE_ROWS]


def _joined(
    fact: dict[str, Any],
    customers: Mapping[str, dict[str, Any]],
    products: Mapping[str, dict[str, Any]],
    days: Mapping[int, dict[str, Any]],
    versions: Mapping[int, list[str]],
) -> SampleRow:
    customer, known = customers[fact["customer_sk"]], versions[fact["customer_id"]]
    return SampleRow(
        order_id=fact["order_id"],
        ordered=fact["order_ts"],
        weekday=days[fact["date_sk"]]["iso_weekday"],
        customer_id=fact["customer_id"],
        version=f"{known.index(fact['customer_sk']) + 1} of {len(known)}",
        city=customer["city"],
        tier=customer["tier"],
        product=products[fact["product_sk"]]["name"],
        amount=fact["amount"],
        currency=fact["currency"],
        amount_usd=fact["amount_usd"],
    )
