"""Reading Kafka: the stream of one topic, and what the service asks the brokers about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, TopicDescription  # type: ignore[attr-defined]
from pyspark.sql import DataFrame, SparkSession

from schemas.errors import SluiceError
from schemas.settings import KafkaSettings, Settings
from schemas.spec import BronzeSpec

_REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED)
_NOT_ALLOWED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_ADDRESS = re.compile(r"^\S+/bootstrap: |\(after \d+ms in state \S+\)")
_EARLIEST = -2
"""In Spark's JSON of offsets: from the beginning of the partition."""
_SAMPLE_RECORDS = 100
_SAMPLE_SECONDS = 0.2


def kafka_stream(
    spark: SparkSession, settings: Settings, spec: BronzeSpec, offsets: Mapping[int, int] | None = None
) -> DataFrame:
    """The records of a topic: `key`, `value` BINARY, `topic`, `partition`, `offset`, `timestamp`, `headers`.

    Records of aborted transactions are never seen, and a range that the topic no longer has is an error. A query that
    has no checkpoint yet begins at `offsets`, which name every partition of the topic; without, where its spec says.
    https://spark.apache.org/docs/4.1.1/streaming/structured-streaming-kafka-integration.html
    """
    options = {
        "subscribe": spec.source.topic,
        "startingOffsets": spec.source.starting_offsets if offsets is None else _as_json(spec.source.topic, offsets),
        "maxOffsetsPerTrigger": str(settings.max_offsets_per_trigger),
        "includeHeaders": "true",
        "failOnDataLoss": "true",
        "kafka.isolation.level": "read_committed",
        **{f"kafka.{name}": value for name, value in _java_client(settings.kafka).items()},
    }
    return spark.readStream.format("kafka").options(**options).load()


def read_topic(spark: SparkSession, settings: Settings, topic: str, ranges: Mapping[int, tuple[int, int]]) -> DataFrame:
    """The records of these ranges of a topic, the end of each not included; the same columns."""
    options = {
        "assign": json.dumps({topic: sorted(ranges)}),
        "startingOffsets": _as_json(topic, {one: first for one, (first, _) in ranges.items()}),
        "endingOffsets": _as_json(topic, {one: end for one, (_, end) in ranges.items()}),
        "includeHeaders": "true",
        "failOnDataLoss": "true",
        "kafka.isolation.level": "read_committed",
        **{f"kafka.{name}": value for name, value in _java_client(settings.kafka).items()},
    }
    return spark.read.format("kafka").options(**options).load()


def _as_json(topic: str, offsets: Mapping[int, int]) -> str:
    return json.dumps({topic: {str(partition): offset for partition, offset in sorted(offsets.items())}})


def _java_client(kafka: KafkaSettings) -> dict[str, str]:
    options = {"bootstrap.servers": kafka.bootstrap_servers, "security.protocol": kafka.security_protocol}
    if kafka.sasl_mechanism and kafka.sasl_username and kafka.sasl_password:
        module = (
            "org.apache.kafka.common.security.plain.PlainLoginModule"
            if kafka.sasl_mechanism == "PLAIN"
            else "org.apache.kafka.common.security.scram.ScramLoginModule"
        )
        user, password = (_jaas(text) for text in (kafka.sasl_username, kafka.sasl_password.get_secret_value()))
        options["sasl.mechanism"] = kafka.sasl_mechanism
        options["sasl.jaas.config"] = f"{module} required username={user} password={password};"
    if kafka.ssl_ca_location:
        options["ssl.truststore.type"] = "PEM"
        options["ssl.truststore.location"] = str(kafka.ssl_ca_location)
    return options


def _jaas(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _python_client(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
    }
    if kafka.sasl_mechanism and kafka.sasl_username and kafka.sasl_password:
        options["sasl.mechanism"] = kafka.sasl_mechanism
        options["sasl.username"] = kafka.sasl_username
        options["sasl.password"] = kafka.sasl_password.get_secret_value()
    if kafka.ssl_ca_location:
        options["ssl.ca.location"] = str(kafka.ssl_ca_location)
    return options


@dataclass(frozen=True)
class TopicBounds:
    """What a topic is and has: its id, and by partition the first offset and the one that the next record gets."""

    topic: str
    id: str
    partitions: Mapping[int, tuple[int, int]]

    def first(self, partition: int) -> int:
        """The first offset that the partition still has."""
        return self.partitions[partition][0]

    def end(self, partition: int) -> int:
        """The offset that its next record gets."""
        return self.partitions[partition][1]


@dataclass(frozen=True)
class Retention:
    """How long a topic keeps records, and how many bytes of each partition; None where that is not bounded."""

    seconds: float | None
    bytes: int | None


@dataclass(frozen=True)
class Sample:
    """When a record was written, and the bytes that it and those after it have on average, uncompressed."""

    written: datetime
    mean_bytes: float


class TopicNotRead(SluiceError):
    """The brokers did not say what a topic is or has."""

    def __init__(self, topic: str, servers: str, why: str) -> None:
        self.topic, self.servers, self.why = topic, servers, why
        super().__init__(f"Topic {topic} at {servers} can not be asked: {why}. See `kafka.bootstrap_servers`.")


class Brokers:
    """What the service asks the brokers: whether a topic is there, what it is, and from where to where it reaches."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._options: dict[str, Any] = {
            **_python_client(kafka),
            "log_level": 0,
            "socket.timeout.ms": 5000,
            "error_cb": self._on_error,
        }
        self._servers = kafka.bootstrap_servers
        self._refused = ""
        self._consumer: Consumer | None = None
        self._admin: AdminClient | None = None

    def silence(self, timeout_seconds: float = 3.0) -> str | None:
        """Why the brokers do not answer, as a sentence; None where they do."""
        client = AdminClient(self._options)
        try:
            client.list_topics(timeout=timeout_seconds)
        except KafkaException as error:
            return self._silent(client, error)
        return None

    def missing(self, topic: str, timeout_seconds: float = 5.0) -> str | None:
        """Why a topic can not be read now, as a sentence; None where it can."""
        # Held in a variable: a temporary client would be destroyed under its own request.
        client = AdminClient(self._options)
        try:
            found = client.list_topics(topic, timeout=timeout_seconds).topics.get(topic)
        except KafkaException as error:
            return self._silent(client, error)
        if found is not None and found.error is not None and found.error.code() in _NOT_ALLOWED:
            return f"topic {topic} at {self._servers} may not be read with these credentials"
        if found is None or found.error is not None or not found.partitions:
            return f"topic {topic} does not exist yet"
        return None

    def _silent(self, client: AdminClient, error: KafkaException) -> str:
        """The sentence of an error; where a connection was refused, with the reason that the client has noted."""
        client.poll(0)
        return f"the brokers at {self._servers} do not answer ({self._refused or error.args[0].name()})"

    def _on_error(self, error: KafkaError) -> None:
        """Keep why a connection was refused: what waits for it is only told that there is none."""
        if error.code() in _REFUSALS:
            self._refused = _ADDRESS.sub("", error.str()).strip()

    def end_offsets(self, topic: str, partitions: Mapping[int, int], timeout_seconds: float = 5.0) -> dict[int, int]:
        """Partition -> the offset that the next record will have, for every partition of the topic.

        `partitions` are those already known; new ones are found. Raises KafkaException where the brokers do not answer.
        """
        consumer = self._asking()
        metadata = consumer.list_topics(topic, timeout=timeout_seconds).topics[topic]
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_seconds)[1]
            for partition in sorted({*partitions, *metadata.partitions})
        }

    def bounds(self, topic: str, timeout_seconds: float = 10.0) -> TopicBounds:
        """What a topic is and has now; raises TopicNotRead where the brokers do not answer or it is not there."""
        try:
            described = self._described(topic, timeout_seconds)
            consumer = self._asking()
            found = {
                one.id: consumer.get_watermark_offsets(TopicPartition(topic, one.id), timeout_seconds)
                for one in described.partitions
            }
        except KafkaException as error:
            raise TopicNotRead(topic, self._servers, error.args[0].str()) from error
        return TopicBounds(topic, str(described.topic_id), found)

    def topic_id(self, topic: str, timeout_seconds: float = 10.0) -> str:
        """What a topic is beyond its name; raises TopicNotRead."""
        try:
            return str(self._described(topic, timeout_seconds).topic_id)
        except KafkaException as error:
            raise TopicNotRead(topic, self._servers, error.args[0].str()) from error

    def _described(self, topic: str, timeout_seconds: float) -> TopicDescription:
        if self._admin is None:
            self._admin = AdminClient(self._options)
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_seconds)
        found: TopicDescription = asked[topic].result()
        return found

    def offsets_at(self, bounds: TopicBounds, at: datetime, timeout_seconds: float = 10.0) -> dict[int, int]:
        """Partition -> the first offset whose record is not older than a time; the end where there is none.

        Raises TopicNotRead.
        """
        millis = int(at.timestamp() * 1000)
        asked = [TopicPartition(bounds.topic, partition, millis) for partition in sorted(bounds.partitions)]
        try:
            found = self._asking().offsets_for_times(asked, timeout=timeout_seconds)
        except KafkaException as error:
            raise TopicNotRead(bounds.topic, self._servers, error.args[0].str()) from error
        return {one.partition: one.offset if one.offset >= 0 else bounds.end(one.partition) for one in found}

    def sample(self, topic: str, partition: int, offset: int, timeout_seconds: float = 10.0) -> Sample | None:
        """What the record at an offset, or the next that is there, and some after it are; None where none comes."""
        consumer = Consumer({**self._options, "group.id": "sluice-look", "enable.auto.commit": False})
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            record = consumer.poll(timeout_seconds)
            if record is None or record.error() is not None:
                return None
            more = consumer.consume(_SAMPLE_RECORDS - 1, timeout=_SAMPLE_SECONDS)
            sizes = [len(one.key() or b"") + len(one.value() or b"") for one in (record, *more) if one.error() is None]
            written = datetime.fromtimestamp(record.timestamp()[1] / 1000, UTC)
            return Sample(written, sum(sizes) / len(sizes))
        finally:
            consumer.close()

    def retention(self, topic: str, timeout_seconds: float = 10.0) -> Retention:
        """How long and how much a topic keeps, by its settings; neither is bounded where only compaction takes any.

        Raises KafkaException, also where this user may not ask.
        """
        client = AdminClient(self._options)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        found = client.describe_configs([resource], request_timeout=timeout_seconds)[resource].result()
        if "delete" not in found["cleanup.policy"].value:
            return Retention(None, None)
        millis, size = int(found["retention.ms"].value), int(found["retention.bytes"].value)
        return Retention(None if millis < 0 else millis / 1000, None if size < 0 else size)

    def _asking(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer({**self._options, "group.id": "sluice-lag", "enable.auto.commit": False})
        return self._consumer

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._admin = None
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
