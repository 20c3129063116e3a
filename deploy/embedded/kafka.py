"""A Kafka broker: one KRaft node that is its own controller."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy import jars
from deploy.embedded.component import TIMEOUT_SECONDS, Component
from deploy.embedded.java import java_command, write_properties
from deploy.embedded.ports import LOOPBACK, answers

_REQUEST_SECONDS = 10.0


class KafkaBroker(Component):
    """One broker without authentication on 127.0.0.1; `bootstrap` is its address.

    It does not create topics by being asked about them, and does not delete records by age: rates of last
    year are old when they are written. `properties` add to or replace the broker's own.
    """

    name = "kafka"
    port_count = 2

    def __init__(
        self,
        folder: Path,
        *,
        logs: Path | None = None,
        heap_mb: int = 512,
        properties: Mapping[str, str | int] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(folder, logs=logs, timeout_seconds=timeout_seconds)
        self._heap_mb, self._properties = heap_mb, dict(properties or {})

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients; the same after every restart."""
        return f"{LOOPBACK}:{self._port()}"

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create the topics, by name with their number of partitions; one that exists is left as it is."""
        if not partitions:
            return
        admin = self._admin()  # kept in a variable: its futures end with it
        wanted = [NewTopic(topic, num_partitions=n, replication_factor=1) for topic, n in partitions.items()]
        for future in admin.create_topics(wanted, request_timeout=_REQUEST_SECONDS).values():
            try:
                future.result(_REQUEST_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def delete_topics(self, topics: Sequence[str]) -> None:
        """Delete the topics; one that does not exist raises `KafkaException`."""
        admin = self._admin()
        for future in admin.delete_topics(list(topics), request_timeout=_REQUEST_SECONDS).values():
            future.result(_REQUEST_SECONDS)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def _healthy(self) -> bool:
        if not answers(self._port()):
            return False
        try:
            return bool(self._admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _prepare(self) -> Sequence[str]:
        classes = jars.resolve("embedded")
        settings, data = self.folder / "server.properties", self.folder / "data"
        write_properties(settings, self._settings(data) | self._properties)
        if not (data / "meta.properties").exists():
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
            tool = ("format", "--cluster-id", cluster, "--config", str(settings))
            self._run_tool("Kafka's storage tool", java_command("kafka.tools.StorageTool", classes, *tool, heap_mb=128))
        return java_command("kafka.Kafka", classes, str(settings), heap_mb=self._heap_mb)

    def _settings(self, data: Path) -> dict[str, str | int]:
        broker, controller = f"{LOOPBACK}:{self._port(0)}", f"{LOOPBACK}:{self._port(1)}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(data),
            "log.retention.ms": -1,
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # After a SIGKILL the broker is let in again once its old session has ended: 9 s by default.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
        }
