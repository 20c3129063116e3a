"""The order of the demo: stack and service side by side, traffic, the wait until all is drained, the summary."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
from streams.demo.stopping import no_child_left
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
_PARTITIONS = {"shop.public.customers": 1, "shop.public.products": 1, "shop.public.orders": 1, shop.FX_RATES_TOPIC: 1}


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
        self._made: Counter[str] = Counter()
        self._service_error: BaseException | None = None
        self._service_code: int | None = None

    def run(self) -> int:
        """Run to the end; 0 where everything is accounted for. Whatever was started has ended when it returns.

        Raises SluiceError or DeployError where something could not be started.
        """
        jars.resolve("embedded")
        service_jars = jars.resolve("service")
        with ExitStack() as cleanup:
            stack = EmbeddedStack(keep=self._keep)
            cleanup.callback(stack.stop)
            cleanup.enter_context(no_child_left())
            log = stack.logs / "service.log"
            cleanup.enter_context(_logged_to(log))
            # The service needs the broker's address before there is a broker.
            stack.kafka.ports = tuple(free_ports(stack.kafka.port_count))
            settings = demo_settings(stack.folder, service_jars, f"{LOOPBACK}:{stack.kafka.ports[0]}")
            board = Board(self._started, log, seconds=self._seconds)
            with shown(board, self._console):
                summary = self._watch_over(stack, settings, board, cleanup)
        summary.print(self._console)
        return FAILED if summary.differences else DONE
