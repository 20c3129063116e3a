"""The demo in its order: stack and service side by side, traffic, the wait until all is drained, the summary."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from rich.console import Console

from deploy import jars
from deploy.embedded import behavior, shop
from deploy.embedded.behavior import BEHAVIOR_TOPIC, BehaviorEvent, Encode
from deploy.embedded.ports import LOOPBACK, free_ports
from deploy.embedded.stack import EmbeddedStack
from schemas.loader import load
from streams.demo.board import Board
from streams.demo.changes import Seeded, changes
from streams.demo.compare import compare
from streams.demo.sample import star_of
from streams.demo.service_thread import ServiceThread, demo_settings, logged_to
from streams.demo.stopping import Stopped
from streams.demo.summary import Summary
from streams.demo.tally import tallies
from streams.demo.traffic import Traffic
from streams.demo.view import shown
from streams.demo.watch import Watcher
from streams.graph import Graph
from streams.sources import Brokers
from streams.stacks import log_stacks

DONE, FAILED = 0, 1
SNAPSHOT_SECONDS = 60.0
FIRST_GOLD_SECONDS = 180.0
DRAIN_SECONDS = 90.0
_POLL_SECONDS = 0.1
_SEEDED_DAYS = _TRAFFIC_DAYS = 3


class Demo:
    """One run of the demo; `started` is when the user started it, in seconds since the epoch."""

    def __init__(self, console: Console, *, started: float, seconds: int, rate: int, keep: bool) -> None:
        self._console, self._started = console, started
        self._seconds, self._rate, self._keep = seconds, rate, keep

    def run(self) -> int:
        """Run to the end; 0 where everything is accounted for. What it started has ended when it returns.

        Raises SluiceError or DeployError where something could not be started.
        """
        with ExitStack() as cleanup:
            stack = EmbeddedStack(keep=self._keep)
            cleanup.callback(stack.stop)
            cleanup.enter_context(logged_to(log := stack.logs / "service.log"))
            board = Board(self._started, log, seconds=self._seconds)
            try:
                with shown(board, self._console):
                    summary = self._watched(stack, board, cleanup)
            except Stopped:
                self._console.print("Stopping.", highlight=False)
                raise
            summary.print(self._console)
        return FAILED if summary.differences else DONE

    def _watched(self, stack: EmbeddedStack, board: Board, cleanup: ExitStack) -> Summary:
        """What is watched, in its order.

        1. Spark starts while the broker and PostgreSQL do: its JVM takes longest.
        2. The shop is seeded, and Debezium reads it.
        3. When its first orders are in gold, the traffic begins.
        4. When the traffic has ended, everything is waited for that is still on its way.
        5. The service is stopped, and what then lies in the lake is compared with what was made.
        """
        # 1
        board.phase = "looking for the jars"
        jars.resolve("embedded")
        # The service wants the addresses of broker and registry before there is a broker.
        stack.kafka.ports = tuple(free_ports(stack.kafka.port_count))
        bootstrap = f"{LOOPBACK}:{stack.kafka.ports[0]}"
        stack.registry.start()
        settings = demo_settings(stack.folder, jars.resolve("service"), bootstrap, stack.registry.url)
        pipeline = load(settings.pipeline)
        service = ServiceThread(settings, pipeline)
        board.service = service.service
        cleanup.callback(service.end, stack)
        board.phase = "starting Spark, Kafka and PostgreSQL"
        service.start()
        stack.start()
        # 2
        seeded = Seeded()
        encode = behavior.encoder(stack.registry.url)
        made, events = _seed(stack, seeded, encode)
        graph = Graph.build(pipeline, settings, decodes=False)
        watcher = board.watcher = Watcher(graph, Brokers(settings.kafka))
        cleanup.callback(watcher.stop)
        watcher.start()
        board.phase = "starting Debezium"
        stack.start_connect()
        board.phase = "Debezium reads the shop's tables"
        _until(lambda: watcher.look.ends == made, SNAPSHOT_SECONDS, service)
        board.phase = "the first rows are on their way to gold"
        _until(lambda: board.first_gold_seconds is not None, FIRST_GOLD_SECONDS, service)
        # 3
        sequence = changes(seeded, datetime.now(UTC), encode)
        traffic = Traffic(stack.postgres.dsn, bootstrap, sequence, seconds=self._seconds, rate=self._rate)
        cleanup.callback(traffic.stop)
        board.traffic = traffic
        board.phase = "live traffic"
        traffic.start()
        _until(lambda: traffic.has_ended, math.inf, service)
        if traffic.error is not None:
            raise traffic.error
        # 4
        made.update(traffic.records)
        board.phase = "waiting for the last changes to arrive"
        drained = _until(lambda: watcher.look.is_drained(made), DRAIN_SECONDS, service)
        look, problems = watcher.look, [f"{name}: {problem}" for name, problem in board.problems().items()]
        if not drained:
            log_stacks("the last changes did not arrive")
            problems += [f"{one.name}: still {one.lag} behind after {DRAIN_SECONDS:.0f} s." for one in look.behind]
        # 5
        board.phase = "stopping the service"
        if not service.stop():
            problems.append("The service did not end in order; run the demo with --keep to keep its log.")
        board.service_has_ended = True
        watcher.stop()
        events.update({one.event_id: one for one in traffic.events})
        comparisons = compare(stack.postgres.dsn, events.values(), graph.tables)
        board.phase = "done"
        return Summary(
            star=star_of(graph.tables),
            tallies=list(tallies(graph, made=made, broken=traffic.broken, on_topic=look.ends)),
            comparisons=comparisons,
            problems=problems,
            changes=dict(traffic.kinds.most_common()),
            first_rows={name: at - self._started for name, at in watcher.first_rows.items()},
            lake=graph.lake.root,
            log=str(board.log),
            kept=self._keep,
        )


def _seed(stack: EmbeddedStack, seeded: Seeded, encode: Encode) -> tuple[Counter[str], dict[str, BehaviorEvent]]:
    """Make the topics and the shop; topic -> the records that come of it, and the events by their ids."""
    stack.create_topics(dict.fromkeys((*seeded.records, shop.FX_RATES_TOPIC, BEHAVIOR_TOPIC), 1))
    shop.create_tables(stack.postgres.dsn)
    shop.seed(stack.postgres.dsn, customers=seeded.customers, products=seeded.products, orders=seeded.orders)
    # Rates for the days of the seeded orders, and for those on which the traffic's orders can be placed.
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days = ((shop.FIRST_DAY, _SEEDED_DAYS), (yesterday, _TRAFFIC_DAYS))
    rates = sum(shop.seed_fx_rates(stack.kafka.bootstrap, first=first, days=count) for first, count in days)
    events = behavior.seed_behavior(
        stack.kafka.bootstrap,
        encode,
        customers=seeded.customers,
        products=seeded.products,
        events=seeded.events,
    )
    made = Counter({**seeded.records, shop.FX_RATES_TOPIC: rates, BEHAVIOR_TOPIC: len(events)})
    return made, {one.event_id: one for one in events}


def _until(condition: Callable[[], bool], seconds: float, service: ServiceThread) -> bool:
    """Wait for the condition; False where it did not come true in time. Raises where the service has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        service.require()
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
