"""What the shop's visitors do: events in Avro, as a website's producer writes them with a schema registry.

Seeded events follow from their number alone, so that two runs with the same counts seed the same events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy.embedded.shop import COUNTRIES, OPENED

BEHAVIOR_TOPIC: Final = "behavior"
EVENT_TYPES: Final = {"view": 60, "cart": 25, "checkout": 10, "search": 5}
"""What visitors do, and how often of a hundred times."""

SCHEMA: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Behavior",
    "namespace": "shop",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "event_type", "type": "string"},
        {"name": "event_ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "session_id", "type": "string"},
        {"name": "customer_id", "type": ["null", "long"], "default": None},
        {"name": "product_id", "type": ["null", "long"], "default": None},
        {"name": "url", "type": ["null", "string"], "default": None},
        {"name": "country", "type": ["null", "string"], "default": None},
    ],
}
_FLUSH_SECONDS = 30.0
_SEEDED_DAYS = 2


@dataclass(frozen=True)
class BehaviorEvent:
    """One thing that a visitor did; `customer_id` is None for one who is not logged in.

    Websites and apps write `event_type` and `country` each in their own way: in capitals or not, with spaces or not.
    """

    event_id: str
    event_type: str
    event_ts: datetime
    session_id: str
    customer_id: int | None = None
    product_id: int | None = None
    url: str | None = None
    country: str | None = None


Encode = Callable[[BehaviorEvent], bytes]
"""An event as the bytes of its record."""


def encoder(registry_url: str) -> Encode:
    """The serialiser of events in Confluent's wire format; its first use registers the schema."""
    serialise = AvroSerializer(SchemaRegistryClient({"url": registry_url}), json.dumps(SCHEMA))
    context = SerializationContext(BEHAVIOR_TOPIC, MessageField.VALUE)
    return lambda event: bytes(serialise(asdict(event), context) or b"")


def event(number: int, customers: int, products: int) -> BehaviorEvent:
    """Seeded event of this number, of one of so many customers and products; every tenth is of nobody known."""
    draw = Random(f"behavior {number}")  # noqa: S311
    kind = draw.choices(list(EVENT_TYPES), list(EVENT_TYPES.values()))[0]
    customer = None if number % 10 == 0 else draw.randint(1, customers)
    product = draw.randint(1, products)
    day = OPENED + timedelta(days=draw.randint(1, _SEEDED_DAYS))
    return BehaviorEvent(
        event_id=f"seed-{number}",
        event_type=kind,
        event_ts=day + timedelta(microseconds=draw.randrange(86_400_000_000)),
        session_id=f"seed-{customer or number}-{day:%d}",
        customer_id=customer,
        product_id=product,
        url=f"https://shop.example/products/{product}",
        country=draw.choice(list(COUNTRIES)),
    )


def seed_behavior(bootstrap: str, encode: Encode, *, customers: int, products: int, events: int) -> list[BehaviorEvent]:
    """Write the first so many events to `behavior`, and give them; the topic must exist."""
    made = [event(number, customers, products) for number in range(1, events + 1)]
    produce(bootstrap, encode, made)
    return made


def produce(bootstrap: str, encode: Encode, events: Iterable[BehaviorEvent]) -> None:
    """Write events to `behavior`, keyed by their ids; raises TimeoutError where they do not arrive."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 3})
    for one in events:
        producer.produce(BEHAVIOR_TOPIC, key=one.event_id.encode(), value=encode(one))
        producer.poll(0)
    left = producer.flush(_FLUSH_SECONDS)
    if left:
        raise TimeoutError(f"{left} records did not reach topic {BEHAVIOR_TOPIC} at {bootstrap}.")
