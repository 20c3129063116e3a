"""The service: starts the queries and the tables below them, watches them, and brings them to an orderly end."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType

from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from checkpoints.lease import SERVICE
from schemas.hash_key import require_key
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from streams import logs, session
from streams.acts.resume import resume
from streams.audit.watch import audit_tables
from streams.contract_watch import ContractWatch
from streams.explain import explain
from streams.flow import Flow, Part
from streams.graph import Graph
from streams.health import HealthServer, Probe
from streams.horizons import watch_horizons
from streams.lag import lag_of
from streams.metrics import Metrics
from streams.operations import NotStarted, Operations, Turn
from streams.reconcile.watch import watch_sources
from streams.retention import expire_lanes, retention_days
from streams.sources import Brokers
from streams.stacks import log_stacks
from streams.tenure import Tenure, take
from streams.version import VERSION

log = logs.get(__name__)

DONE, FAILED = 0, 1
_LAG_SECONDS = 5.0
_HORIZON_SECONDS = 30.0
_CONTRACTS_SECONDS = 2.0
_REQUESTS_SECONDS = 0.5
_RETENTION_SECONDS = 3600.0
_WATCH_SECONDS = 0.2


def _leave() -> None:
    os._exit(1)


class Service:
    """One pipeline, run until it is stopped, or with `once` until everything available is in every table.

    `on_jvm_lost` is called from a thread when Spark's JVM has ended by itself; by default this process ends too.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        *,
        once: bool = False,
        on_jvm_lost: Callable[[], None] = _leave,
    ) -> None:
        self.settings = settings
        self.pipeline = pipeline
        self.once = once
        self.metrics = Metrics.create(VERSION)
        self.flow: Flow | None = None
        self._lake = Lake.at(settings.lake)
        self._turns: queue.SimpleQueue[Turn] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._known_stalled: set[str] = set()
        self._ended = threading.Event()
        self._on_jvm_lost = on_jvm_lost
        self.health = HealthServer(
            self.metrics.registry,
            alive=self.alive,
            ready=self.ready,
            host=settings.metrics_host,
            port=settings.metrics_port,
        )

    def run(self) -> int:
        """Run to the end; 0 where all went well, 1 where something was left broken or had to be interrupted.

        Raises SluiceError where the service can not start at all.
        """
        require_key(self.pipeline, self.settings.pii)
        Graph.build(self.pipeline, self.settings)  # what is wrong with the specs is said before anything is waited for
        with self._health_served(), _signals(self.stop):
            tenure = take(self.settings, SERVICE, on_lost=lambda _: self.stop())
            is_clean = False
            try:
                spark = session.build(self.settings)
                threading.Thread(target=self._watch_jvm, args=(spark,), name="jvm", daemon=True).start()
                try:
                    is_clean = self._run(tenure, spark)
                finally:
                    self._ended.set()
                    spark.stop()
            finally:
                # Where nothing was started, nobody can still be writing.
                tenure.end(release=is_clean or self.flow is None)
            return DONE if is_clean and not self._left_broken and not tenure.is_lost else FAILED

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stopping.set()

    def wait_until_started(self, timeout_seconds: float) -> bool:
        """Wait until the queries have been started."""
        return self._started.wait(timeout_seconds)

    def alive(self) -> Probe:
        """The watchdog: no batch takes longer than `stall_seconds`."""
        now = time.monotonic()
        limit = self.settings.stall_seconds
        busy = {one.name: now - since for one in self._parts() if (since := one.busy_since) is not None}
        stalled = {name: f"in hand for {seconds:.0f} s" for name, seconds in busy.items() if seconds > limit}
        if stalled.keys() - self._known_stalled:
            log_stacks(f"{', '.join(sorted(stalled))} stalled")
        self._known_stalled = set(stalled)
        return Probe(not stalled, stalled)

    def ready(self) -> Probe:
        """Whether every query and every table runs."""
        if not self._started.is_set():
            return Probe(False, {"service": "starting"})
        if self._stopping.is_set():
            return Probe(False, {"service": "stopping"})
        parts = self._parts()
        detail = {one.name: f"{one.state}: {one.problem}" if one.problem else one.state for one in parts}
        return Probe(all(one.state in ("running", "done") for one in parts), detail)

    def _parts(self) -> list[Part]:
        return self.flow.parts if self.flow is not None else []

    @property
    def _left_broken(self) -> list[str]:
        return self.flow.broken if self.flow is not None else []

    def _run(self, tenure: Tenure, spark: SparkSession) -> bool:
        """Run one flow after the other, with what changes the past in between; whether all came to rest in time.

        1. Build the graph; where the lease was not let go before, raise the tables' fences first, and those of tables
           that came meanwhile. Half of a rewind is brought to its end, be it of an earlier holder or of just now.
        2. Start everything.
        3. Wait for the end, or for something to be done that needs everything at rest; do it, and begin anew.
        """
        is_first = True
        while True:
            # 1
            graph = Graph.build(self.pipeline, self.settings, lake=tenure.lake)
            if is_first:
                tenure.raise_fences(graph, is_last=False)
            if resume(graph, is_start=is_first):
                graph = Graph.build(self.pipeline, self.settings, lake=tenure.lake)
            graph.prepare(spark)
            tenure.raise_fences(graph, is_last=True)
            # 2
            before, self.flow = self.flow, Flow(graph, spark, self.settings, self.metrics, once=self.once)
            if before is not None:
                self.flow.take_over(before)
            self.flow.start()
            if is_first:
                self._watch(spark)
                is_first = False
            self._started.set()
            log.info("service started", lake=graph.lake.root, queries=len(self.flow.queries), tables=len(graph.tables))
            # 3
            turn = self._wait(self.flow)
            self._started.clear()
            if turn is None:
                return self._finish(self.flow, tenure)
            log.info("coming to rest", action=turn.action.action)
            interrupted = self.flow.rest(time.monotonic() + self.settings.drain_seconds)
            turn.carry_out(graph, spark, self.settings, interrupted)

    def _wait(self, flow: Flow) -> Turn | None:
        """Wait until the service is stopped, or with `once` until all is drained; or for a turn."""
        while not self._stopping.is_set():
            if self.once:
                if flow.is_drained(_WATCH_SECONDS):
                    return None
                continue
            with contextlib.suppress(queue.Empty):
                return self._turns.get(timeout=_WATCH_SECONDS)
        return None

    def _finish(self, flow: Flow, tenure: Tenure) -> bool:
        """Drain within the deadline, at once where the lease is lost; whether nothing had to be interrupted."""
        self._stopping.set()
        drain_seconds = 0.0 if tenure.is_lost else self.settings.drain_seconds
        log.info("stopping", drain_seconds=drain_seconds)
        interrupted = flow.rest(time.monotonic() + drain_seconds)
        broken = [name for name in flow.broken if name not in interrupted]
        if broken or interrupted or tenure.is_lost:
            log.error("stopped", broken=broken, interrupted=interrupted)
        else:
            log.info("stopped")
        return not interrupted

    def _watch_jvm(self, spark: SparkSession) -> None:
        """Without its JVM nothing here can go on or be brought to an end: by default leave, as after a SIGKILL."""
        gateway = spark.sparkContext._gateway
        if gateway is None:
            return
        gateway.proc.wait()
        if not self._ended.is_set():
            log.error("the JVM ended", exit_code=gateway.proc.returncode, remedy="Start again: nothing is lost.")
            self._on_jvm_lost()

    def _watch(self, spark: SparkSession) -> None:
        """Start what runs beside the data path, for as long as the service does."""
        settings = self.settings
        operations = Operations(self._lake, self._flow, spark, settings, None if self.once else self._turns.put)
        self._every(_REQUESTS_SECONDS, "requests", operations.serve)
        brokers = Brokers(settings.kafka)
        self._every(_LAG_SECONDS, "lag", lambda: self._measure_lag(brokers))
        self._every(_LAG_SECONDS, "batches in hand", self._measure_batches)
        self._every(_HORIZON_SECONDS, "horizons", lambda: watch_horizons(self._flow().graph, brokers, self.metrics))
        if not self.once:
            contracts = ContractWatch(self.pipeline, self._lake, lambda: self._flow().queries, self.metrics)
            self._every(_CONTRACTS_SECONDS, "contracts", contracts.look)
        if any(retention_days(spec, settings) for spec in self.pipeline.tables.values()):
            self._every(_RETENTION_SECONDS, "retention", self._expire_lanes, at_once=True)
        if settings.audit_seconds:
            self._every(settings.audit_seconds, "audit", self._audit)
        if settings.reconcile_seconds:
            self._every(settings.reconcile_seconds, "reconcile", self._reconcile)

    def _flow(self) -> Flow:
        if self.flow is None:
            raise NotStarted
        return self.flow

    def _every(self, seconds: float, name: str, act: Callable[[], None], *, at_once: bool = False) -> None:
        """Act again and again in a thread of its own, whatever fails, until the service stops."""

        def keep_on() -> None:
            wait = 0.0 if at_once else seconds
            while not self._stopping.wait(wait):
                wait = seconds
                try:
                    act()
                except Exception as error:  # noqa: BLE001 - what is beside the data path never ends it
                    log.warning("not done", what=name, error=explain(error))

        threading.Thread(target=keep_on, name=name, daemon=True).start()

    def _measure_lag(self, brokers: Brokers) -> None:
        for name, step in self._flow().graph.bronze.items():
            if step.spec.source.jdbc is not None:
                continue
            for partition, records in (lag_of(step, brokers) or {}).items():
                self.metrics.lag(name, step.spec.source.topic, partition, records)

    def _measure_batches(self) -> None:
        now = time.monotonic()
        for part in self._parts():
            since = part.busy_since
            self.metrics.in_hand(part.name, 0.0 if since is None else now - since)

    def _expire_lanes(self) -> None:
        """Let error lanes go of what they have kept for long enough."""
        expire_lanes(self._lake, self.pipeline, self.settings, datetime.now(UTC).date())

    def _audit(self) -> None:
        """Audit the bronze tables."""
        audit_tables(self._lake, self._flow().graph.bronze, self.metrics, self._stopping.is_set)

    def _reconcile(self) -> None:
        """Reconcile silver with its sources."""
        watch_sources(self.pipeline, self.settings, self.metrics, self._stopping.wait, self._stopping.is_set)

    @contextlib.contextmanager
    def _health_served(self) -> Iterator[None]:
        self.health.start()
        try:
            yield
        finally:
            self.health.stop()


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT ask for an orderly end; only where this is the main thread, the one that gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
