"""The shop's seed is the same every time, and repeating it is harmless."""

from __future__ import annotations

import json
from datetime import date

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.embedded import shop
from deploy.embedded.stack import EmbeddedStack


def test_a_row_follows_from_its_number() -> None:
    assert shop.customer(7) == shop.customer(7)
    assert shop.customer(7) != shop.customer(8)
    assert shop.order(1, 10, 10)[4] == shop.product(shop.order(1, 10, 10)[2])[4] * shop.order(1, 10, 10)[3]


def test_a_rate_per_currency_and_day() -> None:
    rates = list(shop.fx_rates(date(2026, 2, 28), 2))
    assert [key["rate_date"] for key, _ in rates] == ["2026-02-28"] * 4 + ["2026-03-01"] * 4
    assert {rate for key, rate in rates if key["currency"] == "USD"} == {"1.0000"}


def test_orders_without_customers_are_refused() -> None:
    with pytest.raises(ValueError, match="need customers and products to refer to"):
        shop.seed("", customers=0, orders=1)


@pytest.mark.stack
def test_seeding_twice_gives_the_same_rows(stack: EmbeddedStack) -> None:
    dsn = stack.postgres.dsn
    shop.create_tables(dsn)
    shop.create_tables(dsn)
    shop.seed(dsn, customers=3, products=2, orders=4)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE customers SET city = 'moved' WHERE customer_id = 1")
    shop.seed(dsn, customers=4, products=2, orders=4)
    with psycopg.connect(dsn) as connection:
        cities = connection.execute("SELECT city FROM customers ORDER BY customer_id").fetchall()
        orders = connection.execute("SELECT * FROM orders ORDER BY order_id").fetchall()
    assert cities == [("moved",), *((shop.customer(number)[4],) for number in (2, 3, 4))]
    assert orders == [shop.order(number, 3, 2) for number in (1, 2, 3, 4)]


@pytest.mark.stack
def test_rates_are_json_with_the_key_in_both(stack: EmbeddedStack) -> None:
    stack.create_topics({shop.FX_RATES_TOPIC: 1})
    assert shop.seed_fx_rates(stack.kafka.bootstrap, first=date(2026, 1, 31), days=2) == 8
    consumer = Consumer({"bootstrap.servers": stack.kafka.bootstrap, "group.id": "test_shop"})
    consumer.assign([TopicPartition(shop.FX_RATES_TOPIC, 0, 0)])
    messages = consumer.consume(8, 30)
    consumer.close()
    decoded = [(json.loads(m.key() or b""), json.loads(m.value() or b"")) for m in messages]
    assert decoded == [(k, k | {"usd_rate": rate}) for k, rate in shop.fx_rates(date(2026, 1, 31), 2)]
