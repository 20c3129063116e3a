"""A town whose people live in PostgreSQL and reach their topic by Debezium; what the database has is the truth."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.embedded.connect import Capture
from tests.support.town import Town

MARKER = 0
_SETTLE_SECONDS = 120.0


@dataclass
class DatabaseTown(Town):
    """The same town; `settle` waits until all that happened in the database is on its topic."""

    marks: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        contract = self.folder / "pipeline/contracts/people.schema.json"
        described = json.loads(contract.read_text())
        del described["properties"]["home"]
        described["properties"]["city"] = {"type": ["string", "null"]}
        contract.write_text(json.dumps(described))
        spec = self.folder / "pipeline/tables/silver.people.yml"
        spec.write_text(spec.read_text().replace("after.home.city", "after.city"))
        self.database = psycopg.connect(self.stack.postgres.dsn, autocommit=True)
        self.database.execute("DROP TABLE IF EXISTS people")
        self.database.execute("CREATE TABLE people (id integer PRIMARY KEY, name text, city text)")
        self.stack.start_connect(Capture(("public.people",), topic_prefix=self.name))

    @property
    def people_topic(self) -> str:
        return f"{self.name}.public.people"

    def create_topics(self) -> None:
        super().create_topics()
        self.stack.create_topics({self.people_topic: 1})

    def _happens(self, producer: Producer, number: int, dice: float) -> None:
        """Something happens to a person, in one transaction."""
        if dice < 0.05:
            producer.produce(self.topics["bronze.people"], value=b'{"op": "c", broken', partition=0)
        elif dice < 0.15 and number in self.people:
            self.database.execute("DELETE FROM people WHERE id = %s", (number,))
            del self.people[number]
        elif dice < 0.20 and number in self.people and number + 100 not in self.people:
            self.database.execute("UPDATE people SET id = %s WHERE id = %s", (number + 100, number))
            self.people[number + 100] = self.people.pop(number)
        else:
            name = self.random.choice(["ada", "bob", "cem", "dee", None])
            city = self.random.choice(["Ulm", "Jena", None])
            self._put(number, name, city)

    def _put(self, number: int, name: str | None, city: str | None) -> None:
        self.database.execute(
            "INSERT INTO people VALUES (%s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, city = excluded.city",
            (number, name, city),
        )
        self.people[number] = (name.upper() if name else None, city)

    def settle(self) -> None:
        self.marks += 1
        name = f"m{self.marks}"
        self._put(MARKER, name, None)
        settings = {
            "bootstrap.servers": self.stack.kafka.bootstrap,
            "group.id": "settle",
            "enable.auto.commit": False,
        }
        consumer = Consumer(settings)
        _, end = consumer.get_watermark_offsets(TopicPartition(self.people_topic, 0), 10)
        consumer.assign([TopicPartition(self.people_topic, 0, max(0, end - 200))])
        deadline = time.monotonic() + _SETTLE_SECONDS
        try:
            while time.monotonic() < deadline:
                record = consumer.poll(1)
                if record is not None and record.error() is None and f'"{name}"'.encode() in (record.value() or b""):
                    return
        finally:
            consumer.close()
        raise AssertionError(f"what happened in the database is not on {self.people_topic}")
