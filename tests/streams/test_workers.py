"""A worker consumes what its queue had no room for, though nothing wakes it again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from schemas.settings import Settings
from streams.handover import Handover, SharedRows
from streams.metrics import Metrics
from streams.workers import TableWorker

WAIT_SECONDS = 30.0


@dataclass
class Counting:
    """A step that takes the version in hand where it comes next, else all that there are, as silver's does."""

    newest_version: int = 0
    position: int = 0
    in_hand: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    table: Any = field(default_factory=lambda: SimpleNamespace(name="silver.counted"))
    label: str = "merge"

    def newest(self, upstream: str) -> int:
        return self.newest_version

    def prepare(self, spark: SparkSession) -> None:
        """There is nothing to prepare."""

    def run(self, spark: SparkSession, handover: Handover | None) -> None:
        if handover is not None:
            self.in_hand.set()
            assert self.go_on.wait(WAIT_SECONDS)
        is_next = handover is not None and handover.version == self.position + 1
        self.position = self.position + 1 if is_next else self.newest_version


def test_a_batch_that_did_not_fit_the_queue_is_consumed_after_those_that_did(spark: SparkSession) -> None:
    step, freed = Counting(), []
    settings = Settings(handover_queue=2)
    worker = TableWorker(step, spark, settings, Metrics.create("1"), lambda _: None, max_failures=None)
    worker.start()
    assert worker.wait_until_idle(time.monotonic() + WAIT_SECONDS)

    def commit() -> None:
        step.newest_version += 1
        rows = SharedRows(pa.table({}), lambda: freed.append(step.newest_version))
        worker.offer(Handover("bronze.counted", step.newest_version, datetime.now(UTC), rows))
        rows.release()

    commit()
    assert step.in_hand.wait(WAIT_SECONDS)
    for _ in range(3):  # two fit, and the third does not
        commit()
    step.go_on.set()

    deadline = time.monotonic() + WAIT_SECONDS
    while step.position < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert step.position == 4
    assert worker.stop(time.monotonic() + WAIT_SECONDS)
    assert len(freed) == 4


def test_one_without_a_step_in_hand_is_not_interrupted_however_late_it_is(spark: SparkSession) -> None:
    worker = TableWorker(Counting(), spark, Settings(), Metrics.create("1"), lambda _: None, max_failures=None)
    worker.start()
    assert worker.wait_until_idle(time.monotonic() + WAIT_SECONDS)
    assert worker.stop(time.monotonic() - 1)
