"""Kafka Connect (standalone) with Debezium's PostgreSQL connector."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy import jars
from deploy.embedded.component import TIMEOUT_SECONDS, Component
from deploy.embedded.errors import StartError
from deploy.embedded.excerpt import excerpt
from deploy.embedded.java import boolean, java_command, write_properties
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.postgres import Login

CONNECTOR = "shop"
SLOT = PUBLICATION = "sluice"
_REQUEST_SECONDS = 5.0


@dataclass(frozen=True)
class Capture:
    """What Debezium captures, and in which form it arrives on Kafka.

    `tables` are `schema.table`; the topic of a table is `<topic_prefix>.<schema>.<table>`. With
    `schemas_enable` each message carries Connect's schema envelope. `connector` adds to or replaces the
    connector's settings.
    """

    tables: tuple[str, ...]
    topic_prefix: str = "shop"
    partitions: int = 1
    schemas_enable: bool = False
    heartbeat_ms: int = 1000
    connector: Mapping[str, str | int] | None = None


class KafkaConnect(Component):
    """One Connect worker with one connector; healthy when the connector and its task run.

    It keeps its offsets in a file in its folder, flushed every 0.2 s: after `kill` and `start` it goes on
    from there, and may repeat the events since the last flush.
    """

    name = "connect"

    def __init__(
        self,
        folder: Path,
        *,
        bootstrap: str,
        source: Login,
        capture: Capture,
        logs: Path | None = None,
        heap_mb: int = 384,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(folder, logs=logs, timeout_seconds=timeout_seconds)
        self._bootstrap, self._source, self._heap_mb = bootstrap, source, heap_mb
        self.capture = capture

    @property
    def url(self) -> str:
        """The worker's REST address."""
        return f"http://{LOOPBACK}:{self._port()}"

    def status(self) -> dict[str, object]:
        """The connector's status from the worker's REST interface; empty while that does not answer."""
        worker = http.client.HTTPConnection(LOOPBACK, self._port(), timeout=_REQUEST_SECONDS)
        try:
            worker.request("GET", f"/connectors/{CONNECTOR}/status")
            answer = worker.getresponse()
            found = json.loads(answer.read()) if answer.status == http.client.OK else {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            worker.close()
        return dict(found)

    def _healthy(self) -> bool:
        match self.status():
            case {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]}:
                return True
            case {"connector": {"state": "FAILED", "trace": str(trace)}} | {
                "tasks": [{"state": "FAILED", "trace": str(trace)}]
            }:
                raise StartError(self.name, "has a connector that failed", self.log, excerpt(trace))
        return False

    def _prepare(self) -> Sequence[str]:
        classes = jars.resolve("embedded")
        worker, connector = self.folder / "worker.properties", self.folder / "connector.properties"
        write_properties(worker, self._worker())
        write_properties(connector, self._connector() | dict(self.capture.connector or {}))
        main_class = "org.apache.kafka.connect.cli.ConnectStandalone"
        return java_command(main_class, classes, str(worker), str(connector), heap_mb=self._heap_mb)

    def _worker(self) -> dict[str, str | int]:
        converter = "org.apache.kafka.connect.json.JsonConverter"
        with_schema = boolean(self.capture.schemas_enable)
        return {
            "bootstrap.servers": self._bootstrap,
            "listeners": self.url,
            "plugin.discovery": "service_load",
            "key.converter": converter,
            "key.converter.schemas.enable": with_schema,
            "value.converter": converter,
            "value.converter.schemas.enable": with_schema,
            "offset.storage.file.filename": str(self.folder / "offsets"),
            "offset.flush.interval.ms": 200,
            "task.shutdown.graceful.timeout.ms": 3000,
        }

    def _connector(self) -> dict[str, str | int]:
        capture, source = self.capture, self._source
        return {
            "name": CONNECTOR,
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "tasks.max": 1,
            "database.hostname": source.host,
            "database.port": source.port,
            "database.user": source.user,
            "database.password": source.password,
            "database.dbname": source.database,
            "topic.prefix": capture.topic_prefix,
            "table.include.list": ",".join(capture.tables),
            "plugin.name": "pgoutput",
            "slot.name": SLOT,
            "publication.name": PUBLICATION,
            "publication.autocreate.mode": "filtered",
            "snapshot.mode": "initial",
            "skipped.operations": "none",
            "heartbeat.interval.ms": capture.heartbeat_ms,
            "decimal.handling.mode": "string",
            "tombstones.on.delete": "true",
            "poll.interval.ms": 50,
            # The broker does not make topics by itself, so Connect does.
            "topic.creation.default.partitions": capture.partitions,
            "topic.creation.default.replication.factor": 1,
        }
