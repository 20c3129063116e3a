"""What silver must say of the visitors' events and of each customer's days, worked out without Spark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

from deploy.embedded.behavior import BehaviorEvent

BEHAVIOR_COLUMNS: Final = (
    "event_id",
    "customer_id",
    "event_type",
    "product_id",
    "session_id",
    "url",
    "country",
    "event_ts",
    "event_date",
)
ACTIVITY_COLUMNS: Final = (
    "customer_id",
    "activity_date",
    "country",
    "tier",
    "orders",
    "quantity",
    "events",
    "views",
    "carts",
    "checkouts",
    "sessions",
    "first_event_ts",
    "last_event_ts",
)
"""The columns of `silver.customer_activity` in the order of the rows here; its grain comes first."""


@dataclass
class _Day:
    orders: int = 0
    quantity: int = 0
    kinds: list[str] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    times: list[datetime] = field(default_factory=list)


def behavior_rows(events: Iterable[BehaviorEvent]) -> list[tuple[Any, ...]]:
    """Rows of `silver.behavior`, one for each event; BEHAVIOR_COLUMNS says what is where."""
    return [
        (
            one.event_id,
            one.customer_id,
            _kind(one),
            one.product_id,
            one.session_id,
            one.url,
            one.country and one.country.strip().upper(),
            one.event_ts,
            _day(one.event_ts),
        )
        for one in events
    ]


def activity_rows(
    customers: Iterable[tuple[int, str, str]],
    orders: Iterable[tuple[int, int, datetime]],
    events: Iterable[BehaviorEvent],
) -> list[tuple[Any, ...]]:
    """Rows of `silver.customer_activity`; ACTIVITY_COLUMNS says what is where.

    `customers` are (id, country, tier), `orders` (customer, quantity, time), each event is given once. A customer who
    is gone keeps the days, without country and tier.
    """
    known = {number: rest for number, *rest in customers}
    days: defaultdict[tuple[int, date], _Day] = defaultdict(_Day)
    for customer, quantity, at in orders:
        day = days[customer, _day(at)]
        day.orders += 1
        day.quantity += quantity
    for one in events:
        if one.customer_id is not None:
            day = days[one.customer_id, _day(one.event_ts)]
            day.kinds.append(_kind(one))
            day.sessions.add(one.session_id)
            day.times.append(one.event_ts)
    return [(*key, *known.get(key[0], (None, None)), *_counts(day)) for key, day in days.items()]


def _counts(day: _Day) -> Sequence[Any]:
    counted = [day.kinds.count(kind) for kind in ("view", "cart", "checkout")]
    first, last = (min(day.times), max(day.times)) if day.times else (None, None)
    return (day.orders, day.quantity, len(day.kinds), *counted, len(day.sessions), first, last)


def _kind(event: BehaviorEvent) -> str:
    return event.event_type.strip().lower()


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()
