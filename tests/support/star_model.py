"""What a small star must hold for a set of events, in plain Python: no order, no batches, no merges."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

UNKNOWN = "-1"
"""The tier of a customer of whom nothing is known."""


@dataclass(frozen=True)
class CustomerEvent:
    """A customer has a tier from a time on; the source wrote it at `lsn`."""

    lsn: int
    customer: int
    at: datetime
    tier: str


@dataclass(frozen=True)
class OrderEvent:
    """An order as it is from `lsn` on; with `is_gone` it is deleted."""

    lsn: int
    order: int
    customer: int | None
    at: datetime
    currency: str
    amount: Decimal
    is_gone: bool = False


@dataclass(frozen=True)
class RateEvent:
    """The rate of a currency on a day, as it is from `version` on."""

    version: int
    currency: str
    day: date
    rate: Decimal


Event = CustomerEvent | OrderEvent | RateEvent
Fact = tuple[int, int | None, str, Decimal | None]
"""Order, customer, tier when it was placed, amount in USD."""


def versions(events: Iterable[Event]) -> dict[int, list[tuple[datetime, str]]]:
    """The tiers of each customer with the time from which each held; equal ones that follow are one."""
    found: dict[int, list[tuple[datetime, str]]] = defaultdict(list)
    for event in sorted((one for one in events if isinstance(one, CustomerEvent)), key=lambda one: one.lsn):
        held = found[event.customer]
        if not held or held[-1][1] != event.tier:
            held.append((event.at, event.tier))
    return found


def facts(events: Iterable[Event]) -> list[Fact]:
    """The facts of the orders that are there."""
    events = list(events)
    orders: dict[int, OrderEvent] = {}
    rates: dict[tuple[str, date], RateEvent] = {}
    for event in events:
        if isinstance(event, OrderEvent) and (event.order not in orders or orders[event.order].lsn < event.lsn):
            orders[event.order] = event
        if isinstance(event, RateEvent):
            key = (event.currency, event.day)
            if key not in rates or rates[key].version < event.version:
                rates[key] = event
    held = versions(events)
    found = []
    for order in orders.values():
        if order.is_gone:
            continue
        tier = UNKNOWN
        for number, (begins, name) in enumerate(held.get(order.customer or 0, [])):
            if number == 0 or begins <= order.at:
                tier = name
        rate = rates.get((order.currency, order.at.date()))
        usd = order.amount if order.currency == "USD" else None
        if usd is None and rate is not None:
            usd = (order.amount * rate.rate).quantize(Decimal("0.01"), ROUND_HALF_UP)
        found.append((order.order, order.customer, tier, usd))
    return sorted(found)


def sales_by_tier(rows: Iterable[Fact]) -> list[tuple[str, int, Decimal | None]]:
    """How many facts each tier has, and their sum."""
    counts: Counter[str] = Counter()
    sums: dict[str, Decimal | None] = {}
    for _, _, tier, usd in rows:
        counts[tier] += 1
        sums[tier] = usd if sums.get(tier) is None else sums[tier] if usd is None else (sums[tier] or Decimal(0)) + usd
    return sorted((tier, counts[tier], sums[tier]) for tier in counts)
