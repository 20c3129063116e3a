"""Records that no contract accepts, one kind after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from deploy.embedded.shop import FX_RATES_TOPIC

ORDERS_TOPIC = "shop.public.orders"

_RATE = {"currency": "EUR", "rate_date": "2026-01-02", "usd_rate": "1.0834"}
_ORDER = {
    "order_id": 1,
    "customer_id": 1,
    "product_id": 1,
    "quantity": 1,
    "amount": "9.99",
    "currency": "EUR",
    "status": "placed",
    "order_ts": "2026-01-02T00:00:00Z",
    "updated_at": None,
}


@dataclass(frozen=True)
class Record:
    """A record that is written to Kafka directly; `is_broken` tells whether it must end in the error lane."""

    kind: str
    topic: str
    key: bytes
    value: bytes
    is_broken: bool


def broken_records() -> Iterator[Record]:
    """Broken records without end: each topic in turn, each kind in turn."""
    rates = [
        ("not JSON", b"usd_rate=1.0834;currency=EUR"),
        ("not an object", b'["EUR", "2026-01-02", "1.0834"]'),
        ("not UTF-8", b'{"currency": "\xff\xfe", "rate_date": "2026-01-02", "usd_rate": "1"}'),
        ("wrong type", _json(_RATE | {"usd_rate": 1.0834})),
        ("null in a key column", _json(_RATE | {"currency": None})),
    ]
    orders = [
        ("not JSON", b'{"op": "c", "after": {'),
        ("not an object", b"42"),
        ("not UTF-8", b'{"op": "c", "after": {"status": "\xc3\x28"}}'),
        ("wrong type", _json(_envelope(_ORDER | {"quantity": "three"}))),
        ("null in a key column", _json(_envelope(_ORDER | {"order_id": None}))),
    ]
    kinds = [
        Record(f"broken: {kind}", topic, b'{"broken": true}', value, is_broken=True)
        for of_rates, of_orders in zip(rates, orders, strict=True)
        for topic, (kind, value) in ((FX_RATES_TOPIC, of_rates), (ORDERS_TOPIC, of_orders))
    ]
    return cycle(kinds)


def _envelope(order: dict[str, Any]) -> dict[str, Any]:
    source = {"connector": "postgresql", "db": "shop", "schema": "public", "table": "orders", "lsn": 1, "ts_ms": 1}
    return {"op": "c", "before": None, "after": order, "source": source, "ts_ms": 1}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
