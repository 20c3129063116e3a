"""The queries: one per bronze table, each supervised by a thread that waits for its topic and restarts it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Literal

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from checkpoints.errors import OffsetsGone, TopicRecreated
from checkpoints.failpoints import reach
from schemas.contract import Contract
from schemas.settings import Settings
from streams import logs
from streams.backoff import Backoff
from streams.bronze import BatchOutcome, BronzeStep
from streams.errors import Held, RegistryUnavailable
from streams.explain import explain
from streams.handover import Handover
from streams.metrics import Metrics
from streams.sources import Brokers, kafka_stream
from streams.starts import check_topic

log = logs.get(__name__)

State = Literal["starting", "waiting", "running", "paused", "failed", "given up", "done"]

_WATCH_SECONDS = 0.2
_INTERRUPT_SECONDS = 5.0


class Draining(Exception):
    """A batch was about to begin while the service stops."""


class QuerySupervisor:
    """Keeps one streaming query running.

    `busy_since` is the monotonic time at which the batch in hand began, None between batches.
    """

    def __init__(
        self,
        step: BronzeStep,
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
        self._step = step
        self._spark = spark
        self._settings = settings
        self._metrics = metrics
        self._on_commit = on_commit
        self._once = once
        self._max_restarts = max_restarts
        self._backoff = Backoff(settings.restart_backoff_seconds, settings.restart_backoff_max_seconds)
        self._brokers = Brokers(settings.kafka)
        self._stopping = threading.Event()
        self._query: StreamingQuery | None = None
        self._topic_id = ""
        self._resumed = threading.Event()
        self._contract: Contract | None = None
        self._thread = threading.Thread(target=self._supervise, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._metrics.query_state(self.name, up=False)
        self._thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the query to be done or given up; whether it is."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def step(self) -> BronzeStep:
        """The step that the query runs."""
        return self._step

    def admit(self) -> None:
        """Let the batch that is held back through, and go on."""
        self._step.breaker.admit()
        self._resumed.set()

    def adopt(self, contract: Contract) -> None:
        """Judge by this contract from the next batch on; a query that was held back tries again."""
        self._contract = contract
        self._resumed.set()

    def drain(self) -> None:
        """Begin no further batch."""
        self._stopping.set()
        self._resumed.set()

    def stop(self, deadline: float) -> bool:
        """Drain, and wait for the batch in hand until the deadline (monotonic); then interrupt it. Whether it ended."""
        self.drain()
        while self.busy_since is not None and time.monotonic() < deadline:
            time.sleep(_WATCH_SECONDS)
        drained = self.busy_since is None
        query = self._query
        if query is not None and query.isActive:
            # Spark waits for the query's thread, and that for a batch of ours, which may not come to an end.
            threading.Thread(target=_stop, args=(query,), name=f"{self.name} stops", daemon=True).start()
        self._thread.join(max(_INTERRUPT_SECONDS, deadline - time.monotonic()))
        return drained and not (query is not None and self._thread.is_alive())

    def _supervise(self) -> None:
        with logs.context(query=self.name):
            while not self._stopping.is_set() and self._wait_for_topic():
                try:
                    self._look_at_topic()
                    self._run_query()
                except (TopicRecreated, OffsetsGone) as error:
                    # Waiting does not mend it, and to go on would lose records, or mix them.
                    self._give_up(str(error))
                    break
                except Exception as error:  # noqa: BLE001 - whatever fails here fails this query alone
                    is_drained = self._stopping.is_set() and self.state != "failed"
                    if is_drained or self.state == "given up" or not self._failed(error):
                        break
                else:
                    break
        self._brokers.close()
        self._metrics.query_state(self.name, up=False)

    def _run_query(self) -> None:
        stream = kafka_stream(self._spark, self._settings, self._step.spec, self._step.start.offsets)
        writer = (
            stream.writeStream.queryName(self.name)
            .option("checkpointLocation", self._step.checkpoint)
            .foreachBatch(self._on_batch)
        )
        if self._once:
            writer = writer.trigger(availableNow=True)
        elif self._settings.trigger_seconds:
            writer = writer.trigger(processingTime=f"{self._settings.trigger_seconds} seconds")
        # Set in the thread that starts the query: the query's own thread inherits it.
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", self.name)
        self._query = writer.start()
        self._now_runs()
        log.info("query started", topic=self._step.spec.source.topic, generation=self._step.generation)
        self._query.awaitTermination()
        self.state = "done"

    def _look_at_topic(self) -> None:
        """See that the topic is the one that was read before, and still has what comes next; keep which one it is."""
        step = self._step
        bounds = self._brokers.bounds(step.spec.source.topic)
        check_topic(step, bounds)
        start = step.start
        offsets = start.offsets
        if offsets is not None:
            # Spark wants to be told of every partition: those that came since the reset are read from their beginning.
            offsets = {partition: offsets.get(partition, first) for partition, (first, _) in bounds.partitions.items()}
        if start.topic_id is None or offsets != start.offsets:
            step.begin(start.model_copy(update={"topic_id": bounds.id, "offsets": offsets}))
        self._topic_id = bounds.id
        step.confirm_source = self._confirm_topic

    def _confirm_topic(self) -> None:
        """See that what was just read is of the topic that the query began with; raises TopicRecreated."""
        topic = self._step.spec.source.topic
        now = self._brokers.topic_id(topic)
        if now != self._topic_id:
            recreated = TopicRecreated(self.name, topic, self._topic_id, now)
            self._give_up(str(recreated))
            raise recreated

    def _on_batch(self, records: DataFrame, batch_id: int) -> None:
        if self._stopping.is_set():
            raise Draining
        try:
            with logs.context(query=self.name, table=self.name, batch_id=batch_id):
                outcome, seconds = self._run_step(records, batch_id)
                try:
                    self._report(outcome, seconds)
                    self._on_commit(self.name, outcome.handover)
                finally:
                    if outcome.handover is not None:
                        outcome.handover.rows.release()
                reach("bronze.before_commit", self.name)
                self._backoff.succeeded()
        except Draining:
            raise
        except Exception:
            # At once, and not when Spark tells of it: a service that stops in between must not say that all went well.
            if self.state != "given up":
                self.state = "failed"
            raise
        finally:
            self.busy_since = None

    def _run_step(self, records: DataFrame, batch_id: int) -> tuple[BatchOutcome, float]:
        """Run the step, and how many seconds it took; wait with the batch in hand where it can not be judged now.

        That is while the schema registry is away, and where a person has to decide. Failing the query and starting it
        again would say `running` and `up` in between, and is a failure to Spark.
        """
        patience = self._patience()
        while True:
            self.busy_since = began = time.monotonic()
            self._take_contract()
            try:
                outcome = self._step.run(records, batch_id)
            except RegistryUnavailable as error:
                if self._once:
                    raise
                # Not busy: a wait is no stalled batch, and a stop need not wait for it.
                self.busy_since = None
                self._wait(str(error), patience)
                if self._stopping.is_set():
                    raise Draining from None
            except Held as error:
                self.busy_since = None
                if self._once:
                    self._give_up(str(error))
                    raise
                self._pause(error)
                if self._stopping.is_set():
                    raise Draining from None
            else:
                if self.state != "running":
                    self._now_runs()
                return outcome, time.monotonic() - began

    def _take_contract(self) -> None:
        contract, self._contract = self._contract, None
        if contract is not None:
            self._step.learner.adopt(contract, self._step.table)
            log.info("contract taken up", contract=contract.name, version=contract.version)

    def _report(self, outcome: BatchOutcome, seconds: float) -> None:
        entry = outcome.entry
        if outcome.skipped:
            self._metrics.batch_skipped(self.name, "bronze", self.name)
            log.info("batch skipped: the table holds it", run_id=entry.run_id)
            return
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
            dropped=entry.dropped,
            seconds=round(seconds, 3),
        )

    def _wait_for_topic(self) -> bool:
        """Wait until the brokers answer and the topic is there; False where the service stops first."""
        patience = self._patience()
        while not self._stopping.is_set():
            missing = self._brokers.missing(self._step.spec.source.topic)
            if missing is None:
                return True
            if self._once and patience.failures >= self._max_restarts:
                self._give_up(missing)
                return False
            self._wait(missing, patience)
        return False

    def _patience(self) -> Backoff:
        return Backoff(self._settings.restart_backoff_seconds, self._settings.restart_backoff_max_seconds)

    def _now_runs(self) -> None:
        self.state, self.problem = "running", ""
        self._metrics.query_state(self.name, up=True)

    def _wait(self, reason: str, patience: Backoff) -> None:
        """Say what is waited for, and wait for a while, or until the service stops."""
        wait = patience.failed()
        self.state, self.problem = "waiting", reason
        self._metrics.query_state(self.name, up=False)
        log.warning("waiting", reason=reason, retry_seconds=wait)
        self._stopping.wait(wait)

    def _pause(self, held: Held) -> None:
        """Say why the batch is held back, and wait until a person has changed something, or the service stops."""
        self.state, self.problem = "paused", str(held)
        self._metrics.query_state(self.name, up=False)
        self._metrics.query_paused(self.name, paused=True)
        log.error("query paused", error=self.problem)
        self._resumed.wait()
        self._resumed.clear()
        self._metrics.query_paused(self.name, paused=False)

    def _give_up(self, problem: str) -> None:
        self.state, self.problem = "given up", problem
        log.error("query given up", error=problem)

    def _failed(self, error: Exception) -> bool:
        """Note the failure and wait; whether to try again."""
        wait = self._backoff.failed()
        self.problem = explain(error)
        self._metrics.query_state(self.name, up=False)
        self._metrics.batch_failed(self.name, "bronze", self.name)
        gives_up = self._backoff.failures > self._max_restarts
        self.state = "given up" if gives_up else "failed"
        log.error("query failed", error=self.problem, attempt=self._backoff.failures, retry_seconds=wait)
        if not isinstance(error, StreamingQueryException):
            log.debug("what failed", error=error)
        if gives_up or self._stopping.is_set():
            return False
        self._metrics.query_restarted(self.name)
        self._stopping.wait(wait)
        return True


def _stop(query: StreamingQuery) -> None:
    with contextlib.suppress(Exception):  # where it ended by itself, or its JVM did
        query.stop()
