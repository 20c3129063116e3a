"""The shop's customer_activity: what each customer ordered and did per day, whatever comes late, moves or goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from deploy.embedded.behavior import SCHEMA, BehaviorEvent
from deploy.embedded.registry import EmbeddedRegistry
from schemas.loader import load
from schemas.settings import PiiSettings, RegistrySettings, Settings
from sinks.table import Feed
from streams.affected import KeySet
from streams.graph import Graph
from streams.refresh import RefreshStep
from tests.support.bronze import Feeder, change
from tests.support.shop import SCHEMA_ID, encoded
from tests.support.tables import rows_of

ACTIVITY = "silver.customer_activity"
UPSTREAMS = ("customers", "orders", "behavior")
FIRST, SECOND, EARLIER = date(2026, 2, 1), date(2026, 2, 2), date(2026, 1, 20)


def at(day: date, hour: int, microsecond: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, 0, 0, microsecond, tzinfo=UTC)


def event(number: int, customer: int | None, kind: str, when: datetime, session: str = "s") -> bytes:
    return encoded(BehaviorEvent(f"e{number}", kind, when, session, customer_id=customer, country=" de "))


def order(number: int, customer: int, quantity: int, day: date) -> dict[str, Any]:
    return {
        "order_id": number,
        "customer_id": customer,
        "product_id": 1,
        "quantity": quantity,
        "amount": "9.99",
        "currency": "EUR",
        "status": "placed",
        "order_ts": f"{day}T12:00:00Z",
        "updated_at": None,
    }


def customer(number: int, country: str, tier: str | None) -> dict[str, Any]:
    row = {"customer_id": number, "email": f"c{number}@example.com", "country": country, "tier": tier}
    return row | {"full_name": None, "address": None, "city": None, "updated_at": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop without what customer_activity does not stand on."""
    shop, folder = Settings().pipeline, tmp_path_factory.mktemp("shop")
    for name in ("contracts", "tables"):
        (folder / name).mkdir()
    for name in UPSTREAMS:
        shutil.copy(shop / "contracts" / f"{name}.schema.json", folder / "contracts")
    for table in (*(f"{layer}.{name}" for layer in ("bronze", "silver") for name in UPSTREAMS), ACTIVITY):
        shutil.copy(shop / "tables" / f"{table}.yml", folder / "tables")
    return folder


@pytest.fixture
def graph(shop_folder: Path, settings: Settings, spark: SparkSession) -> Iterator[Graph]:
    with EmbeddedRegistry() as registry:
        assert registry.register("behavior-value", json.dumps(SCHEMA)) == SCHEMA_ID
        more = {"registry": RegistrySettings(url=registry.url), "pii": PiiSettings(key=SecretStr("k" * 32))}
        built = Graph.build(load(shop_folder), settings.model_copy(update=more))
        built.prepare(spark)
        yield built


def activity(graph: Graph) -> list[tuple[Any, ...]]:
    return rows_of(graph.tables[ACTIVITY].path)


@pytest.mark.parametrize("pushdown_keys", [1000, 0], ids=["constants", "semi-joins"])
def test_days_follow_late_moved_and_deleted_rows_on_either_side(
    pushdown_keys: int, feeder: Feeder, graph: Graph
) -> None:
    object.__setattr__(graph.below[ACTIVITY], "pushdown_keys", pushdown_keys)
    morning, noon = at(FIRST, 8, 123456), at(FIRST, 12)

    # Events before their customer; nobody's event makes no day.
    view, cart = event(1, 1, " VIEW ", morning), event(2, 1, "cart", noon, "t")
    feeder.feed_and_drive("bronze.behavior", view, cart, event(3, None, "view", noon))
    of_events = (2, 1, 1, 0, 2, morning, noon)
    assert activity(graph) == [(1, FIRST, None, None, 0, 0, *of_events)]

    feeder.feed_and_drive("bronze.customers", change("c", customer(1, "de", "gold"), 1))
    assert activity(graph) == [(1, FIRST, "DE", "gold", 0, 0, *of_events)]

    # Orders join the day of the events, and make one of their own.
    no_events = (0, 0, 0, 0, 0, None, None)
    feeder.feed_and_drive(
        "bronze.orders", change("c", order(1, 1, 2, FIRST), 10), change("c", order(2, 1, 1, SECOND), 11)
    )
    assert activity(graph) == [
        (1, FIRST, "DE", "gold", 1, 2, *of_events),
        (1, SECOND, "DE", "gold", 1, 1, *no_events),
    ]

    # An order that moves touches the day of both customers; a deleted one takes its day along.
    feeder.feed_and_drive("bronze.orders", change("u", order(1, 2, 2, FIRST), 12))
    feeder.feed_and_drive("bronze.orders", change("d", None, 14, before={"order_id": 2}))
    moved = [(1, FIRST, "DE", "gold", 0, 0, *of_events), (2, FIRST, None, None, 1, 2, *no_events)]
    assert activity(graph) == moved

    # What is older than the deletion does not bring the order back; what was sent again counts once.
    feeder.feed_and_drive("bronze.orders", change("u", order(2, 1, 5, SECOND), 13))
    feeder.feed_and_drive("bronze.behavior", view)
    assert activity(graph) == moved

    # A late event makes its day; a corrected one leaves the day that it was on.
    late = at(EARLIER, 23)
    feeder.feed_and_drive("bronze.behavior", event(4, 1, "checkout", late), event(2, 2, "cart", noon, "t"))
    feeder.feed_and_drive("bronze.customers", change("d", None, 15, before={"customer_id": 1}))
    assert activity(graph) == [
        (1, EARLIER, None, None, 0, 0, 1, 0, 0, 1, 1, late, late),
        (1, FIRST, None, None, 0, 0, 1, 1, 0, 0, 1, morning, morning),
        (2, FIRST, None, None, 1, 2, 1, 0, 1, 0, 1, noon, noon),
    ]


def test_the_order_in_which_the_topics_come_makes_no_difference(feeder: Feeder, graph: Graph) -> None:
    # A customer of its own for each order of the topics, so that one lake shows them all.
    for number, topics in enumerate(permutations(UPSTREAMS), start=1):
        records = {
            "customers": change("c", customer(number, "FR", None), number),
            "orders": change("c", order(number, number, 3, FIRST), number),
            "behavior": event(number, number, "view", at(FIRST, 9)),
        }
        for topic in topics:
            feeder.feed_and_drive(f"bronze.{topic}", records[topic])
    day = (FIRST, "FR", "bronze", 1, 3, 1, 1, 0, 0, 1, at(FIRST, 9), at(FIRST, 9))
    assert activity(graph) == [(number, *day) for number in range(1, 7)]


def test_the_keys_of_a_change_reach_the_files_of_both_sides(graph: Graph, feeder: Feeder, spark: SparkSession) -> None:
    feeder.feed("bronze.orders", change("c", order(1, 1, 2, FIRST), 10))
    feeder.feed("bronze.behavior", event(1, 1, "view", at(FIRST, 9)))
    feeder.drive()
    step = graph.below[ACTIVITY]
    assert isinstance(step, RefreshStep)
    changed = pa.table({"customer_id": [1], "order_date": [FIRST]})
    keys = KeySet.of(Feed(spark, changed), step.recipe.mapping("silver.orders"), 1000)

    frames = {one.name: one.read(spark, one.version()) for one in step.upstreams}
    plan = step.recipe.rows(spark, frames, [keys])._jdf.queryExecution().executedPlan().toString()  # type: ignore[operator]

    scans = [line for line in plan.splitlines() if "FileScan" in line]
    days = [line for line in scans if "order_date" in line or "event_date" in line]
    assert len(days) == 2, plan
    for line in days:
        assert "PartitionFilters: []" not in line, line
        assert "customer_id" in line.partition("PushedFilters: ")[2], line
