"""What happens in the shop: a sequence of changes that follows from its seed alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from deploy.embedded import shop
from deploy.embedded.behavior import BEHAVIOR_TOPIC, EVENT_TYPES, BehaviorEvent, Encode
from deploy.embedded.shop import CITIES, CURRENCIES, FX_RATES_TOPIC, STATUSES, TIERS
from streams.demo.broken import Record, broken_records

BROKEN_EVERY = 100
_FIRST_BROKEN = 9
_SEED = 20260101
_FEW = 20
_RECENT_MICROSECONDS = 600_000_000
_KNOWN, _BY_APP = 0.8, 0.25

_OTHER_CITIES = {
    "DE": ("Hamburg", "Köln", "Leipzig"),
    "FR": ("Nantes", "Lille", "Nice"),
    "IT": ("Bologna", "Genova", "Bari"),
    "GB": ("York", "Bristol", "Dundee"),
    "CH": ("Basel", "Bern", "Chur"),
    "US": ("Austin", "Denver", "Portland"),
}

_INSERT_CUSTOMER = (
    "INSERT INTO customers (customer_id, email, full_name, address, city, country, tier)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
_INSERT_ORDER = (
    "INSERT INTO orders (order_id, customer_id, product_id, quantity, amount, currency, status, order_ts)"
    " VALUES (%s, %s, %s, %s, %s, %s, 'placed', now())"
)
_MOVE = "UPDATE customers SET address = %s, city = %s, updated_at = now() WHERE customer_id = %s"
_PROMOTE = "UPDATE customers SET tier = %s, updated_at = now() WHERE customer_id = %s"
_PRICE = "UPDATE products SET price = %s, updated_at = now() WHERE product_id = %s"
_STATUS = "UPDATE orders SET status = %s, updated_at = now() WHERE order_id = %s"


@dataclass(frozen=True)
class RowChange:
    """One transaction against PostgreSQL that changes one row."""

    kind: str
    table: str
    statement: str
    values: tuple[object, ...]

    @property
    def topic(self) -> str:
        """The topic on which Debezium tells of it."""
        return f"shop.public.{self.table}"

    @property
    def records(self) -> int:
        """How many records that takes: a deletion is followed by its tombstone."""
        return 2 if self.statement.startswith("DELETE") else 1


Change = RowChange | Record


@dataclass(frozen=True)
class Seeded:
    """How many rows each table of the shop begins with, numbered from 1, and how many events of its visitors."""

    customers: int = 200
    products: int = 50
    orders: int = 500
    events: int = 300

    @property
    def records(self) -> dict[str, int]:
        """Topic -> the records of Debezium's snapshot of these rows."""
        return {f"shop.public.{name}": getattr(self, name) for name in ("customers", "products", "orders")}


def changes(seeded: Seeded, now: datetime, encode: Encode, seed: int = _SEED) -> Iterator[Change]:
    """The changes, without end; every hundredth is a broken record.

    They must be applied in this order to a shop with these rows. Times of day are the database's own, but for those of
    the visitors' events, which are before `now`; `encode` makes records of them.
    """
    draw = Random(seed)  # noqa: S311 - it must be the same every time
    days, broken = _Days(seeded, now, encode, draw), broken_records(encode)
    number = 0
    while True:
        yield next(broken) if number % BROKEN_EVERY == _FIRST_BROKEN else days.next_change()
        number += 1


class _Days:
    """The shop as it is after the changes so far: enough of it to know what can happen next."""

    def __init__(self, seeded: Seeded, now: datetime, encode: Encode, draw: Random) -> None:
        self._draw, self._now, self._encode = draw, now, encode
        self._events: list[BehaviorEvent] = []
        rows = [shop.customer(number) for number in range(1, seeded.customers + 1)]
        self._city = {row[0]: (row[5], row[4]) for row in rows}
        self._customers = list(self._city)
        self._products = {n: shop.product(n)[4:6] for n in range(1, seeded.products + 1)}
        self._orders = list(range(1, seeded.orders + 1))
        self._last_customer, self._last_order = seeded.customers, seeded.orders

    def next_change(self) -> Change:
        """One more, of the kinds that the shop has enough rows for."""
        kinds: list[tuple[Callable[[], Change], int]] = [
            (self._order_placed, 60),
            (self._order_moved_on, 16 if self._orders else 0),
            (self._order_deleted, 2 if len(self._orders) > _FEW else 0),
            (self._customer_joined, 4),
            (self._customer_moved, 7),
            (self._customer_promoted, 2),
            (self._customer_left, 1 if len(self._customers) > _FEW else 0),
            (self._price_changed, 4),
            (self._visitor_acted, 30),
            (self._event_came_late, 4),
            (self._event_sent_again, 3 if self._events else 0),
            (self._rate_published, 4),
        ]
        [chosen] = self._draw.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        return chosen()

    def _order_placed(self) -> Change:
        self._last_order += 1
        self._orders.append(self._last_order)
        product = self._draw.choice(list(self._products))
        (price, currency), quantity = self._products[product], self._draw.randint(1, 5)
        buyer = self._draw.choice(self._customers)
        values = (self._last_order, buyer, product, quantity, price * quantity, currency)
        return RowChange("orders placed", "orders", _INSERT_ORDER, values)

    def _order_moved_on(self) -> Change:
        status = self._draw.choice((*STATUSES[1:], "returned", "cancelled"))
        return RowChange("order status changes", "orders", _STATUS, (status, self._draw.choice(self._orders)))

    def _order_deleted(self) -> Change:
        order = self._orders.pop(self._draw.randrange(len(self._orders)))
        return RowChange("orders deleted", "orders", "DELETE FROM orders WHERE order_id = %s", (order,))

    def _customer_joined(self) -> Change:
        self._last_customer += 1
        number, country = self._last_customer, self._draw.choice(list(CITIES))
        self._customers.append(number)
        self._city[number] = (country, CITIES[country])
        name, tier = f"Customer {number}", self._draw.choice(TIERS)
        values = (number, f"customer{number}@example.com", name, self._address(), CITIES[country], country, tier)
        return RowChange("customers joined", "customers", _INSERT_CUSTOMER, values)

    def _customer_moved(self) -> Change:
        customer = self._draw.choice(self._customers)
        country, city = self._city[customer]
        to = self._draw.choice([other for other in (CITIES[country], *_OTHER_CITIES[country]) if other != city])
        self._city[customer] = (country, to)
        return RowChange("customers moved", "customers", _MOVE, (self._address(), to, customer))

    def _customer_promoted(self) -> Change:
        values = (self._draw.choice(TIERS), self._draw.choice(self._customers))
        return RowChange("customer tier changes", "customers", _PROMOTE, values)

    def _customer_left(self) -> Change:
        customer = self._customers.pop(self._draw.randrange(len(self._customers)))
        statement = "DELETE FROM customers WHERE customer_id = %s"
        return RowChange("customers deleted", "customers", statement, (customer,))

    def _price_changed(self) -> Change:
        product = self._draw.choice(list(self._products))
        price, currency = Decimal(self._draw.randint(199, 49_999)) / 100, self._products[product][1]
        self._products[product] = (price, currency)
        return RowChange("price changes", "products", _PRICE, (price, product))

    def _visitor_acted(self) -> Change:
        event = self._event(timedelta(microseconds=self._draw.randrange(_RECENT_MICROSECONDS)))
        self._events.append(event)
        return self._record("visitors' events", event)

    def _event_came_late(self) -> Change:
        ago = timedelta(days=self._draw.randint(1, 3), microseconds=self._draw.randrange(_RECENT_MICROSECONDS))
        event = replace(self._event(ago), event_id=f"late-{self._draw.getrandbits(64):x}")
        return self._record("events days late", event)

    def _event_sent_again(self) -> Change:
        return self._record("events sent twice", self._draw.choice(self._events))

    def _event(self, ago: timedelta) -> BehaviorEvent:
        kind = self._draw.choices(list(EVENT_TYPES), list(EVENT_TYPES.values()))[0]
        customer = self._draw.choice(self._customers) if self._draw.random() < _KNOWN else None
        product, number = self._draw.choice(list(self._products)), len(self._events) + 1
        country = self._draw.choice([None, *CITIES])
        is_app = self._draw.random() < _BY_APP
        return BehaviorEvent(
            event_id=f"live-{number}",
            event_type=f" {kind.upper()} " if is_app else kind,
            event_ts=self._now - ago,
            session_id=f"live-{customer or f'nobody-{number}'}",
            customer_id=customer,
            product_id=product,
            url=None if is_app else f"https://shop.example/products/{product}",
            country=country.lower() if country and is_app else country,
        )

    def _record(self, kind: str, event: BehaviorEvent) -> Record:
        key, value = event.event_id.encode(), self._encode(event)
        return Record(kind, BEHAVIOR_TOPIC, key, value, is_broken=False, event=event)

    def _rate_published(self) -> Change:
        currency = self._draw.choice([name for name in CURRENCIES if name != "USD"])
        rate = CURRENCIES[currency] + Decimal(self._draw.randint(-150, 150)) / 10_000
        key = {"currency": currency, "rate_date": self._now.date().isoformat()}
        value = json.dumps(key | {"usd_rate": f"{rate:.4f}"})
        return Record("rates published", FX_RATES_TOPIC, json.dumps(key).encode(), value.encode(), is_broken=False)

    def _address(self) -> str:
        return f"{self._draw.randint(1, 200)} Station Road"
