"""The tables below bronze, each with one worker: it takes what is handed to it, or catches up from the log.

A table that is slow or broken never stops its upstream: batches that do not fit its queue are let go, and it consumes
them later from its upstream's log, in one larger step.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from pyspark.sql import SparkSession

from schemas.settings import Settings
from streams import logs
from streams.backoff import Backoff
from streams.explain import explain
from streams.handover import Handover
from streams.metrics import Layer, Metrics
from streams.steps import Step, StepOutcome

log = logs.get(__name__)

State = Literal["running", "failed", "given up"]

_PATIENCE_SECONDS = 1.0
_IDLE_SECONDS = 0.5


class TableWorker:
    """Keeps one table up to its upstreams, in a thread of its own.

    `busy_since` is the monotonic time at which the step in hand began, None between steps.
    """

    def __init__(
        self,
        step: Step,
        spark: SparkSession,
        settings: Settings,
        metrics: Metrics,
        on_commit: Callable[[str], None],
        max_failures: int | None,
    ) -> None:
        self.name = step.table.name
        self._layer: Layer = "gold" if self.name.startswith("gold.") else "silver"
        self.state: State = "running"
        self.problem = ""
        self.busy_since: float | None = None
        self._step = step
        # Transaction ids are settings of a session: each writer needs one of its own.
        self._spark = spark.newSession()
        self._metrics = metrics
        self._on_commit = on_commit
        self._max_failures = max_failures
        self._backoff = Backoff(settings.restart_backoff_seconds, settings.restart_backoff_max_seconds)
        self._queue: deque[Handover] = deque()
        self._queue_size = settings.handover_queue
        self._dirty = True
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin, with whatever the upstreams' logs hold already."""
        self._metrics.table_state(self.name, up=True)
        self._thread.start()

    def offer(self, handover: Handover) -> None:
        """Hand a batch over; one that does not fit the queue is left to the log."""
        with self._changed:
            if len(self._queue) < self._queue_size and self.state == "running" and not self._stopping.is_set():
                handover.rows.retain()
                self._queue.append(handover)
            else:
                self._dirty = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Say that an upstream has a new version."""
        with self._changed:
            self._dirty = True
            self._changed.notify_all()

    def wait_until_idle(self, deadline: float) -> bool:
        """Wait until nothing is left to do; False where the worker gave up first, or at the deadline (monotonic)."""
        self.wake()
        with self._changed:
            while self._dirty or self._queue or self.busy_since is not None:
                if self.state == "given up" or time.monotonic() >= deadline:
                    return False
                self._changed.wait(_PATIENCE_SECONDS)
            return True

    def stop(self, deadline: float) -> bool:
        """Take nothing more in hand, and wait for the step in hand until the deadline; whether it has ended."""
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            # One without a step in hand ends at once, and is not interrupted, however late it is.
            self._thread.join(max(_IDLE_SECONDS, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _work(self) -> None:
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", self.name)
        with logs.context(table=self.name):
            while self._wait_for_work():
                handover = self._queue.popleft() if self._queue else None
                try:
                    self._run(handover)
                except Exception as error:  # noqa: BLE001 - whatever fails here fails this table alone
                    self._failed(error)
                finally:
                    if handover is not None:
                        handover.rows.release()
                    with self._changed:
                        self.busy_since = None
                        self._changed.notify_all()
        while self._queue:
            self._queue.popleft().rows.release()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._dirty or self._queue or self._stopping.is_set()):
                self._changed.wait()
            self.busy_since = time.monotonic()
            # A batch in hand is all that its step consumes: what did not fit the queue has to be looked for after it.
            if not self._queue:
                self._dirty = False
            return not self._stopping.is_set()

    def _run(self, handover: Handover | None) -> None:
        began = time.monotonic()
        outcome = self._step.run(self._spark, handover)
        if self.state != "running":
            log.info("table recovered")
            self._metrics.table_state(self.name, up=True)
        self.state, self.problem = "running", ""
        self._backoff.succeeded()
        if outcome is not None:
            self._report(outcome, time.monotonic() - began)
            self._on_commit(self.name)

    def _report(self, outcome: StepOutcome, seconds: float) -> None:
        entry = outcome.entry
        self._metrics.batch_committed(
            self.name,
            self._layer,
            self.name,
            seconds=seconds,
            written=sum(entry.rows.values()),
            rejected=entry.rejected,
        )
        for upstream, (_, to) in entry.upstreams.items():
            self._metrics.upstream_lag(self.name, upstream, self._step.newest(upstream) - to)
        log.info(
            "table committed",
            run_id=entry.run_id,
            version=outcome.version,
            source=entry.source,
            rows=entry.rows,
            seconds=round(seconds, 3),
        )

    def _failed(self, error: Exception) -> None:
        wait = self._backoff.failed()
        self._metrics.batch_failed(self.name, self._layer, self.name)
        self._metrics.table_state(self.name, up=False)
        self.problem = explain(error)
        gives_up = self._max_failures is not None and self._backoff.failures > self._max_failures
        self.state = "given up" if gives_up else "failed"
        log.error("table failed", error=self.problem, attempt=self._backoff.failures, retry_seconds=wait)
        log.debug("what failed", error=error)
        if gives_up:
            self._stopping.set()
            return
        with self._changed:
            self._dirty = True
        self._stopping.wait(wait)
