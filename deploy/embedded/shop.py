"""The shop: its tables and seed rows in PostgreSQL, and its exchange rates on Kafka.

Rows follow from their number alone, so that two runs with the same counts seed the same shop.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import psycopg
from confluent_kafka import Producer
from psycopg import sql

TABLES = ("public.customers", "public.products", "public.orders")
FX_RATES_TOPIC = "fx_rates"
CURRENCIES = {"EUR": Decimal("1.0834"), "GBP": Decimal("1.2671"), "CHF": Decimal("1.1302"), "USD": Decimal(1)}
COUNTRIES = {"DE": "EUR", "FR": "EUR", "IT": "EUR", "GB": "GBP", "CH": "CHF", "US": "USD"}
CITIES = {"DE": "Berlin", "FR": "Lyon", "IT": "Torino", "GB": "Leeds", "CH": "Zürich", "US": "Boston"}
TIERS = ("bronze", "silver", "gold")
STATUSES = ("placed", "paid", "shipped", "delivered")
CATEGORIES = ("books", "garden", "kitchen", "music", "toys")
OPENED = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_DAY = OPENED.date()
_FLUSH_SECONDS = 30.0

# No foreign keys: a customer can go while the orders stay, as in sources that are cleaned up for privacy.
_DDL = (
    """
    CREATE TABLE IF NOT EXISTS customers (
        customer_id bigint PRIMARY KEY,
        email       text NOT NULL,
        full_name   text NOT NULL,
        address     text,
        city        text,
        country     char(2) NOT NULL,
        tier        text NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT now(),
        updated_at  timestamptz NOT NULL DEFAULT now()
    )""",
    """
    CREATE TABLE IF NOT EXISTS products (
        product_id bigint PRIMARY KEY,
        sku        text NOT NULL,
        name       text NOT NULL,
        category   text NOT NULL,
        price      numeric(12, 2) NOT NULL,
        currency   char(3) NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )""",
    """
    CREATE TABLE IF NOT EXISTS orders (
        order_id    bigint PRIMARY KEY,
        customer_id bigint NOT NULL,
        product_id  bigint NOT NULL,
        quantity    int NOT NULL,
        amount      numeric(18, 2) NOT NULL,
        currency    char(3) NOT NULL,
        status      text NOT NULL,
        order_ts    timestamptz NOT NULL,
        updated_at  timestamptz NOT NULL DEFAULT now()
    )""",
)

Row = tuple[Any, ...]


def create_tables(dsn: str) -> None:
    """Create the shop's tables where they do not exist."""
    with psycopg.connect(dsn) as connection:
        for statement in _DDL:
            connection.execute(statement)


def seed(dsn: str, *, customers: int = 200, products: int = 50, orders: int = 500) -> None:
    """Insert the first so many rows of each table, numbered from 1; rows that exist are left as they are.

    All in one transaction. Orders need at least one customer and one product to refer to.
    """
    if orders and not (customers and products):
        raise ValueError(f"{orders} orders need customers and products to refer to; give at least one of each.")
    with psycopg.connect(dsn) as connection:
        _insert(connection, "customers", (customer(number) for number in range(1, customers + 1)))
        _insert(connection, "products", (product(number) for number in range(1, products + 1)))
        _insert(connection, "orders", (order(n, customers, products) for n in range(1, orders + 1)))


def seed_fx_rates(bootstrap: str, *, first: date = FIRST_DAY, days: int = 365) -> int:
    """Write one rate per currency and day to `fx_rates`, US dollars for one unit; the number of records.

    Key `{"currency", "rate_date"}`, value with `usd_rate` as a string, both JSON. The topic must exist.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 3})
    records = 0
    for key, rate in fx_rates(first, days):
        producer.produce(FX_RATES_TOPIC, key=json.dumps(key), value=json.dumps(key | {"usd_rate": rate}))
        producer.poll(0)
        records += 1
    left = producer.flush(_FLUSH_SECONDS)
    if left:
        raise TimeoutError(f"{left} of {records} records did not reach topic {FX_RATES_TOPIC} at {bootstrap}.")
    return records


def customer(number: int) -> Row:
    """Row of `customers` with this id."""
    draw = Random(f"customer {number}")  # noqa: S311
    country = draw.choice(list(COUNTRIES))
    created = OPENED + timedelta(minutes=number)
    address, name = f"{draw.randint(1, 200)} Mill Lane", f"Customer {number}"
    tier = draw.choice(TIERS)
    email = f"customer{number}@example.com"
    return (number, email, name, address, CITIES[country], country, tier, created, created)


def product(number: int) -> Row:
    """Row of `products` with this id."""
    draw = Random(f"product {number}")  # noqa: S311
    category, price = draw.choice(CATEGORIES), Decimal(draw.randint(199, 49_999)) / 100
    currency = draw.choice(list(CURRENCIES))
    return (number, f"SKU-{number:05}", f"{category} {number}", category, price, currency, OPENED)


def order(number: int, customers: int, products: int) -> Row:
    """Row of `orders` with this id, of one of so many customers and products."""
    draw = Random(f"order {number}")  # noqa: S311
    bought = product(draw.randint(1, products))
    quantity, placed = draw.randint(1, 5), OPENED + timedelta(days=1, seconds=40 * number)
    price, currency = bought[4], bought[5]
    buyer, status = draw.randint(1, customers), draw.choice(STATUSES)
    return (number, buyer, bought[0], quantity, price * quantity, currency, status, placed, placed)


def fx_rates(first: date, days: int) -> Iterator[tuple[dict[str, str], str]]:
    """The key and the rate, in US dollars for one unit, of each currency on each of the days."""
    for day in range(days):
        rate_date = first + timedelta(days=day)
        for currency, base in CURRENCIES.items():
            drift = Decimal(Random(f"{currency} {rate_date}").randint(-150, 150)) / 10_000  # noqa: S311
            rate = base if currency == "USD" else base + drift
            yield {"currency": currency, "rate_date": rate_date.isoformat()}, f"{rate:.4f}"


def _insert(connection: psycopg.Connection[Any], table: str, rows: Iterator[Row]) -> None:
    target, staged = sql.Identifier(table), sql.Identifier(f"seed_{table}")
    connection.execute(sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(staged, target))
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(staged)) as copy:
        for row in rows:
            copy.write_row(row)
    insert = sql.SQL("INSERT INTO {} SELECT * FROM {} ON CONFLICT DO NOTHING")
    connection.execute(insert.format(target, staged))
