"""Keeps one table pulled, in a thread of its own; to the service it is what a query is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pyspark.sql import SparkSession

from schemas.contract import Contract
from schemas.errors import SluiceError
from schemas.settings import Settings
from schemas.spec import JdbcPull
from streams import logs
from streams.backoff import Backoff
from streams.bronze import BatchOutcome, BronzeStep
from streams.explain import explain
from streams.handover import Handover
from streams.intake.pull import Puller
from streams.metrics import Metrics
from streams.queries import State

log = logs.get(__name__)


class PullSupervisor:
    """Keeps one table pulled, in a thread of its own; to the service it is what a query is.

    `busy_since` is the monotonic time at which the slice in hand began, None between slices.
    """

    def __init__(
        self,
        step: BronzeStep,
        pull: JdbcPull,
        spark: SparkSession,
        settings: Settings,
        metrics: Metrics,
        on_commit: Callable[[str, Handover | None], None],
        *,
        once: bool,
        max_restarts: int,
    ) -> None:
        self.name = step.spec.table
        self.state: State = "starting"
        self.problem = ""
        self.busy_since: float | None = None
        self.step = step
        self._pull, self._spark, self._settings = pull, spark.newSession(), settings
        self._metrics, self._on_commit = metrics, on_commit
        self._once, self._max_restarts = once, max_restarts
        self._backoff = Backoff(settings.restart_backoff_seconds, settings.restart_backoff_max_seconds)
        self._contract: Contract | None = None
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._metrics.query_state(self.name, up=False)
        self._thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the drain to be done or given up; whether it is."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def admit(self) -> None:
        """Let the slice that is held back through, and go on."""
        self.step.breaker.admit()
        self._woken.set()

    def adopt(self, contract: Contract) -> None:
        """Judge by this contract from the next slice on."""
        self._contract = contract
        self._woken.set()

    def drain(self) -> None:
        """Begin no further slice."""
        self._stopping.set()
        self._woken.set()

    def stop(self, deadline: float) -> bool:
        """Drain, and wait for the slice in hand until the deadline (monotonic); whether it ended."""
        self.drain()
        self._thread.join(max(0.1, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _supervise(self) -> None:
        with logs.context(query=self.name):
            while not self._stopping.is_set():
                try:
                    self._work()
                except Exception as error:  # noqa: BLE001 - whatever fails here fails this table alone
                    if not self._failed(error):
                        break
                else:
                    break
        self._metrics.query_state(self.name, up=False)

    def _work(self) -> None:
        puller = Puller(self.step, self._pull, self._spark, self._settings)
        self.state, self.problem = "running", ""
        self._metrics.query_state(self.name, up=True)
        log.info("pull started", source=self._pull.source, table=self._pull.relation, generation=self.step.generation)
        while not self._stopping.is_set():
            self.busy_since = began = time.monotonic()
            try:
                if self._contract is not None:
                    self.step.learner.adopt(self._contract, self.step.table)
                    self._contract = None
                outcome = puller.slice()
                if outcome is not None:
                    self._report(outcome, time.monotonic() - began)
                elif (behind := puller.behind_seconds()) is not None:
                    self._metrics.pull_behind(self.name, behind)
                self._backoff.succeeded()
            finally:
                self.busy_since = None
            if outcome is None:
                if self._once:
                    self.state = "done"
                    return
                self._woken.wait(self._pull.poll_seconds)
                self._woken.clear()

    def _report(self, outcome: BatchOutcome, seconds: float) -> None:
        entry = outcome.entry
        try:
            if outcome.skipped:
                self._metrics.batch_skipped(self.name, "bronze", self.name)
                log.info("slice skipped: the table holds it", run_id=entry.run_id)
            else:
                self._metrics.batch_committed(
                    self.name,
                    "bronze",
                    self.name,
                    seconds=seconds,
                    accepted=entry.accepted,
                    rejected=entry.rejected,
                    dropped=sum(entry.dropped.values()),
                    written=entry.accepted,
                    reasons=outcome.reasons,
                )
                log.info(
                    "batch committed",
                    run_id=entry.run_id,
                    read=entry.read,
                    accepted=entry.accepted,
                    rejected=entry.rejected,
                    seconds=round(seconds, 3),
                )
            self._on_commit(self.name, outcome.handover)
        finally:
            if outcome.handover is not None:
                outcome.handover.rows.release()

    def _failed(self, error: Exception) -> bool:
        """Note the failure and wait; whether to try again."""
        wait = self._backoff.failed()
        self.problem = str(error) if isinstance(error, SluiceError) else explain(error)
        self._metrics.query_state(self.name, up=False)
        self._metrics.batch_failed(self.name, "bronze", self.name)
        gives_up = self._backoff.failures > self._max_restarts
        self.state = "given up" if gives_up else "failed"
        log.error("pull failed", error=self.problem, attempt=self._backoff.failures, retry_seconds=wait)
        if gives_up or self._stopping.is_set():
            return False
        self._metrics.query_restarted(self.name)
        self._woken.wait(wait)
        self._woken.clear()
        return True
