"""The whole embedded stack: a Kafka broker, a schema registry, PostgreSQL, and Debezium between them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from deploy import jars
from deploy.embedded.component import TIMEOUT_SECONDS, Component
from deploy.embedded.connect import SLOT, Capture, KafkaConnect
from deploy.embedded.errors import MissingTablesError, NotRunningError
from deploy.embedded.kafka import KafkaBroker
from deploy.embedded.postgres import DATABASE, PostgreSQL
from deploy.embedded.process import ManagedProcess
from deploy.embedded.registry import EmbeddedRegistry
from deploy.embedded.shop import TABLES

PARTS = ("kafka", "postgresql", "connect", "logs")


class EmbeddedStack:
    """Broker, registry and PostgreSQL from `start` on, Debezium from `start_connect` on, once the tables are there.

    Use it as a context manager. Its data lie in `folder` (default: a new temporary folder), one folder per
    part, its logs in `folder/logs`; all of that is removed at the end unless `keep`. It is stopped at the
    end of the block, and if this program ends in any other way, SIGKILL included, by its guardians.

    `tables` are the tables that Debezium captures, as `schema.table`. The registry is a thread of this program, and may
    be started before the rest.
    """

    def __init__(
        self,
        folder: Path | None = None,
        tables: Sequence[str] = TABLES,
        *,
        keep: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.tables = tuple(tables)
        self._keep, self._timeout_seconds = keep, timeout_seconds
        self._temporary = folder is None
        if folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="sluice-stack-")).resolve()
            self.folder.chmod(0o711)  # PostgreSQL's account passes through
        else:
            self.folder = folder.expanduser().resolve()
            self.folder.mkdir(parents=True, exist_ok=True)
        self.logs = self.folder / "logs"
        self.kafka = KafkaBroker(
            self.folder / "kafka",
            logs=self.logs,
            timeout_seconds=timeout_seconds,
        )
        self.postgres = PostgreSQL(
            self.folder / "postgresql",
            logs=self.logs,
            timeout_seconds=timeout_seconds,
        )
        self.registry = EmbeddedRegistry()
        self._connect: KafkaConnect | None = None
        self._starts: list[Future[None]] = []
        self._janitor = ManagedProcess("janitor", self.logs / "janitor.log", remove_when_orphaned=self._removable())

    @property
    def connect(self) -> KafkaConnect:
        """Connect, once `start_connect` has been called."""
        if self._connect is None:
            raise NotRunningError("Connect", "Create the tables, then call start_connect().")
        return self._connect

    @property
    def pids(self) -> dict[str, tuple[int, ...]]:
        """By part, the running process and its guardian; the janitor is the guardian of the data."""
        named = {part.name: part.pids for part in self._parts()} | {"janitor": self._janitor.pids}
        return {name: pids for name, pids in named.items() if pids}

    def start(self) -> None:
        """Start registry, broker and PostgreSQL, these side by side; none is left if one fails or the user stops."""
        jars.resolve("embedded")
        try:
            self.registry.start()
            # It does nothing; its guardian removes the data if this program is killed.
            self._janitor.start(["tail", "-f", "/dev/null"], cwd=Path("/"), healthy=lambda: True, timeout_seconds=10)
            with ThreadPoolExecutor(2, "sluice-stack") as pool:
                self._starts = [pool.submit(part.start) for part in (self.kafka, self.postgres)]
                try:
                    done, _ = wait(self._starts, return_when=FIRST_EXCEPTION)
                    for start in done:
                        start.result()
                except BaseException:
                    self.kafka.abandon()
                    self.postgres.abandon()
                    raise
        except BaseException:
            self.stop()
            raise

    def start_connect(self, capture: Capture | None = None) -> KafkaConnect:
        """Start Debezium on the tables and return when its connector runs.

        `capture` says more than `tables` does: schema envelope, partitions, settings of the connector. A
        second call starts it again as it was, or with the new capture on the same slot and offsets. Under
        another `topic_prefix` it is another connector, and begins with a slot of its own.
        Errors: `MissingTablesError` for tables that are not there, `StartError`.
        """
        wanted = capture or (self._connect.capture if self._connect else Capture(self.tables))
        self._require_tables(wanted.tables)
        if self._connect is None or self._connect.capture != wanted:
            if self._connect is not None:
                self._connect.stop()
                if self._connect.capture.topic_prefix != wanted.topic_prefix:
                    # On the old slot it would lose what happens from its snapshot on until it had put its tables
                    # into the old publication: PostgreSQL decodes a change by the publication of its time.
                    self.postgres.drop_slot(SLOT)
            self._connect = KafkaConnect(
                self.folder / "connect",
                bootstrap=self.kafka.bootstrap,
                source=self.postgres.replication,
                capture=wanted,
                logs=self.logs,
                timeout_seconds=self._timeout_seconds,
            )
        self._connect.start()
        return self._connect

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create Kafka topics, by name with their number of partitions; one that exists is left as it is."""
        self.kafka.create_topics(partitions)

    def stop(self) -> None:
        """Stop what runs, Connect first, and remove the data unless they are kept; harmless to repeat."""
        with ExitStack() as steps:
            steps.callback(self._janitor.stop)
            steps.callback(self._remove_data)
            # A second Ctrl-C may have cut short the waiting for the starts that the first one called off.
            steps.callback(wait, self._starts)
            for part in self._parts():
                steps.callback(part.stop)
            steps.callback(self.registry.stop)

    def __enter__(self) -> Self:
        """Start the registry, the broker and PostgreSQL."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def _parts(self) -> list[Component]:
        return [self.kafka, self.postgres, *([self._connect] if self._connect else [])]

    def _removable(self) -> list[Path]:
        if self._keep:
            return []
        own = [self.folder] if self._temporary else [self.folder / part for part in PARTS]
        return [*self.postgres.data_elsewhere, *own]

    def _remove_data(self) -> None:
        for path in self._removable():
            shutil.rmtree(path, ignore_errors=True)

    def _require_tables(self, tables: Sequence[str]) -> None:
        with psycopg.connect(self.postgres.admin_dsn) as connection:
            found = connection.execute("SELECT schemaname || '.' || tablename FROM pg_tables").fetchall()
        missing = sorted(set(tables) - {name for (name,) in found})
        if missing:
            raise MissingTablesError(missing, DATABASE)
