"""Gold is what a plain model makes of the events: whatever their order, their copies, their batches, and the kills."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from schemas.loader import load
from schemas.settings import Settings
from sinks import engine
from streams.graph import Graph
from streams.refresh import RefreshStep
from streams.verify.run import Asked, verify_tables
from tests.support import star_model as model
from tests.support.bronze import Feeder, change
from tests.support.star_model import CustomerEvent, Event, OrderEvent, RateEvent
from tests.support.tables import rows_of

START = datetime(2026, 3, 1, tzinfo=UTC)
CONTRACTS: dict[str, dict[str, Any]] = {
    "customers": {"id": {"type": "integer"}, "tier": {"type": "string"}, "at": {"type": "string"}},
    "orders": {
        "id": {"type": "integer"},
        "customer": {"type": ["integer", "null"]},
        "at": {"type": "string"},
        "currency": {"type": "string"},
        "amount": {"type": "string"},
    },
    "rates": {
        "currency": {"type": "string"},
        "day": {"type": "string"},
        "rate": {"type": "string"},
        "version": {"type": "integer"},
    },
}
SPECS = {
    "bronze.customers": """
source: {topic: customers, format: debezium-json, source_system: s}
contract: customers
keys: [id]
""",
    "bronze.orders": """
source: {topic: orders, format: debezium-json, source_system: s}
contract: orders
keys: [id]
""",
    "bronze.rates": """
source: {topic: rates, format: json}
contract: rates
keys: [currency, day]
""",
    "silver.customers_history": """
from: bronze.customers
keys: [id]
sequence_by: [_source_position]
stored_as: history
select: {id: after.id, tier: after.tier, at: try_to_timestamp(after.at)}
""",
    "silver.orders": """
from: bronze.orders
keys: [id]
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
stored_as_scd_type: 1
select:
  id: after.id
  customer: after.customer
  at: try_to_timestamp(after.at)
  day: to_date(try_to_timestamp(after.at))
  currency: after.currency
  amount: try_cast(after.amount AS DECIMAL(18, 2))
""",
    "silver.rates": """
from: bronze.rates
keys: [currency, day]
sequence_by: [version]
stored_as_scd_type: 1
select: {currency: currency, day: try_cast(day AS DATE), rate: "try_cast(rate AS DECIMAL(18, 8))", version: version}
""",
    "gold.customers": """
from: silver.customers_history
keys: [id]
stored_as_scd_type: 2
surrogate_key: customer_sk
valid_from: at
track_history_except_column_list: [at]
""",
    "gold.sales": """
grain: [id]
query: |
  SELECT o.id, o.customer, o.currency, o.day,
    coalesce(c.customer_sk, '-1') AS customer_sk, coalesce(c.tier, '-1') AS tier,
    CAST(CASE WHEN o.currency = 'USD' THEN o.amount ELSE round(o.amount * r.rate, 2) END AS DECIMAL(18, 2)) AS usd
  FROM silver.orders o
  LEFT JOIN gold.customers c ON o.customer = c.id AND o.at >= c.valid_from
    AND o.at < coalesce(c.valid_to, TIMESTAMP '9999-12-31 23:59:59.999999')
  LEFT JOIN silver.rates r ON o.currency = r.currency AND o.day = r.day
affected_by:
  silver.orders: id
  gold.customers: {id: customer}
  silver.rates: [currency, day]
""",
    "gold.tiers": """
grain: [tier]
query: SELECT tier, count(*) AS sales, sum(usd) AS usd FROM gold.sales GROUP BY tier
affected_by: {gold.sales: tier}
""",
}
TABLES = ["silver.orders", "silver.customers_history", "silver.rates", "gold.customers", "gold.sales", "gold.tiers"]


class Killed(BaseException):
    """The process is gone, between two effects."""


def write(folder: Path) -> Path:
    (folder / "contracts").mkdir(parents=True)
    (folder / "tables").mkdir()
    for name, properties in CONTRACTS.items():
        required = [name for name in properties if name != "customer"]
        contract = {"type": "object", "required": required, "properties": properties}
        (folder / "contracts" / f"{name}.schema.json").write_text(json.dumps(contract))
    for name, text in SPECS.items():
        (folder / "tables" / f"{name}.yml").write_text(f"table: {name}\n{text.strip()}\n")
    return folder


def generated(random: Random) -> list[Event]:
    """A history with late dimensions, corrections, moves from one customer to another, deletions and late rates."""
    hours = lambda most: START + timedelta(hours=random.randrange(most))  # noqa: E731
    events: list[Event] = []
    lsn = 0
    for customer in range(1, 5):
        at = START
        for _ in range(random.randrange(4)):
            lsn, at = lsn + 1, at + timedelta(hours=random.randrange(1, 30))
            events.append(CustomerEvent(lsn, customer, at, random.choice(["gold", "basic", "new"])))
    for order in range(1, 13):
        amount = Decimal(random.randrange(1, 100_000)) / 100
        first = OrderEvent(lsn, order, random.choice([1, 2, 3, 4, 9, None]), hours(96), "", amount)
        for _ in range(random.randrange(1, 4)):
            lsn += 1
            first = replace(first, lsn=lsn, currency=random.choice(["USD", "EUR", "NOK"]))
            if random.random() < 0.3:
                first = replace(first, customer=random.choice([1, 2, 3, 4]))
            events.append(replace(first, is_gone=random.random() < 0.15))
    for version in range(1, 10):
        rate = Decimal(random.randrange(1, 10**9)) / 10**8
        events.append(RateEvent(version, random.choice(["EUR", "NOK"]), hours(96).date(), rate))
    return events


def record(event: Event) -> tuple[str, dict[str, Any]]:
    match event:
        case CustomerEvent():
            row = {"id": event.customer, "tier": event.tier, "at": event.at.isoformat()}
            return "bronze.customers", change("u", row, event.lsn)
        case OrderEvent():
            row = {"id": event.order, "customer": event.customer, "at": event.at.isoformat()}
            row |= {"currency": event.currency, "amount": str(event.amount)}
            if event.is_gone:
                return "bronze.orders", change("d", None, event.lsn, before=row)
            return "bronze.orders", change("u", row, event.lsn)
        case RateEvent():
            row = {"currency": event.currency, "day": event.day.isoformat(), "rate": str(event.rate)}
            return "bronze.rates", row | {"version": event.version}


def killing(random: Random, share: float, commit: Callable[..., int]) -> Callable[..., int]:
    """A commit that now and then is the last thing before the end, or that does not come any more."""

    def may_be_killed(*args: Any, **named: Any) -> int:
        chance = random.random()
        if chance < share / 2:
            raise Killed
        version = commit(*args, **named)
        if chance < share:
            raise Killed
        return version

    return may_be_killed


class Star:
    """The pipeline over one lake; a killed service is followed by another one."""

    def __init__(self, folder: Path, settings: Settings, spark: SparkSession, *, in_driver: bool) -> None:
        self.folder, self.spark, self.in_driver = write(folder / "pipeline"), spark, in_driver
        self.settings = settings.model_copy(update={"lake": str(folder / "lake"), "pipeline": self.folder})
        self.kills = 0
        self.next_batch: dict[str, int] = {}
        self.next_offset: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        self.graph = Graph.build(load(self.folder), self.settings)
        self.graph.prepare(self.spark)
        for name, step in self.graph.below.items():
            if isinstance(step, RefreshStep):
                self.graph.below[name] = replace(step, in_driver=self.in_driver)
        self.feeder = Feeder(self.spark, self.graph, self.next_offset, self.next_batch)

    def until_done(self, act: Callable[[], object]) -> None:
        while True:
            try:
                act()
            except Killed:
                self.kills += 1
                self.start()
            else:
                return

    def feed(self, table: str, records: list[dict[str, Any]], *, drives: bool) -> None:
        outcome = None

        def once() -> None:
            nonlocal outcome
            outcome = self.feeder.feed(table, *records)

        self.until_done(once)
        if drives:
            kills = self.kills
            self.until_done(lambda: self.feeder.drive(outcome if self.kills == kills else None))
        elif outcome is not None and outcome.handover is not None:
            outcome.handover.rows.release()

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        return sorted(rows_of(self.graph.tables[table].path, *columns))

    def verified(self) -> dict[str, object]:
        found = verify_tables(self.graph, self.settings, self.spark, TABLES, Asked())
        return {one.table: one.problem or one.found for one in found}


@pytest.mark.parametrize(("seed", "in_driver"), [(1, True), (2, True), (3, True), (4, False)])
def test_gold_is_what_the_model_says(
    seed: int,
    in_driver: bool,
    tmp_path: Path,
    settings: Settings,
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = Random(seed)
    events = generated(random)
    star = Star(tmp_path, settings, spark, in_driver=in_driver)
    sent = [*events, *random.sample(events, 8)]
    random.shuffle(sent)
    for name in ("merge", "append"):
        monkeypatch.setattr(engine, name, killing(random, 0.15, getattr(engine, name)))
    while sent:
        batch = [record(sent.pop()) for _ in range(min(len(sent), random.randrange(4, 14)))]
        for table in dict.fromkeys(name for name, _ in batch):
            records = [value for name, value in batch if name == table]
            star.feed(table, records, drives=random.random() < 0.7)
    star.until_done(star.feeder.drive)
    star.until_done(lambda: star.feeder.drive())
    monkeypatch.undo()

    assert star.kills
    facts = model.facts(events)
    assert star.rows("gold.sales", "id", "customer", "tier", "usd") == facts
    assert star.rows("gold.tiers", "tier", "sales", "usd") == model.sales_by_tier(facts)
    versions = [(customer, tier) for customer, held in model.versions(events).items() for _, tier in held]
    assert star.rows("gold.customers", "id", "tier") == sorted(versions)
    assert star.verified() == {table: {} for table in TABLES}

    if seed == 1:
        # One value of one fact is changed behind Sluice's back.
        path = star.graph.tables["gold.sales"].path
        wrong = pa.table({"id": pa.array([facts[0][0]], pa.int64()), "tier": ["platinum"]})
        DeltaTable(path).merge(wrong, "t.id = s.id", "s", "t").when_matched_update({"tier": "s.tier"}).execute()
        assert star.verified() == {table: {"different": 1} if table == "gold.sales" else {} for table in TABLES}
