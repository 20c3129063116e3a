"""
What the service counts: Prometheus metrics, one registry per service, recorded by event.

Names are `sluice_` and base units; labels only `query`, `layer`, `table`, `upstream`, `topic`,
`partition`, `reason`, `severity` and `outcome`, never a batch, key or run, so that the number of series is bounded by
the pipeline. Every metric has its line in runbooks/metrics.md. Recording never raises: a metric that can
not be written is not worth a batch.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Final, Literal, ParamSpec

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

Layer = Literal["bronze", "silver", "gold"]

_P = ParamSpec("_P")
_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


def _recording(
    record: Callable[Concatenate["Metrics", _P], None],
) -> Callable[Concatenate["Metrics", _P], None]:
    @wraps(record)
    def safe(self: "Metrics", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        with suppress(Exception):
            record(self, *args, **kwargs)

    return safe


@dataclass(frozen=True, slots=True)
class Metrics:
    """The service's metrics; `Metrics.create(version)` makes them, with a registry of their own."""

    registry: CollectorRegistry
    rows: Counter
    rejects: Counter
    batches: Counter
    batch_seconds: Histogram
    in_hand_seconds: Gauge
    lag_records: Gauge
    upstream_lag_versions: Gauge
    pull_behind_seconds: Gauge
    topic_headroom_seconds: Gauge
    topic_retention_seconds: Gauge
    feed_headroom_seconds: Gauge
    query_up: Gauge
    query_held: Gauge
    gate_held: Gauge
    failing_rules: Gauge
    contracts_refused: Gauge
    table_up: Gauge
    restarts: Counter
    last_commit: Gauge
    audit_differences: Gauge
    last_audit: Gauge
    reconcile_differences: Gauge
    slot_bytes: Gauge
    last_reconciliation: Gauge

    @classmethod
    def create(cls, version: str) -> "Metrics":
        """New metrics, all at nothing, that say which version of Sluice they come from."""
        registry = CollectorRegistry()
        Info("sluice_build", "The running version of Sluice.", registry=registry).info({"version": version})
        return cls(
            registry=registry,
            rows=Counter(
                "sluice_rows_total",
                "Rows by what became of them: accepted, rejected and dropped as read; written to the table.",
                ["query", "layer", "table", "outcome"],
                registry=registry,
            ),
            rejects=Counter(
                "sluice_rejects_total",
                "Rejected rows by the first rule that they broke.",
                ["query", "table", "reason"],
                registry=registry,
            ),
            batches=Counter(
                "sluice_batches_total",
                "Batches per table by outcome: committed, skipped (was already committed), failed.",
                ["query", "layer", "table", "outcome"],
                registry=registry,
            ),
            batch_seconds=Histogram(
                "sluice_batch_seconds",
                "Time from taking a batch in hand to its commit.",
                ["layer", "table"],
                buckets=_SECONDS,
                registry=registry,
            ),
            in_hand_seconds=Gauge(
                "sluice_in_hand_seconds",
                "For how long the table's batch has been in hand; 0 between batches.",
                ["table"],
                registry=registry,
            ),
            lag_records=Gauge(
                "sluice_lag_records",
                "Records in the topic's partition behind the query's last committed offset.",
                ["query", "topic", "partition"],
                registry=registry,
            ),
            upstream_lag_versions=Gauge(
                "sluice_upstream_lag_versions",
                "Versions of the upstream table that the table has not consumed.",
                ["table", "upstream"],
                registry=registry,
            ),
            topic_headroom_seconds=Gauge(
                "sluice_topic_headroom_seconds",
                "Time until the topic's retention may remove the first record that is still to be read.",
                ["query", "topic"],
                registry=registry,
            ),
            topic_retention_seconds=Gauge(
                "sluice_topic_retention_seconds",
                "How long the topic keeps that record, by `retention.ms`, or `retention.bytes` where that is nearer.",
                ["query", "topic"],
                registry=registry,
            ),
            feed_headroom_seconds=Gauge(
                "sluice_feed_headroom_seconds",
                "Time until a VACUUM of the usual 168 hours would take changes that the table has still to read.",
                ["table", "upstream"],
                registry=registry,
            ),
            pull_behind_seconds=Gauge(
                "sluice_pull_behind_seconds",
                "How much older the pulled table's watermark is than the newest row of its source.",
                ["query"],
                registry=registry,
            ),
            query_up=Gauge(
                "sluice_query_up",
                "1 while the query runs, 0 while it waits for a restart or has been given up.",
                ["query"],
                registry=registry,
            ),
            query_held=Gauge(
                "sluice_query_paused",
                "1 while the query holds a batch back until a person decides: too many rejects, a frozen schema.",
                ["query"],
                registry=registry,
            ),
            gate_held=Gauge(
                "sluice_gate_held",
                "1 while critical rules of the silver table hold gold back.",
                ["table"],
                registry=registry,
            ),
            failing_rules=Gauge(
                "sluice_failing_rules",
                "How many quality rules of the table failed when it was judged last, by severity.",
                ["table", "severity"],
                registry=registry,
            ),
            contracts_refused=Gauge(
                "sluice_contracts_refused",
                "1 while the contracts in the pipeline's folder are not taken up, since they break something.",
                registry=registry,
            ),
            table_up=Gauge(
                "sluice_table_up",
                "1 while the table takes its batches, 0 after one failed until one is committed again.",
                ["table"],
                registry=registry,
            ),
            restarts=Counter(
                "sluice_restarts_total",
                "Restarts of the query after a failure.",
                ["query"],
                registry=registry,
            ),
            last_commit=Gauge(
                "sluice_last_commit_timestamp_seconds",
                "When the table was last committed to, in seconds since 1970.",
                ["layer", "table"],
                registry=registry,
            ),
            audit_differences=Gauge(
                "sluice_audit_differences",
                "Differences between the ledger and what the bronze table and its lane hold; 0 is as it should be.",
                ["table"],
                registry=registry,
            ),
            last_audit=Gauge(
                "sluice_last_audit_timestamp_seconds",
                "When an audit of the bronze table last came to its end, in seconds since 1970.",
                ["table"],
                registry=registry,
            ),
            reconcile_differences=Gauge(
                "sluice_reconcile_differences",
                "Keys of the silver table that are not as its source database has them; 0 is as it should be.",
                ["table"],
                registry=registry,
            ),
            slot_bytes=Gauge(
                "sluice_source_slot_bytes",
                "Log that a source database keeps for a replication slot, since it was not read and confirmed yet.",
                ["source", "slot"],
                registry=registry,
            ),
            last_reconciliation=Gauge(
                "sluice_last_reconcile_timestamp_seconds",
                "When the silver table was last compared with its source to the end, in seconds since 1970.",
                ["table"],
                registry=registry,
            ),
        )

    @_recording
    def batch_committed(
        self,
        query: str,
        layer: Layer,
        table: str,
        *,
        seconds: float,
        accepted: int = 0,
        rejected: int = 0,
        dropped: int = 0,
        written: int = 0,
        reasons: Mapping[str, int] | None = None,
    ) -> None:
        """A batch is in the table: its rows by outcome, its rejects by rule, its duration, the time."""
        counts = {"accepted": accepted, "rejected": rejected, "dropped": dropped, "written": written}
        for outcome, count in counts.items():
            self.rows.labels(query, layer, table, outcome).inc(count)
        for reason, count in (reasons or {}).items():
            self.rejects.labels(query, table, reason).inc(count)
        self.batches.labels(query, layer, table, "committed").inc()
        self.batch_seconds.labels(layer, table).observe(seconds)
        self.last_commit.labels(layer, table).set(time.time())

    @_recording
    def batch_skipped(self, query: str, layer: Layer, table: str) -> None:
        """A batch was already in the table when it came again."""
        self.batches.labels(query, layer, table, "skipped").inc()

    @_recording
    def batch_failed(self, query: str, layer: Layer, table: str) -> None:
        """A batch could not be brought into the table."""
        self.batches.labels(query, layer, table, "failed").inc()

    @_recording
    def in_hand(self, table: str, seconds: float) -> None:
        """The batch of the table has been in hand for so long, 0 where none is."""
        self.in_hand_seconds.labels(table).set(seconds)

    @_recording
    def query_state(self, query: str, *, up: bool) -> None:
        """The query runs, or does not."""
        self.query_up.labels(query).set(up)
        # A counter that first shows at 1 has no increase: it has to be seen at 0 before.
        self.restarts.labels(query)

    @_recording
    def contracts(self, *, refused: bool) -> None:
        """Changed contracts were looked at, and taken up or refused."""
        self.contracts_refused.set(refused)

    @_recording
    def query_paused(self, query: str, *, paused: bool) -> None:
        """The query holds a batch back until a person decides, or goes on."""
        self.query_held.labels(query).set(paused)

    @_recording
    def judged(self, table: str, *, critical: int, warn: int) -> None:
        """The table was judged, and so many of its rules failed."""
        self.gate_held.labels(table).set(critical > 0)
        self.failing_rules.labels(table, "critical").set(critical)
        self.failing_rules.labels(table, "warn").set(warn)

    @_recording
    def query_restarted(self, query: str) -> None:
        """The query is started again after a failure."""
        self.restarts.labels(query).inc()

    @_recording
    def table_state(self, table: str, *, up: bool) -> None:
        """The table takes its batches, or was left after a failure."""
        self.table_up.labels(table).set(up)

    @_recording
    def lag(self, query: str, topic: str, partition: int, records: int) -> None:
        """The query is this many records behind the end of the partition."""
        self.lag_records.labels(query, topic, str(partition)).set(max(records, 0))

    @_recording
    def topic_horizon(self, query: str, topic: str, *, headroom: float, retention: float) -> None:
        """What the query reads next may be removed in so long, of a topic that keeps records for so long."""
        self.topic_headroom_seconds.labels(query, topic).set(headroom)
        self.topic_retention_seconds.labels(query, topic).set(retention)

    @_recording
    def feed_horizon(self, table: str, upstream: str, headroom: float) -> None:
        """What the table reads next of its upstream may be removed in so long."""
        self.feed_headroom_seconds.labels(table, upstream).set(headroom)

    @_recording
    def pull_behind(self, query: str, seconds: float) -> None:
        """The watermark of a table that is pulled is this much older than the newest row of its source."""
        self.pull_behind_seconds.labels(query).set(seconds)

    @_recording
    def upstream_lag(self, table: str, upstream: str, versions: int) -> None:
        """The table is this many versions behind its upstream."""
        self.upstream_lag_versions.labels(table, upstream).set(max(versions, 0))

    @_recording
    def audited(self, table: str, differences: int) -> None:
        """The bronze table was audited, with this many differences found or remembered."""
        self.audit_differences.labels(table).set(differences)
        self.last_audit.labels(table).set(time.time())

    @_recording
    def slot_kept(self, source: str, slot: str, size: int) -> None:
        """The source keeps this many bytes of its log for a replication slot."""
        self.slot_bytes.labels(source, slot).set(size)

    @_recording
    def reconciled(self, table: str, differences: int) -> None:
        """The silver table was compared with its source, with this many differences."""
        self.reconcile_differences.labels(table).set(differences)
        self.last_reconciliation.labels(table).set(time.time())
