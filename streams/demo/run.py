"""The order of the demo: stack and service side by side, traffic, the wait until all is drained, the summary."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from rich.console import Console

from deploy import jars
from deploy.embedded import shop
from deploy.embedded.ports import LOOPBACK, free_ports
from deploy.embedded.stack import EmbeddedStack
from schemas.errors import SluiceError
from schemas.loader import load
from schemas.settings import KafkaSettings, Settings, SparkSettings
from streams import logs
from streams.demo.board import Board
from streams.demo.changes import Seeded, changes
from streams.demo.compare import compare
from streams.demo.sample import star_of
from streams.demo.stopping import Stopped, end_children
from streams.demo.summary import Summary
from streams.demo.tally import tallies
from streams.demo.traffic import Traffic
from streams.demo.view import shown
from streams.demo.watch import LAYERS, Watcher
from streams.graph import Graph
from streams.service import Service
from streams.sources import Brokers

DONE, FAILED = 0, 1
SNAPSHOT_SECONDS = 60.0
FIRST_GOLD_SECONDS = 180.0
DRAIN_SECONDS = 90.0
_STOP_SECONDS = 8.0
_POLL_SECONDS = 0.1
_SEEDED_DAYS = _TRAFFIC_DAYS = 3
PARTITIONS = {"shop.public.customers": 1, "shop.public.products": 1, "shop.public.orders": 1, shop.FX_RATES_TOPIC: 1}


class ServiceEnded(SluiceError):
    """The service ended while the demo still needed it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The service ended before the demo did: {reason}")


class Demo:
    """One run of the demo."""

    def __init__(self, console: Console, *, started: float, seconds: int, rate: int, keep: bool) -> None:
        self._console, self._seconds, self._rate, self._keep = console, seconds, rate, keep
        self._started = started
        self._seeded = Seeded()

    def run(self) -> int:
        """Run to the end; 0 where everything is accounted for. Whatever was started has ended when it returns.

        Raises SluiceError or DeployError where something could not be started.
        """
        jars.resolve("embedded")
        service_jars = jars.resolve("service")
        with ExitStack() as cleanup:
            stack = EmbeddedStack(keep=self._keep)
            cleanup.callback(stack.stop)
            cleanup.enter_context(_logged_to(log := stack.logs / "service.log"))
            # The service needs the broker's address before there is a broker.
            stack.kafka.ports = tuple(free_ports(stack.kafka.port_count))
            settings = demo_settings(stack.folder, service_jars, f"{LOOPBACK}:{stack.kafka.ports[0]}")
            board = Board(self._started, log, seconds=self._seconds)
            try:
                with shown(board, self._console):
                    summary = self._watched(stack, settings, board, cleanup)
            except Stopped:
                self._console.print("Stopping.", highlight=False)
                raise
            summary.print(self._console)
        return FAILED if summary.differences else DONE

    def _watched(self, stack: EmbeddedStack, settings: Settings, board: Board, cleanup: ExitStack) -> Summary:
        """What is watched, in order.

        1. Spark starts while the broker and PostgreSQL start, since both take seconds of a core each.
        2. The shop is seeded, and Debezium reads it.
        3. When its first orders are in gold, the traffic begins.
        4. When the traffic has ended, everything is waited for that is still on its way.
        5. The service is stopped; what lies in the lake then is compared with what was made.
        """
        # 1
        pipeline = load(settings.pipeline)
        service = ServiceThread(Service(settings, pipeline), spared=_children())
        board.service = service.service
        cleanup.callback(service.end, stack)
        board.enter("starting Spark, Kafka and PostgreSQL")
        service.start()
        stack.start()
        # 2
        made = self._seed(stack)
        graph = Graph.build(pipeline, settings)
        watcher = board.watcher = Watcher(graph, Brokers(settings.kafka))
        cleanup.callback(watcher.stop)
        watcher.start()
        board.enter("starting Debezium")
        stack.start_connect()
        board.enter("Debezium reads the shop's tables")
        _until(lambda: watcher.look.ends == made, SNAPSHOT_SECONDS, service)
        board.enter("the first rows are on their way to gold")
        _until(lambda: board.first_gold_seconds is not None, FIRST_GOLD_SECONDS, service)
        # 3
        sequence = changes(self._seeded, datetime.now(UTC).date())
        traffic = board.traffic = Traffic(
            stack.postgres.dsn, stack.kafka.bootstrap, sequence, seconds=self._seconds, rate=self._rate
        )
        cleanup.callback(traffic.stop)
        board.enter("live traffic")
        traffic.start()
        _until(lambda: traffic.has_ended, math.inf, service)
        if traffic.error is not None:
            raise traffic.error
        # 4
        made += traffic.records
        board.enter("waiting for the last changes to arrive")
        look = watcher.look
        drained = _until(lambda: watcher.look.ends == made and watcher.look.lag_is_zero, DRAIN_SECONDS, service)
        look = watcher.look
        problems = [f"{name}: {problem}" for name, problem in board.problems().items()]
        if not drained:
            problems += [f"{one.name} is still {one.lag} behind." for one in look.tables if one.lag != 0]
        # 5
        board.enter("stopping the service")
        if service.stop() != DONE:
            problems.append(f"The service did not end in order; its log is {board.log}, kept with --keep.")
        watcher.stop()
        comparisons = compare(stack.postgres.dsn, graph.tables)
        board.enter("done")
        first_rows = {layer: at for layer in LAYERS if (at := watcher.first_rows_in(layer)) is not None}
        return Summary(
            star=star_of(graph.tables),
            tallies=list(tallies(graph, made=made, broken=traffic.broken, on_topic=look.ends)),
            comparisons=comparisons,
            problems=problems,
            changes=dict(traffic.kinds.most_common()),
            first_rows={layer: at - self._started for layer, at in first_rows.items()},
            lake=graph.lake.root,
            log=str(board.log),
            kept=self._keep,
        )

    def _seed(self, stack: EmbeddedStack) -> Counter[str]:
        """Make the topics and the shop; topic -> the records that this will make."""
        stack.create_topics(PARTITIONS)
        shop.create_tables(stack.postgres.dsn)
        seeded = self._seeded
        shop.seed(stack.postgres.dsn, customers=seeded.customers, products=seeded.products, orders=seeded.orders)
        # Rates for the days of the seeded orders, and for those on which the traffic's orders can be placed.
        today = datetime.now(UTC).date()
        days = [(shop.FIRST_DAY, _SEEDED_DAYS), (today - timedelta(days=1), _TRAFFIC_DAYS)]
        rates = sum(shop.seed_fx_rates(stack.kafka.bootstrap, first=first, days=count) for first, count in days)
        return Counter({**seeded.records, shop.FX_RATES_TOPIC: rates})


class ServiceThread:
    """The service in a thread of its own: signals are the demo's."""

    def __init__(self, service: Service, spared: set[int]) -> None:
        self.service = service
        self._spared = spared
        self._code: int | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def require(self) -> None:
        """Raise what ended the service, if it has ended."""
        if self._thread.is_alive():
            return
        if isinstance(self._error, SluiceError):
            raise self._error
        raise ServiceEnded(str(self._error or f"exit code {self._code}"))

    def stop(self) -> int:
        """Drain it, and wait for its end; its exit code, 1 where it has none."""
        self.service.stop()
        self._thread.join(_STOP_SECONDS)
        return FAILED if self._code is None else self._code

    def end(self, stack: EmbeddedStack) -> None:
        """Stop it if it runs, and end Spark's JVM, which would live on to the end of this process."""
        if self._thread.ident is not None:
            self.stop()
        end_children(self._spared.union(*stack.pids.values()))

    def _run(self) -> None:
        try:
            self._code = self.service.run()
        except Exception as error:  # noqa: BLE001 - it is raised again where the demo waits for the service
            self._error = error


def demo_settings(folder: Path, jars_dir: Path, bootstrap: str) -> Settings:
    """The service's settings: everything in one folder, few partitions, short waits."""
    return Settings(
        lake=str(folder / "lake"),
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        jars_dir=jars_dir,
        metrics_port=0,
        trigger_seconds=0.5,
        drain_seconds=5.0,
        restart_backoff_seconds=0.2,
        restart_backoff_max_seconds=0.5,
        spark=SparkSettings(
            driver_memory="2g",
            shuffle_partitions=2,
            conf={
                "spark.local.dir": str(folder / "spark"),
                "spark.sql.warehouse.dir": str(folder / "spark" / "warehouse"),
            },
        ),
    )


def _until(condition: Callable[[], bool], seconds: float, service: ServiceThread) -> bool:
    """Wait for the condition; False where it did not come true in time. Raises where the service has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        service.require()
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """Send the log to a file instead of standard error, where it would write over the view."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file, contextlib.redirect_stderr(file):
        logs.configure("INFO", "json")
        try:
            yield
        finally:
            # A thread that ends late must not write to the terminal.
            logging.getLogger().handlers = [logging.NullHandler()]


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}
