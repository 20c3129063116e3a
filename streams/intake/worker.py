"""A backfill that a running service was asked for: carried out beside the queries, in a thread of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.errors import LeaseLost
from checkpoints.failpoints import reach
from checkpoints.journal import Act, Journal
from checkpoints.requests import Answer, Backfill, Request, Requests
from schemas.errors import SluiceError
from schemas.settings import Settings
from streams import logs
from streams.acts.backfill import carry_out_backfill, log_progress
from streams.backoff import Backoff
from streams.bronze import BatchOutcome
from streams.explain import explain
from streams.graph import Graph
from streams.intake.backfill import CutShort, HandOn
from streams.intake.errors import NoBackfill
from streams.metrics import Metrics

log = logs.get(__name__)

QUERY = "backfill"
"""What stands for the query in the metrics of its batches."""


class BackfillWorker:
    """Carries one backfill out for as long as its request waits.

    Stopped, it ends after the batch in hand and leaves the request as it is: the next flow goes on with it, be it after
    an act that needed rest or after a crash. Withdrawn, it ends as well, and is not gone on with.
    """

    def __init__(
        self,
        asked: str,
        request: Request,
        action: Backfill,
        graph: Graph,
        spark: SparkSession,
        settings: Settings,
        metrics: Metrics,
        hand_on: HandOn,
    ) -> None:
        self.name = f"the backfill of {action.table}"
        self._asked, self._action = asked, action
        # One entry of the journal for one request, however often it is gone on with.
        self._act = Act(id=asked, at=request.at, author=request.author, action=action)
        # Transaction ids are settings of a session: each writer needs one of its own.
        self._graph, self._spark, self._settings = graph, spark.newSession(), settings
        self._metrics, self._hand_on = metrics, hand_on
        self._requests = Requests(graph.lake)
        self._stopping = threading.Event()
        self._is_withdrawn = False
        self._thread = threading.Thread(target=self._work, name=QUERY, daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether it is not at its end."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def drain(self) -> None:
        """Begin no further batch."""
        self._stopping.set()

    def stop(self, deadline: float) -> bool:
        """Drain, and wait for the batch in hand until the deadline (monotonic); whether it ended."""
        self.drain()
        self._thread.join(max(0.1, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _work(self) -> None:
        settings = self._settings
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", QUERY)
        patience = Backoff(settings.restart_backoff_seconds, settings.restart_backoff_max_seconds)
        with logs.context(query=QUERY, table=self._action.table):
            # The list of what waits may have been read before it was answered.
            while self._requests.waits(self._asked) and not self._stopping.is_set():
                try:
                    answer = Answer(result=self._carry_out())
                except (CutShort, LeaseLost):
                    break
                except SluiceError as error:
                    answer = Answer(error=str(error))
                except Exception as error:  # noqa: BLE001 - whatever fails here fails this backfill alone
                    if self._stopping.is_set():
                        break
                    answer = Answer(error=explain(error))
                    self._metrics.batch_failed(QUERY, "bronze", self._action.table)
                    wait = patience.failed()
                    if patience.failures <= settings.max_restarts:
                        log.error("backfill failed", error=answer.error, retry_seconds=wait)  # noqa: TRY400
                        self._stopping.wait(wait)
                        continue
                reach("request.before_answer")
                self._requests.answer(self._asked, answer)
                log.info("request carried out", action=self._action.action, error=answer.error)
                return
            if self._is_withdrawn:
                self._requests.withdraw(self._asked)
                Journal(self._graph.lake).failed(self._act, "It was withdrawn. The same command goes on where it was.")
                log.warning("backfill withdrawn")

    def _carry_out(self) -> dict[str, Any]:
        if self._action.move_watermark:
            raise NoBackfill("--move-watermark: no pull may run meanwhile. Stop the service for it.")
        return carry_out_backfill(
            self._graph,
            self._spark,
            self._settings,
            self._act,
            self._action,
            self._hand_on,
            self._on_batch,
            self._stopping,
        )

    def _on_batch(self, told: dict[str, Any], outcome: BatchOutcome) -> None:
        entry = outcome.entry
        if outcome.skipped:
            self._metrics.batch_skipped(QUERY, "bronze", self._action.table)
        else:
            self._metrics.batch_committed(
                QUERY,
                "bronze",
                self._action.table,
                seconds=told["batch_seconds"],
                accepted=entry.accepted,
                rejected=entry.rejected,
                dropped=sum(entry.dropped.values()),
                written=entry.accepted,
                reasons=outcome.reasons,
            )
        log_progress(told)
        if self._requests.waits(self._asked):
            self._requests.tell(self._asked, told)
        else:
            self._is_withdrawn = True
            self._stopping.set()
