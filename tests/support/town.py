"""A town whose truth is kept in plain Python: people and visits go to real topics, and every table is held against it.

What is made is a seeded mix of inserts, updates, deletes, re-inserts, copies, late visits and broken records.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from confluent_kafka import Consumer, Producer, TopicPartition
from deltalake import DeltaTable

from checkpoints.lake import Lake
from deploy.embedded.stack import EmbeddedStack
from tests.support import people
from tests.support.bronze import change
from tests.support.moto import Moto
from tests.support.service import ServiceProcess, free_port
from tests.support.tables import lane_records, rows_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PARTITIONS = 2


@dataclass
class Findings:
    """What a look at everything found; `records` are on the topics."""

    records: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Town:
    """One lake, two topics of its own, and the service over them."""

    stack: EmbeddedStack
    folder: Path
    jars: Path
    name: str
    seed: int = 0
    root: str = ""
    """Where the lake is, if not in the folder."""
    store: Moto | None = None
    more: dict[str, str] = field(default_factory=dict)
    """Settings of its services beside those that every town has."""
    people: dict[int, tuple[str | None, str | None]] = field(default_factory=dict)
    history: dict[int, list[tuple[datetime, str | None]]] = field(default_factory=dict)
    visits: dict[int, tuple[int, datetime]] = field(default_factory=dict)
    lsn: int = 0
    backfills: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.topics = {"bronze.people": self.people_topic, "bronze.visits": f"visits.{self.name}"}
        pipeline = people.write(self.folder / "pipeline")
        for table, before in (("bronze.people", "db.people"), ("bronze.visits", "topic: visits")):
            file = pipeline / "tables" / f"{table}.yml"
            after = self.topics[table] if table == "bronze.people" else f"topic: {self.topics[table]}"
            file.write_text(file.read_text().replace(before, after))
        self.create_topics()
        self.service = self.new_service("service.log")

    @property
    def people_topic(self) -> str:
        return f"people.{self.name}"

    def create_topics(self) -> None:
        self.stack.create_topics(dict.fromkeys(self.topics.values(), PARTITIONS))

    def new_service(self, log: str) -> ServiceProcess:
        """A service over this lake; several may be made, and one can run."""
        settings = {
            "lake": self.root or str(self.folder / "lake"),
            "pipeline": str(self.folder / "pipeline"),
            "kafka.bootstrap_servers": self.stack.kafka.bootstrap,
            "jars_dir": str(self.jars),
            "s3_jars_dir": str(self.jars.with_name("s3")),
            "metrics_port": str(free_port()),
            "trigger_seconds": "0.3",
            "restart_backoff_seconds": "0.2",
            "restart_backoff_max_seconds": "1",
            "lease_seconds": "6",
            "spark.driver_memory": "1g",
            "spark.shuffle_partitions": "2",
            **self.more,
        }
        return ServiceProcess(settings, self.folder / log)

    def set(self, name: str, value: str) -> None:
        """Change a setting: of every service and command that starts from now on."""
        self.more[name] = value
        self.service.settings = {**self.service.settings, name: value}

    @property
    def lake(self) -> Lake:
        return Lake.at(self.service.settings["lake"])

    def live(self, steps: int) -> None:
        """So much happens in the town, and is on the topics afterwards."""
        producer = Producer({"bootstrap.servers": self.stack.kafka.bootstrap})
        for _ in range(steps):
            self._step(producer)
        assert producer.flush(60) == 0

    def send(self, producer: Producer, table: str, key: int, record: Any) -> None:
        value = record if isinstance(record, bytes) else json.dumps(record).encode()
        # By key: what happens to one person is in one partition, in order, as Debezium sends it.
        producer.produce(self.topics[table], key=str(key), value=value, partition=key % PARTITIONS)
        if self.random.random() < 0.05:
            producer.produce(self.topics[table], key=str(key), value=value, partition=key % PARTITIONS)
        producer.poll(0)

    def _step(self, producer: Producer) -> None:
        self.lsn += 1
        now = BEGIN + timedelta(seconds=self.lsn)
        number = self.random.randrange(1, 40)
        dice = self.random.random()
        if dice < 0.55:
            self._happens(producer, number, dice)
            return
        visit = self.random.randrange(1, 400)
        at = now - timedelta(seconds=self.random.randrange(0, 50))
        self.send(
            producer,
            "bronze.visits",
            visit,
            {"visit": visit, "person": number, "at": at.strftime("%Y-%m-%d %H:%M:%S")},
        )
        self.visits[visit] = (number, at)

    def _happens(self, producer: Producer, number: int, dice: float) -> None:
        """Something happens to a person: the event is on its topic, or a broken one is."""
        millis = int((BEGIN + timedelta(seconds=self.lsn)).timestamp() * 1000)
        if dice < 0.05:
            producer.produce(self.topics["bronze.people"], value=b'{"op": "c", broken', partition=number % PARTITIONS)
        elif dice < 0.15 and number in self.people:
            self.send(producer, "bronze.people", number, change("d", None, self.lsn, millis, {"id": number}))
            del self.people[number]
        else:
            name = self.random.choice(["ada", "bob", "cem", "dee", None])
            city = self.random.choice(["Ulm", "Jena", None])
            op = "u" if number in self.people else "c"
            row = people.person(number, name, city)
            self.send(producer, "bronze.people", number, change(op, row, self.lsn, millis))
            self.people[number] = (name.upper() if name else None, city)

    def settle(self) -> None:
        """Wait until all that has happened is on the topics; here it is."""

    def check(self) -> None:
        """Every table is what the town is, and every record is accounted for once."""
        found = self.look()
        assert (found.lost, found.doubled, found.wrong) == ([], [], [])

    def look(self) -> Findings:
        """What is not as it should be; by readers that are not Sluice's."""
        found = Findings()
        for table, topic in self.topics.items():
            rows = rows_of(self.lake.table(table), "_topic", "_partition", "_offset")
            records = lane_records(self.lake.errors(table))
            places = [(partition, offset) for of, partition, offset in rows if of == topic]
            lane = [(one["partition"], one["offset"]) for one in records if one["topic"] == topic]
            there, counted = self.offsets(topic), Counter([*places, *lane])
            found.records += len(there)
            found.lost += [f"{topic}{place}" for place in sorted(there - set(counted))]
            found.doubled += [f"{topic}{place}" for place, times in counted.items() if times > 1]
            found.wrong += [f"{table}: of nowhere {place}" for place in sorted(set(counted) - there)]
        per_person = Counter(person for person, _ in self.visits.values())
        wanted: dict[str, tuple[list[tuple[Any, ...]], tuple[str, ...]]] = {
            "silver.people": ([(one, *row) for one, row in self.people.items()], ("id", "name", "city")),
            "silver.visits": ([(one, *row) for one, row in self.visits.items()], ("visit", "person", "at")),
            "gold.visits_per_person": (list(per_person.items()), ("person", "visits")),
            "gold.fact_visits": ([(one, person) for one, (person, _) in self.visits.items()], ("visit", "id")),
        }
        for table, (rows, columns) in wanted.items():
            held = rows_of(self.lake.table(table), *columns)
            if held != sorted(rows, key=repr):
                found.wrong.append(f"{table}: {sorted(set(held) ^ set(rows), key=repr)[:5]}")
        found.wrong += self._wrong_versions()
        return found

    def _wrong_versions(self) -> list[str]:
        """The versions of a person: one after the other, without a gap or an overlap, the last one open."""
        connection = duckdb.connect()
        connection.register("versions", DeltaTable(self.lake.table("gold.dim_person")).to_pyarrow_table())
        rows = connection.execute(
            "SELECT id, valid_to, lead(valid_from) OVER (PARTITION BY id ORDER BY valid_from), is_current, name "
            "FROM versions"
        ).fetchall()
        wrong = [
            f"gold.dim_person: {number}"
            for number, valid_to, after, is_current, _ in rows
            if (after is not None and (valid_to is None or valid_to > after)) or is_current != (valid_to is None)
        ]
        current = {number: name for number, _, _, is_current, name in rows if is_current}
        alive = {number: name for number, (name, _) in self.people.items()}
        return wrong + [f"gold.dim_person: {one}" for one in sorted(current.items() ^ alive.items(), key=repr)]

    def offsets(self, topic: str) -> set[tuple[int, int]]:
        """Every (partition, offset) of a topic that has a value, read from the broker."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.stack.kafka.bootstrap,
                "group.id": "town",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        ends = {
            one: consumer.get_watermark_offsets(TopicPartition(topic, one), 10)
            for one in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        }
        consumer.assign([TopicPartition(topic, one, first) for one, (first, end) in ends.items() if end > first])
        left = {one for one, (first, end) in ends.items() if end > first}
        found = set()
        while left:
            record = consumer.poll(10)
            assert record is not None
            if record.error() is not None:
                left.discard(record.partition())
            elif record.value() is not None:  # a tombstone is a counted drop, which the audit counts
                found.add((record.partition(), record.offset()))
        consumer.close()
        return found

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every table below bronze, whole."""
        return {
            name: rows_of(self.lake.table(name))
            for name in people.SPECS
            if not name.startswith("bronze.") and DeltaTable.is_deltatable(self.lake.table(name))
        }

    def sluice(self, *arguments: str, code: int = 0) -> str:
        """Run a command; what it printed."""
        done = self.service.command(*arguments)
        printed = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == code, printed
        assert "Traceback" not in printed, printed
        return " ".join(printed.split())
