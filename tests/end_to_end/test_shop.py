"""The shop on the real stack: known changes, a kill in between, and every table whole at the end."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from checkpoints import ledger
from checkpoints.lake import Lake
from deploy.embedded import behavior, shop
from deploy.embedded.behavior import BehaviorEvent
from deploy.embedded.stack import EmbeddedStack
from schemas.settings import KafkaSettings
from sinks.table import Table
from streams.sources import Brokers
from tests.support.service import ServiceProcess, is_drained
from tests.support.tables import lane_records, rows_of

pytestmark = pytest.mark.stack

BROKEN = [
    # topic, key, value, the rule that it breaks
    ("fx_rates", b"x", b"not json", "json.syntax"),
    ("fx_rates", b"x", b'{"currency": "\xff"}', "json.utf8"),
    ("fx_rates", b"x", b"[1, 2]", "json.object"),
    ("fx_rates", b"x", b'{"currency": null, "rate_date": "2026-02-01", "usd_rate": "1"}', "schema.type"),
    ("fx_rates", b"x", b'{"currency": "EUR", "rate_date": "2026-02-01", "usd_rate": 1.5}', "schema.type"),
    ("shop.public.orders", b"x", b"\x00garbage", "json.syntax"),
    ("shop.public.orders", b"x", b'{"op": "u"}', "debezium.position"),
    ("behavior", b"x", b'{"event_id": "1"}', "avro.magic"),
    ("behavior", b"x", b"\x00\x7f\xff\xff\xff\x02", "avro.schema_unknown"),
]
ORDERS = ("order_id", "customer_id", "product_id", "quantity", "amount", "currency", "status", "order_ts")
CUSTOMERS = ("customer_id", "email", "full_name", "city", "country", "tier")
KEY = "the key of a shop that is gone in a minute"


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 2, day, hour, tzinfo=UTC)


class Shop:
    """The sources, by hand."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self.dsn = stack.postgres.dsn
        self.producer = Producer({"bootstrap.servers": stack.kafka.bootstrap, "linger.ms": 5})
        self.encode = behavior.encoder(stack.registry.url)

    def sql(self, *statements: tuple[str, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Each statement in a transaction of its own."""
        found: list[tuple[Any, ...]] = []
        for statement, values in statements:
            with psycopg.connect(self.dsn) as connection:
                cursor = connection.execute(statement, values)  # type: ignore[arg-type]
                found = cursor.fetchall() if cursor.description else []
        return found

    def produce(self, topic: str, key: bytes, value: bytes) -> None:
        self.producer.produce(topic, key=key, value=value)
        assert self.producer.flush(30) == 0

    def rate(self, currency: str, day: int, rate: str) -> None:
        record = {"currency": currency, "rate_date": f"2026-02-{day:02}", "usd_rate": rate}
        self.produce("fx_rates", f"{currency}{day}".encode(), json.dumps(record).encode())

    def event(self, number: int, customer: int | None, kind: str, happened: datetime) -> None:
        made = BehaviorEvent(f"e{number}", kind, happened, f"s{customer}", customer, 1, " /lamp ", " de")
        self.produce("behavior", made.event_id.encode(), self.encode(made))


def customer(number: int, city: str) -> tuple[str, tuple[Any, ...]]:
    return (
        "INSERT INTO customers (customer_id, email, full_name, address, city, country, tier) "
        "VALUES (%s, %s, %s, %s, %s, 'DE', 'gold')",
        (number, f"  C{number}@Example.org".strip(), f"Customer {number}", None, city),
    )


def order(number: int, customer_: int, amount: str, currency: str, placed: datetime) -> tuple[str, tuple[Any, ...]]:
    return (
        "INSERT INTO orders (order_id, customer_id, product_id, quantity, amount, currency, status, order_ts) "
        "VALUES (%s, %s, 1, 1, %s, %s, 'placed', %s)",
        (number, customer_, Decimal(amount), currency, placed),
    )


def shop_db(stack: EmbeddedStack) -> dict[str, str]:
    """The settings of the database that the shop's specs are reconciled with."""
    login = psycopg.conninfo.conninfo_to_dict(stack.postgres.dsn)
    names = {"host": "host", "port": "port", "dbname": "database", "user": "user", "password": "password"}
    return {f"sources.shop_db.{setting}": str(login[name]) for name, setting in names.items()}


def hashed(text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack() as started:
        shop.create_tables(started.postgres.dsn)
        yield started


def test_known_changes_reach_every_table_though_the_service_is_killed(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    source = Shop(stack)
    lake = Lake.at(str(tmp_path / "lake"))
    service = ServiceProcess(
        {
            "lake": lake.root,
            "kafka.bootstrap_servers": stack.kafka.bootstrap,
            "registry.url": stack.registry.url,
            "jars_dir": str(service_jars),
            "metrics_port": "0",
            "trigger_seconds": "0.5",
            **shop_db(stack),
            "pii.key": KEY,
        },
        tmp_path / "service.log",
    )

    # Before Debezium's snapshot: rows that arrive as reads. The service starts first, and waits for its topics.
    source.sql(
        customer(1, "Bonn"),
        customer(2, "Kiel"),
        ("INSERT INTO products VALUES (1, 'sku-1', 'Lamp', 'Home', 9.99, 'EUR')", ()),
        order(1, 1, "10.00", "EUR", at(1)),
        order(2, 2, "20.00", "USD", at(1)),
    )
    service.start()
    stack.start_connect()
    stack.create_topics({"fx_rates": 2, "behavior": 2})
    source.rate("EUR", 1, "1.10")
    viewed, added, seen = at(1, 9).replace(microsecond=123457), at(1, 10), at(2, 8)
    late = datetime(2026, 1, 20, tzinfo=UTC)
    source.event(1, 1, "view", viewed)
    source.event(2, 2, "cart", added)
    service.wait_for(
        lambda status: (
            status["gold.fact_sales"]["rows"] == 2
            and status["silver.customer_activity"]["rows"] == 2
            and is_drained(status)
        ),
        "the snapshot is in gold, and the first events are in silver",
    )

    # While it runs, and then while it is dead.
    moved = source.sql(("UPDATE customers SET city = 'Ulm' WHERE customer_id = 1 RETURNING updated_at", ()))
    assert moved
    source.sql(
        order(3, 1, "30.00", "EUR", at(2)),
        ("UPDATE orders SET status = 'paid' WHERE order_id = 1", ()),
        ("DELETE FROM orders WHERE order_id = 2", ()),
    )
    for topic, key, value, _ in BROKEN[:4]:
        source.produce(topic, key, value)
    source.event(3, None, "view", added)
    source.event(4, 1, "checkout", late)
    source.event(1, 1, "view", viewed)
    service.kill()
    source.rate("EUR", 2, "1.20")
    source.sql(
        customer(3, "Jena"),
        ("DELETE FROM customers WHERE customer_id = 2", ()),
        order(4, 3, "40.00", "CHF", at(3)),
        ("UPDATE orders SET amount = 33.00, customer_id = 3 WHERE order_id = 3", ()),
        ("UPDATE orders SET order_id = 5 WHERE order_id = 4", ()),
        ("UPDATE products SET price = 12.50 WHERE product_id = 1", ()),
    )
    for topic, key, value, _ in BROKEN[4:]:
        source.produce(topic, key, value)
    source.rate("EUR", 1, "1.15")
    source.event(5, 3, " VIEW", seen)

    service.start()
    wanted = len(source.sql(("SELECT 1 FROM orders", ())))
    service.wait_for(
        lambda status: (
            is_drained(status)
            and status["silver.orders"]["rows"] == wanted
            and status["bronze.fx_rates"]["position"] is not None
            and rows_of(lake.table("silver.products"), "price") == [(Decimal("12.50"),)]
            and len(lane_records(lake.errors("bronze.fx_rates"))) == 5
            and len(lane_records(lake.errors("bronze.behavior"))) == 2
            and status["silver.behavior"]["rows"] == 5
        ),
        "everything is in every table",
    )
    assert service.terminate() == 0

    # Bronze, lanes and counted drops hold each record once; what was read is what became of it.
    for table, topic in (
        ("bronze.customers", "shop.public.customers"),
        ("bronze.orders", "shop.public.orders"),
        ("bronze.products", "shop.public.products"),
        ("bronze.fx_rates", "fx_rates"),
        ("bronze.behavior", "behavior"),
    ):
        held = rows_of(lake.table(table), "_partition", "_offset")
        lane = [(record["partition"], record["offset"]) for record in lane_records(lake.errors(table))]
        entries = [entry for _, entry in ledger.entries(Table(table, lake).handle())]
        read, dropped = sum(e.read for e in entries), sum(sum(e.dropped.values()) for e in entries)
        ends = Brokers(KafkaSettings(bootstrap_servers=stack.kafka.bootstrap)).end_offsets(topic, {})
        assert len({*held, *lane}) == len(held) + len(lane), table
        assert len(held) + len(lane) + dropped == read == sum(ends.values()), table
    lanes = [lake.errors(f"bronze.{name}") for name in ("fx_rates", "orders", "behavior")]
    rejected = [record for lane in lanes for record in lane_records(lane)]
    assert sorted(record["violations"][0]["rule"] for record in rejected) == sorted(rule for *_, rule in BROKEN)

    # Silver is the database, without what is personal.
    database = source.sql((f"SELECT {', '.join(ORDERS)} FROM orders ORDER BY order_id", ()))
    assert rows_of(lake.table("silver.orders"), *ORDERS) == sorted(database, key=repr)
    people = source.sql((f"SELECT {', '.join(CUSTOMERS)} FROM customers", ()))
    protected = [(number, hashed(email.strip().lower()), "***", *rest) for number, email, _, *rest in people]
    assert rows_of(lake.table("silver.customers"), *CUSTOMERS) == sorted(protected, key=repr)
    reconciled = service.command("reconcile", "--wait", "0")
    assert (reconciled.returncode, reconciled.stderr) == (0, ""), reconciled.stdout
    assert rows_of(lake.table("silver.fx_rates"), "currency", "rate_date", "usd_rate") == [
        ("EUR", date(2026, 2, 1), Decimal("1.15000000")),
        ("EUR", date(2026, 2, 2), Decimal("1.20000000")),
    ]

    # The events: each once, in one form, at its microsecond. The days: one that came late, one of a customer who is
    # gone without the order that was deleted, those of an order that moved to another customer and key.
    assert rows_of(lake.table("silver.behavior")) == [
        (f"e{number}", customer_, kind, 1, f"s{customer_}", "/lamp", "DE", happened, happened.date())
        for number, customer_, kind, happened in (
            (1, 1, "view", viewed),
            (2, 2, "cart", added),
            (3, None, "view", added),
            (4, 1, "checkout", late),
            (5, 3, "view", seen),
        )
    ]
    assert rows_of(lake.table("silver.customer_activity")) == [
        (1, date(2026, 1, 20), "DE", "gold", 0, 0, 1, 0, 0, 1, 1, late, late),
        (1, date(2026, 2, 1), "DE", "gold", 1, 1, 1, 1, 0, 0, 1, viewed, viewed),
        (2, date(2026, 2, 1), None, None, 0, 0, 1, 0, 1, 0, 1, added, added),
        (3, date(2026, 2, 2), "DE", "gold", 1, 1, 1, 1, 0, 0, 1, seen, seen),
        (3, date(2026, 2, 3), "DE", "gold", 1, 1, 0, 0, 0, 0, 0, None, None),
    ]

    # Gold: a version per city, the order of a customer who is gone, the corrected rate, the moved key.
    versions = rows_of(lake.table("gold.dim_customer"), "customer_id", "city", "is_current")
    assert versions == [(1, "Bonn", False), (1, "Ulm", True), (2, "Kiel", False), (3, "Jena", True)]
    assert rows_of(lake.table("gold.dim_product"), "product_id", "sku", "category", "price") == [
        (1, "SKU-1", "home", Decimal("12.50"))
    ]
    days = (20260120, 20260201, 20260202, 20260203)
    assert rows_of(lake.table("gold.dim_date"), "date_sk") == [(day,) for day in days]
    cities = {
        sk: (number, city)
        for sk, number, city in rows_of(lake.table("gold.dim_customer"), "customer_sk", "customer_id", "city")
    }
    facts = rows_of(
        lake.table("gold.fact_sales"), "order_id", "customer_sk", "date_sk", "status", "amount", "amount_usd"
    )
    assert [(number, cities[sk], *rest) for number, sk, *rest in facts] == [
        (1, (1, "Bonn"), 20260201, "paid", Decimal("10.00"), Decimal("11.50")),
        (3, (3, "Jena"), 20260202, "placed", Decimal("33.00"), Decimal("39.60")),
        (5, (3, "Jena"), 20260203, "placed", Decimal("40.00"), None),
    ]
    done = rows_of(lake.table("gold.fact_behavior"), "event_id", "customer_sk", "date_sk")
    assert [(number, cities.get(sk, sk), day) for number, sk, day in done] == [
        ("e1", (1, "Bonn"), 20260201),
        ("e2", (2, "Kiel"), 20260201),
        ("e3", "-1", 20260201),
        ("e4", (1, "Bonn"), 20260120),
        ("e5", (3, "Jena"), 20260202),
    ]

    # Every log line is JSON; a run that drains finds nothing left to do, and changes nothing.
    events = service.events()
    assert {"time", "level", "event"} <= set.intersection(*(set(event) for event in events))
    printed = json.loads(service.command("status", "--json").stdout)
    before = {name: one["version"] for name, one in service.status().items()}
    assert {one["table"]: one["version"] for one in printed} == before
    assert service.run_to_end("--once") == 0
    assert {name: one["version"] for name, one in service.status().items()} == before
