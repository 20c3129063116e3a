"""The service: starts the queries and the tables below them, watches them, and brings them to an orderly end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType

from pyspark.sql import SparkSession

from checkpoints.requests import HEARTBEAT_SECONDS, Requests
from schemas.hash_key import require_key
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from streams import logs, session
from streams.audit.watch import audit_tables
from streams.contract_watch import ContractWatch
from streams.explain import explain
from streams.graph import Graph
from streams.handover import Handover
from streams.health import HealthServer, Probe
from streams.lag import lag_of
from streams.metrics import Metrics
from streams.operations import Operations
from streams.quality.gate import Gate, Judgement
from streams.queries import QuerySupervisor
from streams.reconcile.watch import watch_sources
from streams.retention import expire_lanes, retention_days
from streams.sources import Brokers
from streams.stacks import log_stacks
from streams.version import VERSION
from streams.workers import TableWorker

log = logs.get(__name__)

_LAG_SECONDS = 5.0
_CONTRACTS_SECONDS = 2.0
_REQUESTS_SECONDS = 0.5
_RETENTION_SECONDS = 3600.0
_ONCE_FAILURES = 2
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
        self.queries: dict[str, QuerySupervisor] = {}
        self.workers: dict[str, TableWorker] = {}
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._known_stalled: set[str] = set()
        self._referring: dict[str, list[Gate]] = {}
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
        graph = Graph.build(self.pipeline, self.settings)
        graph.lake.ensure_writable()
        with self._health_served(), _signals(self.stop):
            spark = session.build(self.settings)
            threading.Thread(target=self._watch_jvm, args=(spark,), name="jvm", daemon=True).start()
            try:
                graph.prepare(spark)
                self._start(graph, spark)
                if self.once:
                    self._wait_until_drained()
                else:
                    self._stopping.wait()
                return self._finish()
            finally:
                Requests(graph.lake).leave()
                self._ended.set()
                spark.stop()

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

    def _parts(self) -> list[TableWorker | QuerySupervisor]:
        """Everything that runs, the tables before the queries that feed them."""
        return [*self.workers.values(), *self.queries.values()]

    def _start(self, graph: Graph, spark: SparkSession) -> None:
        failures = _ONCE_FAILURES if self.once else None
        for gate in graph.gates.values():
            gate.observers.append(self._on_judgement)
            for other in gate.others:
                self._referring.setdefault(other, []).append(gate)
        for name, step in graph.below.items():
            self.workers[name] = TableWorker(
                step, spark, self.settings, self.metrics, self._wake_below, max_failures=failures
            )
        restarts = min(self.settings.max_restarts, _ONCE_FAILURES) if self.once else self.settings.max_restarts
        for name, bronze in graph.bronze.items():
            self.queries[name] = QuerySupervisor(
                bronze, spark, self.settings, self.metrics, self._hand_down, once=self.once, max_restarts=restarts
            )
        for part in self._parts():
            part.start()
        threading.Thread(target=self._watch_lag, args=(graph,), name="lag", daemon=True).start()
        self._serve_requests(graph, spark)
        if not self.once:
            contracts = ContractWatch(self.pipeline, graph.lake, self.queries, self.metrics)
            self._every(_CONTRACTS_SECONDS, "contracts", contracts.look)
        if any(retention_days(spec, self.settings) for spec in self.pipeline.tables.values()):
            threading.Thread(target=self._watch_retention, args=(graph,), name="retention", daemon=True).start()
        if self.settings.audit_seconds:
            threading.Thread(target=self._watch_accounts, args=(graph,), name="audit", daemon=True).start()
        if self.settings.reconcile_seconds:
            threading.Thread(target=self._watch_sources, name="reconcile", daemon=True).start()
        self._started.set()
        log.info("service started", lake=graph.lake.root, queries=len(self.queries), tables=len(graph.tables))

    def _hand_down(self, name: str, handover: Handover | None) -> None:
        for downstream in self.pipeline.downstreams(name):
            if handover is None:
                self.workers[downstream].wake()
            else:
                self.workers[downstream].offer(handover)

    def _wake_below(self, name: str) -> None:
        for downstream in self.pipeline.downstreams(name):
            self.workers[downstream].wake()
        # What is held may only have waited for rows of this table.
        for gate in self._referring.get(name, ()):
            for below in self.pipeline.below(gate.table.name) if gate.held is not None else ():
                self.workers[below].wake()

    def _on_judgement(self, judgement: Judgement) -> None:
        self.metrics.judged(judgement.table, critical=len(judgement.failures), warn=len(judgement.warnings))

    def _wait_until_drained(self) -> None:
        """Wait for the queries to end, then for each table after its upstreams; a stop is heeded meanwhile."""
        for query in self.queries.values():
            while not query.join(_WATCH_SECONDS):
                if self._stopping.is_set():
                    return
        for worker in self.workers.values():
            while not worker.wait_until_idle(time.monotonic() + _WATCH_SECONDS):
                if self._stopping.is_set() or worker.state == "given up":
                    break

    def _finish(self) -> int:
        """Drain within the deadline: first the queries, then the tables, each in the order of the flow."""
        self._stopping.set()
        log.info("stopping", drain_seconds=self.settings.drain_seconds)
        deadline = time.monotonic() + self.settings.drain_seconds
        broken = [one.name for one in self._parts() if one.state in ("failed", "given up")]
        for query in self.queries.values():
            query.drain()
        interrupted = [name for name, query in self.queries.items() if not query.stop(deadline)]
        interrupted += [name for name, worker in self.workers.items() if not worker.stop(deadline)]
        if broken or interrupted:
            log.error("stopped", broken=broken, interrupted=interrupted)
            return 1
        log.info("stopped")
        return 0

    def _watch_jvm(self, spark: SparkSession) -> None:
        """Without its JVM nothing here can go on or be brought to an end: by default leave, as after a SIGKILL."""
        gateway = spark.sparkContext._gateway
        if gateway is None:
            return
        gateway.proc.wait()
        if not self._ended.is_set():
            log.error("the JVM ended", exit_code=gateway.proc.returncode, remedy="Start again: nothing is lost.")
            self._on_jvm_lost()

    def _serve_requests(self, graph: Graph, spark: SparkSession) -> None:
        """Say that this service runs, and carry out what is asked of it."""
        requests = Requests(graph.lake)
        requests.announce()
        operations = Operations(graph, spark, self.queries, self._wake_below)
        self._every(HEARTBEAT_SECONDS, "presence", requests.announce)
        self._every(_REQUESTS_SECONDS, "requests", operations.serve)

    def _every(self, seconds: float, name: str, act: Callable[[], None]) -> None:
        """Act again and again in a thread of its own, whatever fails, until the service stops."""

        def keep_on() -> None:
            while not self._stopping.wait(seconds):
                try:
                    act()
                except Exception as error:  # noqa: BLE001 - what is beside the data path never ends it
                    log.warning("not done", what=name, error=explain(error))

        threading.Thread(target=keep_on, name=name, daemon=True).start()

    def _watch_lag(self, graph: Graph) -> None:
        brokers = Brokers(self.settings.kafka)
        while not self._stopping.wait(_LAG_SECONDS):
            for name, step in graph.bronze.items():
                for partition, records in (lag_of(step, brokers) or {}).items():
                    self.metrics.lag(name, step.spec.source.topic, partition, records)
        brokers.close()

    def _watch_retention(self, graph: Graph) -> None:
        """Let error lanes go of what they have kept for long enough, now and once an hour."""
        while not self._stopping.is_set():
            expire_lanes(graph.lake, self.pipeline, self.settings, datetime.now(UTC).date())
            self._stopping.wait(_RETENTION_SECONDS)

    def _watch_accounts(self, graph: Graph) -> None:
        """Audit the bronze tables, every `audit_seconds`."""
        while not self._stopping.wait(self.settings.audit_seconds):
            audit_tables(graph.lake, graph.bronze, self.metrics, self._stopping.is_set)

    def _watch_sources(self) -> None:
        """Reconcile silver with its sources, every `reconcile_seconds`."""
        stopping = self._stopping
        while not stopping.wait(self.settings.reconcile_seconds):
            watch_sources(self.pipeline, self.settings, self.metrics, stopping.wait, stopping.is_set)

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
