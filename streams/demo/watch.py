"""What there is to see while the demo runs: rows, lag and outcomes per table, read from the lake and the brokers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from deltalake.exceptions import DeltaError

from checkpoints import ledger
from checkpoints.errors import UnreadableOffsets
from sinks.table import Table
from streams import logs
from streams.graph import Graph
from streams.sources import Brokers
from streams.status import status_of

log = logs.get(__name__)

LAYERS = ("bronze", "silver", "gold")
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Outcomes:
    """What became of the records that a bronze table has read, by its ledger."""

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class TableLook:
    """One table: its rows, how far it is behind (None if not known), how long ago its last commit was."""

    name: str
    rows: int
    lag: int | None
    age_seconds: float | None
    outcomes: Outcomes | None

    @property
    def layer(self) -> str:
        """bronze, silver or gold."""
        return self.name.split(".")[0]


@dataclass(frozen=True)
class Look:
    """Everything at one moment; `ends` are the records that the brokers hold, by topic."""

    tables: tuple[TableLook, ...] = ()
    ends: dict[str, int] = field(default_factory=dict)

    @property
    def behind(self) -> list[TableLook]:
        """The tables that have not consumed all that their upstreams hold, or of which that is not known."""
        return [one for one in self.tables if one.lag != 0]

    def is_drained(self, made: Mapping[str, int]) -> bool:
        """Whether these records are on the topics, and every table has consumed all that its upstreams hold."""
        return self.ends == made and not self.behind

    def of_layer(self, layer: str) -> list[TableLook]:
        """The tables of a layer."""
        return [one for one in self.tables if one.layer == layer]


class LedgerSums:
    """The sums of a bronze table's ledger; only what was committed since the last time is read."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._sums: Counter[str] = Counter()
        self._version = 0

    def outcomes(self) -> Outcomes:
        """The sums up to the newest version."""
        if not self._table.exists:
            return Outcomes()
        handle = self._table.handle()
        newest = int(handle.version())
        if newest > self._version:
            for version, entry in ledger.entries(handle, newest - self._version):
                if version > self._version:
                    self._add(entry)
            self._version = newest
        return Outcomes(**self._sums)

    def _add(self, entry: ledger.LedgerEntry) -> None:
        self._sums["read"] += entry.read
        self._sums["accepted"] += entry.accepted
        self._sums["rejected"] += entry.rejected
        self._sums["dropped"] += sum(entry.dropped.values())


class Watcher:
    """Looks twice a second, in a thread of its own and with table handles of its own: the service never waits for it.

    `look` is the newest look; `first_rows` says when each table got its first rows, in seconds since the epoch.
    """

    def __init__(self, graph: Graph, brokers: Brokers) -> None:
        self.look = Look()
        self.first_rows: dict[str, float] = {}
        self._graph, self._brokers = graph, brokers
        self._sums = {name: LedgerSums(graph.tables[name]) for name in graph.bronze}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self.look = self._now()
            except (DeltaError, KafkaException, UnreadableOffsets, OSError) as error:
                # A look can meet a table or broker that is just being made; the next one will not.
                log.debug("could not look", error=error)

    def _now(self) -> Look:
        topics = [step.spec.source.topic for step in self._graph.bronze.values()]
        ends = {topic: sum(self._brokers.end_offsets(topic, {}).values()) for topic in topics}
        tables = []
        for status in status_of(self._graph, self._brokers):
            if status.rows and status.table not in self.first_rows:
                self.first_rows[status.table] = time.time() - (status.age_seconds or 0.0)
            sums = self._sums.get(status.table)
            tables.append(
                TableLook(
                    name=status.table,
                    rows=status.rows or 0,
                    lag=status.lag if status.version is not None else None,
                    age_seconds=status.age_seconds,
                    outcomes=sums.outcomes() if sums else None,
                )
            )
        return Look(tuple(tables), ends)
