"""Everything that runs over one graph: a query per bronze table and a worker per table below, from start to rest."""

from __future__ import annotations

import threading
import time

from pyspark.sql import SparkSession

from checkpoints.requests import Backfill, Request
from schemas.settings import Settings
from streams.graph import Graph
from streams.handover import Handover
from streams.intake.supervisor import PullSupervisor
from streams.intake.worker import BackfillWorker
from streams.metrics import Metrics
from streams.quality.gate import Gate, Judgement
from streams.queries import QuerySupervisor
from streams.workers import TableWorker

ONCE_FAILURES = 2
_WATCH_SECONDS = 0.2


Part = TableWorker | QuerySupervisor | PullSupervisor
"""What runs over a graph."""


class Flow:
    """The running parts of a graph; with `once` the queries end when they have read what is available."""

    def __init__(
        self, graph: Graph, spark: SparkSession, settings: Settings, metrics: Metrics, *, once: bool = False
    ) -> None:
        self.graph = graph
        self.queries: dict[str, QuerySupervisor | PullSupervisor] = {}
        self.workers: dict[str, TableWorker] = {}
        self._spark, self._settings, self._metrics = spark, settings, metrics
        self._backfill: BackfillWorker | None = None
        self._resting = False
        self._beginning = threading.Lock()
        self._referring: dict[str, list[Gate]] = {}
        failures = ONCE_FAILURES if once else None
        for gate in graph.gates.values():
            gate.observers.append(self._on_judgement)
            for other in gate.others:
                self._referring.setdefault(other, []).append(gate)
        for name, step in graph.below.items():
            self.workers[name] = TableWorker(step, spark, settings, metrics, self.wake_below, max_failures=failures)
        restarts = min(settings.max_restarts, ONCE_FAILURES) if once else settings.max_restarts
        for name, bronze in graph.bronze.items():
            pull = bronze.spec.source.jdbc
            self.queries[name] = (
                QuerySupervisor(bronze, spark, settings, metrics, self._hand_down, once=once, max_restarts=restarts)
                if pull is None
                else PullSupervisor(
                    bronze, pull, spark, settings, metrics, self._hand_down, once=once, max_restarts=restarts
                )
            )

    @property
    def parts(self) -> list[Part]:
        """Everything that runs, the tables before the queries that feed them."""
        return [*self.workers.values(), *self.queries.values()]

    @property
    def broken(self) -> list[str]:
        """The parts that failed and have not recovered."""
        return [one.name for one in self.parts if one.state in ("failed", "given up")]

    def take_over(self, before: Flow) -> None:
        """Go on with the contracts that another flow over the same specs has taken up since it started."""
        for name, query in self.queries.items():
            contract = before.queries[name].step.contract
            if contract.hash != query.step.contract.hash:
                query.adopt(contract)

    def start(self) -> None:
        """Begin."""
        for part in self.parts:
            part.start()

    def is_drained(self, seconds: float) -> bool:
        """Wait for the queries to end, then for each table after its upstreams; whether all did within so long."""
        deadline = time.monotonic() + seconds
        for query in self.queries.values():
            while not query.join(min(_WATCH_SECONDS, seconds)):
                if time.monotonic() > deadline:
                    return False
        for worker in self.workers.values():
            while not worker.wait_until_idle(time.monotonic() + _WATCH_SECONDS):
                if worker.state == "given up":
                    break
                if time.monotonic() > deadline:
                    return False
        return True

    def bring_in(self, asked: str, request: Request, action: Backfill) -> None:
        """Begin a backfill that was asked for, beside the queries; one at a time, and none once at rest."""
        with self._beginning:
            if self._resting or (self._backfill is not None and self._backfill.is_running):
                return
            self._backfill = BackfillWorker(
                asked, request, action, self.graph, self._spark, self._settings, self._metrics, self._hand_down
            )
            self._backfill.start()

    def rest(self, deadline: float) -> list[str]:
        """Begin nothing more, and wait for what is in hand until the deadline (monotonic); what had to be interrupted.

        First what writes bronze, then the tables, each in the order of the flow.
        """
        with self._beginning:
            self._resting = True
        if self._backfill is not None:
            self._backfill.drain()
        for query in self.queries.values():
            query.drain()
        interrupted = [name for name, query in self.queries.items() if not query.stop(deadline)]
        if self._backfill is not None and not self._backfill.stop(deadline):
            interrupted.append(self._backfill.name)
        return interrupted + [name for name, worker in self.workers.items() if not worker.stop(deadline)]

    def wake_below(self, name: str) -> None:
        """Say that a table has new rows."""
        for downstream in self.graph.pipeline.downstreams(name):
            self.workers[downstream].wake()
        # What is held may only have waited for rows of this table.
        for gate in self._referring.get(name, ()):
            for below in self.graph.pipeline.below(gate.table.name) if gate.held is not None else ():
                self.workers[below].wake()

    def _hand_down(self, name: str, handover: Handover | None) -> None:
        for downstream in self.graph.pipeline.downstreams(name):
            if handover is None:
                self.workers[downstream].wake()
            else:
                self.workers[downstream].offer(handover)

    def _on_judgement(self, judgement: Judgement) -> None:
        self._metrics.judged(judgement.table, critical=len(judgement.failures), warn=len(judgement.warnings))
