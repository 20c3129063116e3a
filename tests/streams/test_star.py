"""The shop's star: each fact has the members valid at its time, whatever of them comes late, moves or goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from checkpoints import ledger
from deploy.embedded.behavior import SCHEMA, BehaviorEvent
from deploy.embedded.registry import EmbeddedRegistry
from schemas.loader import load
from schemas.settings import PiiSettings, RegistrySettings, Settings
from streams.graph import Graph
from tests.support.bronze import Feeder, change
from tests.support.shop import SCHEMA_ID, encoded
from tests.support.tables import rows_of

SALES, BEHAVIOR = "gold.fact_sales", "gold.fact_behavior"
NOT_BELOW_THE_STAR = ("silver.customer_activity.yml", "silver.customers.yml")
NEW_YEAR = datetime(2027, 1, 1, 12, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop without what its star does not stand on."""
    shop, folder = Settings().pipeline, tmp_path_factory.mktemp("star")
    shutil.copy(shop / "variables.yml", folder)
    for name in ("contracts", "tables"):
        shutil.copytree(shop / name, folder / name, ignore=shutil.ignore_patterns(*NOT_BELOW_THE_STAR))
    return folder


@pytest.fixture
def graph(shop_folder: Path, settings: Settings, spark: SparkSession) -> Iterator[Graph]:
    with EmbeddedRegistry() as registry:
        assert registry.register("behavior-value", json.dumps(SCHEMA)) == SCHEMA_ID
        more = {"registry": RegistrySettings(url=registry.url), "pii": PiiSettings(key=SecretStr("k" * 32))}
        built = Graph.build(load(shop_folder), settings.model_copy(update=more))
        built.prepare(spark)
        yield built


def event(number: int, customer: int | None, when: datetime) -> bytes:
    return encoded(BehaviorEvent(f"e{number}", "view", when, "s", customer_id=customer, product_id=1, country="DE"))


def order(number: int, customer: int, when: datetime) -> dict[str, Any]:
    row = {"order_id": number, "customer_id": customer, "product_id": 1, "quantity": 1, "amount": "10.00"}
    return row | {"currency": "EUR", "status": "placed", "order_ts": when.isoformat(), "updated_at": None}


def customer(number: int, city: str) -> dict[str, Any]:
    row = {"customer_id": number, "email": f"c{number}@example.com", "country": "DE", "tier": None, "city": city}
    return row | {"full_name": None, "address": None, "updated_at": "2026-01-01T00:00:00Z"}


PRODUCT = {"product_id": 1, "sku": "p1", "name": "One", "category": None, "price": "10.00", "currency": "EUR"}


def rate(day: date, usd: str) -> dict[str, str]:
    return {"currency": "EUR", "rate_date": str(day), "usd_rate": usd}


def millis(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def cities(graph: Graph, fact: str, key: str) -> list[tuple[Any, ...]]:
    """Each fact with the city of the version that it points to; -1 where it points to none."""
    versions = dict(rows_of(graph.tables["gold.dim_customer"].path, "customer_sk", "city"))
    versions["-1"] = "-1"
    return [(number, versions[sk]) for number, sk in rows_of(graph.tables[fact].path, key, "customer_sk")]


def written(graph: Graph, fact: str) -> dict[str, int]:
    """How many rows the newest commit of a table wrote."""
    return dict(next(ledger.entries(graph.tables[fact].handle()))[1].rows)


def test_unknown_members_are_minus_one_until_their_rows_arrive(feeder: Feeder, graph: Graph) -> None:
    feeder.feed_and_drive("bronze.orders", change("c", order(1, 1, MARCH), 1))
    feeder.feed_and_drive("bronze.behavior", event(1, 1, NEW_YEAR), event(2, None, MARCH))
    products = dict(rows_of(graph.tables[BEHAVIOR].path, "event_id", "product_sk"))
    assert products == {"e1": "-1", "e2": "-1"}
    assert cities(graph, SALES, "order_id") == [(1, "-1")]
    assert rows_of(graph.tables[BEHAVIOR].path, "event_id", "customer_id", "product_id", "date_sk") == [
        ("e1", 1, 1, 20270101),
        ("e2", None, 1, 20260301),
    ]

    feeder.feed_and_drive("bronze.products", change("c", PRODUCT, 2))
    feeder.feed_and_drive("bronze.customers", change("c", customer(1, "Ulm"), 3))

    [product] = rows_of(graph.tables["gold.dim_product"].path, "product_sk")
    for fact in (SALES, BEHAVIOR):
        assert set(rows_of(graph.tables[fact].path, "product_sk")) == {product}
    assert cities(graph, SALES, "order_id") == [(1, "Ulm")]
    assert cities(graph, BEHAVIOR, "event_id") == [("e1", "Ulm"), ("e2", "-1")]


def test_a_late_version_re_keys_only_the_facts_that_it_touches(feeder: Feeder, graph: Graph) -> None:
    feeder.feed(
        "bronze.customers", change("c", customer(1, "Ulm"), 1, ts_ms=0), change("c", customer(2, "Bonn"), 2, ts_ms=0)
    )
    feeder.feed("bronze.orders", *(change("c", order(n, n % 2 + 1, MARCH), 10 + n) for n in (1, 2)))
    feeder.feed("bronze.behavior", event(1, 1, MARCH), event(2, 1, NEW_YEAR), event(3, 2, NEW_YEAR))
    feeder.drive()

    moved = millis(datetime(2026, 6, 1, tzinfo=UTC))
    feeder.feed_and_drive("bronze.customers", change("u", customer(1, "Kiel"), 5, ts_ms=moved))

    assert cities(graph, BEHAVIOR, "event_id") == [("e1", "Ulm"), ("e2", "Kiel"), ("e3", "Bonn")]
    assert written(graph, BEHAVIOR) == {"upserts": 1}
    assert cities(graph, SALES, "order_id") == [(1, "Bonn"), (2, "Ulm")]
    assert written(graph, SALES) == {}


def test_sales_follow_late_rates_and_orders_that_move_or_go(feeder: Feeder, graph: Graph) -> None:
    feeder.feed(
        "bronze.customers", change("c", customer(1, "Ulm"), 1, ts_ms=0), change("c", customer(2, "Bonn"), 2, ts_ms=0)
    )
    feeder.feed("bronze.orders", change("c", order(1, 1, MARCH), 3), change("c", order(2, 1, NEW_YEAR), 4))
    feeder.drive()
    assert rows_of(graph.tables[SALES].path, "order_id", "amount_usd") == [(1, None), (2, None)]

    feeder.feed_and_drive("bronze.fx_rates", rate(MARCH.date(), "1.1"))
    assert rows_of(graph.tables[SALES].path, "order_id", "amount_usd") == [(1, Decimal("11.00")), (2, None)]
    feeder.feed_and_drive("bronze.fx_rates", rate(MARCH.date(), "1.2"))
    assert rows_of(graph.tables[SALES].path, "order_id", "amount_usd") == [(1, Decimal("12.00")), (2, None)]
    assert written(graph, SALES) == {"upserts": 1}

    feeder.feed_and_drive("bronze.orders", change("u", order(1, 2, MARCH), 5))
    assert cities(graph, SALES, "order_id") == [(1, "Bonn"), (2, "Ulm")]
    feeder.feed_and_drive("bronze.orders", change("d", None, 6, before={"order_id": 2}))
    assert cities(graph, SALES, "order_id") == [(1, "Bonn")]


def test_the_calendar_has_the_days_of_orders_and_of_behaviour(feeder: Feeder, graph: Graph) -> None:
    feeder.feed("bronze.orders", change("c", order(1, 1, MARCH), 1))
    feeder.feed("bronze.behavior", event(1, 1, NEW_YEAR), event(2, 1, MARCH))
    feeder.drive()
    names = ("calendar_date", "quarter", "month_name", "day_name", "iso_weekday", "iso_week", "iso_year")
    assert rows_of(graph.tables["gold.dim_date"].path, *names) == [
        (date(2026, 3, 1), 1, "March", "Sunday", 7, 9, 2026),
        (date(2027, 1, 1), 1, "January", "Friday", 5, 53, 2026),
    ]

    # A day is kept as long as anything is on it.
    feeder.feed_and_drive("bronze.orders", change("d", None, 2, before={"order_id": 1}))
    assert rows_of(graph.tables["gold.dim_date"].path, "date_sk") == [(20260301,), (20270101,)]
