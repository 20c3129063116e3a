"""Records that no contract accepts, one kind after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from deploy.embedded.behavior import BEHAVIOR_TOPIC, BehaviorEvent, Encode
from deploy.embedded.shop import FX_RATES_TOPIC

ORDERS_TOPIC = "shop.public.orders"

_RATE = {"currency": "EUR", "rate_date": "2026-01-02", "usd_rate": "1.0834"}
_EVENT = BehaviorEvent("1", "view", datetime(2026, 1, 2, tzinfo=UTC), "1", country="DE")
_WIRE_HEADER = 5  # the zero byte, and the id of the schema
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
    """A record that is written to Kafka directly; `is_broken` tells whether it must end in the error lane.

    `event` is what a good record of `behavior` says.
    """

    kind: str
    topic: str
    key: bytes
    value: bytes
    is_broken: bool
    event: BehaviorEvent | None = None


def broken_records(encode: Encode) -> Iterator[Record]:
    """Broken records without end: each topic in turn, each kind in turn; `encode` writes the events in Avro."""
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
    events = [
        ("not Avro", b'{"event_id": "1"}'),
        ("of an unknown schema", b"\x00\x7f\xff\xff\xff" + encode(_EVENT)[_WIRE_HEADER:]),
        ("cut off", encode(_EVENT)[:-4]),
        ("out of range", encode(replace(_EVENT, product_id=0))),
        ("empty in a key column", encode(replace(_EVENT, event_id=""))),
    ]
    topics = (FX_RATES_TOPIC, ORDERS_TOPIC, BEHAVIOR_TOPIC)
    kinds = [
        Record(f"broken: {kind}", topic, b'{"broken": true}', value, is_broken=True)
        for of_topics in zip(rates, orders, events, strict=True)
        for topic, (kind, value) in zip(topics, of_topics, strict=True)
    ]
    return cycle(kinds)


def _envelope(order: dict[str, Any]) -> dict[str, Any]:
    source = {"connector": "postgresql", "db": "shop", "schema": "public", "table": "orders", "lsn": 1, "ts_ms": 1}
    return {"op": "c", "before": None, "after": order, "source": source, "ts_ms": 1}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
