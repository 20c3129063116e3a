"""What is recorded by which event, and that the metrics and their page say the same."""

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from streams.metrics import Metrics

PAGE = Path(__file__).parents[2] / "runbooks" / "metrics.md"
LABELS = {"query", "layer", "table", "upstream", "topic", "partition", "reason", "severity", "outcome", "version"}
LABELS |= {"source", "slot"}
SUFFIX = {"counter": "_total", "info": "_info"}
KIND = {"info": "gauge"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.create("1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_committed_batch(metrics: Metrics) -> None:
    for _ in range(2):
        metrics.batch_committed(
            "orders",
            "bronze",
            "bronze.orders",
            seconds=0.7,
            accepted=8,
            rejected=2,
            dropped=1,
            written=8,
            reasons={"type": 2, "required": 1},
        )
    table = {"query": "orders", "layer": "bronze", "table": "bronze.orders"}
    rows = {
        outcome: value(metrics, "sluice_rows_total", **table, outcome=outcome)
        for outcome in ("accepted", "rejected", "dropped", "written")
    }
    assert rows == {"accepted": 16, "rejected": 4, "dropped": 2, "written": 16}
    assert value(metrics, "sluice_rejects_total", query="orders", table="bronze.orders", reason="type") == 4
    assert value(metrics, "sluice_batches_total", **table, outcome="committed") == 2
    assert value(metrics, "sluice_batch_seconds_count", layer="bronze", table="bronze.orders") == 2
    assert value(metrics, "sluice_batch_seconds_bucket", layer="bronze", table="bronze.orders", le="0.5") == 0
    assert value(metrics, "sluice_batch_seconds_bucket", layer="bronze", table="bronze.orders", le="1.0") == 2
    committed = value(metrics, "sluice_last_commit_timestamp_seconds", layer="bronze", table="bronze.orders")
    assert committed is not None
    assert committed > 1_700_000_000


def test_a_batch_in_hand(metrics: Metrics) -> None:
    for seconds in (610.5, 0.0):
        metrics.in_hand("silver.orders", seconds)
        assert value(metrics, "sluice_in_hand_seconds", table="silver.orders") == seconds


def test_skipped_and_failed_batches_are_not_commits(metrics: Metrics) -> None:
    metrics.batch_skipped("orders", "silver", "silver.orders")
    metrics.batch_failed("orders", "silver", "silver.orders")
    table = {"query": "orders", "layer": "silver", "table": "silver.orders"}
    assert value(metrics, "sluice_batches_total", **table, outcome="skipped") == 1
    assert value(metrics, "sluice_batches_total", **table, outcome="failed") == 1
    assert value(metrics, "sluice_batches_total", **table, outcome="committed") is None
    assert value(metrics, "sluice_last_commit_timestamp_seconds", layer="silver", table="silver.orders") is None


def test_states_and_lags_are_the_last_ones_seen(metrics: Metrics) -> None:
    metrics.query_state("orders", up=True)
    assert value(metrics, "sluice_restarts_total", query="orders") == 0
    metrics.query_state("orders", up=False)
    metrics.query_restarted("orders")
    metrics.table_state("gold.fact_sales", up=False)
    metrics.lag("orders", "shop.public.orders", 3, 120)
    metrics.lag("orders", "shop.public.orders", 3, -1)
    metrics.upstream_lag("gold.fact_sales", "silver.orders", 4)
    assert value(metrics, "sluice_query_up", query="orders") == 0
    assert value(metrics, "sluice_restarts_total", query="orders") == 1
    assert value(metrics, "sluice_table_up", table="gold.fact_sales") == 0
    assert value(metrics, "sluice_lag_records", query="orders", topic="shop.public.orders", partition="3") == 0
    assert value(metrics, "sluice_upstream_lag_versions", table="gold.fact_sales", upstream="silver.orders") == 4


def test_recording_never_raises(metrics: Metrics) -> None:
    metrics.batch_committed("orders", "bronze", "bronze.orders", seconds=1.0, accepted=-5)
    metrics.lag("orders", "t", 0, None)  # type: ignore[arg-type]


def test_the_version_is_served(metrics: Metrics) -> None:
    assert b'sluice_build_info{version="1.2.3"} 1.0' in generate_latest(metrics.registry)


def test_two_services_count_apart(metrics: Metrics) -> None:
    metrics.query_restarted("orders")
    assert value(Metrics.create("1.2.3"), "sluice_restarts_total", query="orders") is None


@pytest.fixture
def families(metrics: Metrics) -> list[Metric]:
    """Every metric, each recorded at least once."""
    metrics.batch_committed("q", "bronze", "t", seconds=1.0, accepted=1, reasons={"r": 1})
    metrics.query_state("q", up=True)
    metrics.table_state("t", up=True)
    metrics.in_hand("t", 1.0)
    metrics.lag("q", "t", 0, 1)
    metrics.upstream_lag("t", "u", 1)
    metrics.audited("t", 1)
    metrics.reconciled("t", 1)
    metrics.slot_kept("s", "debezium", 1)
    metrics.query_paused("q", paused=False)
    metrics.judged("t", critical=1, warn=0)
    metrics.contracts(refused=False)
    metrics.topic_horizon("q", "t", headroom=1.0, retention=2.0)
    metrics.feed_horizon("t", "u", 1.0)
    metrics.pull_behind("q", 1.0)
    return list(metrics.registry.collect())


def labels_of(family: Metric) -> list[str]:
    return [label for label in family.samples[0].labels if label != "le"]


def test_names_and_labels_follow_the_rules(families: list[Metric]) -> None:
    for family in families:
        assert re.fullmatch(r"sluice_[a-z_]+", family.name), family.name
        assert family.documentation.endswith("."), family.name
    assert {label for family in families for label in labels_of(family)} == LABELS


def test_every_metric_is_documented_and_every_documented_metric_exists(families: list[Metric]) -> None:
    rows = re.findall(r"^\| `(sluice_\w+)` \| (\w+) \| (.*?) \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    documented = {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    assert documented == {
        family.name + SUFFIX.get(family.type, ""): (KIND.get(family.type, family.type), labels_of(family))
        for family in families
    }
