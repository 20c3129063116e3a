"""Resets and recoveries against a real broker: whatever was lost or cut short, each offset is held once in the end."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from checkpoints import failpoints
from checkpoints.errors import CheckpointLost, LedgerCutShort, TopicRecreated
from checkpoints.journal import Journal
from checkpoints.planned_batches import PlannedBatches
from checkpoints.requests import Author, Reset
from deploy.embedded.stack import EmbeddedStack
from schemas.loader import load
from schemas.settings import Settings
from streams import bronze
from streams.acts.carry_out import carry_out, plan_of
from streams.acts.errors import NotAnOffset, WouldLose
from streams.acts.resume import resume
from streams.graph import Graph
from streams.horizons import watch_horizons
from streams.lag import lag_of
from streams.metrics import Metrics
from streams.sources import Brokers
from streams.starts import check_query, next_offsets
from tests.support import people
from tests.support.bronze import KAFKA_COLUMNS
from tests.support.tables import lane_records, rows_of

pytestmark = pytest.mark.stack

ADA = Author(who="ada", host="here", command="sluice test")
TABLE = "bronze.visits"
_NAMES = itertools.count()


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


class Query:
    """The query of one topic, its batches driven by hand: what Spark would plan and read, of a given width."""

    def __init__(self, stack: EmbeddedStack, spark: SparkSession, settings: Settings, folder: Path) -> None:
        self.topic = f"visits.{next(_NAMES)}"
        self.kafka = stack.kafka.bootstrap
        stack.create_topics({self.topic: 1})
        self.spark = spark
        self.settings = settings.model_copy(
            update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": self.kafka})}
        )
        self.folder = people.write(folder)
        spec = self.folder / f"tables/{TABLE}.yml"
        spec.write_text(spec.read_text().replace("topic: visits", f"topic: {self.topic}"))
        self.values: list[bytes] = []
        self.start()

    def start(self) -> None:
        """What the service does first."""
        self.graph = Graph.build(load(self.folder), self.settings)
        self.step = self.graph.bronze[TABLE]
        self.step.prepare()
        check_query(self.step)

    def produce(self, *values: bytes, at: Sequence[float] = ()) -> None:
        producer = Producer({"bootstrap.servers": self.kafka})
        for value, millis in itertools.zip_longest(values, at, fillvalue=0):
            producer.produce(self.topic, value=value, timestamp=int(millis))
        assert producer.flush(30) == 0
        self.values += values

    def lag(self) -> dict[int, int] | None:
        """What the service's metric says."""
        brokers = Brokers(self.settings.kafka)
        try:
            return lag_of(self.step, brokers)
        finally:
            brokers.close()

    def retain_from(self, offset: int) -> None:
        """Retention takes what is before."""
        place = TopicPartition(self.topic, 0, offset)
        admin = AdminClient({"bootstrap.servers": self.kafka})  # a temporary one would be destroyed under its request
        admin.delete_records([place])[place].result(30)

    def set_topic(self, values: dict[str, str]) -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.topic, incremental_configs=entries)
        admin = AdminClient({"bootstrap.servers": self.kafka})
        admin.incremental_alter_configs([resource])[resource].result(30)

    def headroom(self, now: datetime) -> tuple[float | None, float | None]:
        """The hours until retention may take what is read next, and those that it has in all, as metrics say."""
        metrics = Metrics.create("test")
        brokers = Brokers(self.settings.kafka)
        watch_horizons(self.graph, brokers, metrics, now)
        brokers.close()
        names = ("sluice_topic_headroom_seconds", "sluice_topic_retention_seconds")
        labels = {"query": TABLE, "topic": self.topic}
        found = (metrics.registry.get_sample_value(name, labels) for name in names)
        headroom, retention = (None if one is None else round(one / 3600, 1) for one in found)
        return headroom, retention

    def batch(self, width: int = 3) -> None:
        """The next batch; as after a crash, where one is planned and was not finished."""
        planned = PlannedBatches(self.step.lake, self.step.checkpoint)
        number = planned.newest()
        if number is None or not planned.is_open(number):
            begin = (self.step.start.offsets or {}).get(0, 0)
            if number is not None:
                begin = planned.offsets(number).end[self.topic][0]
            end = min(begin + width, len(self.values))
            number = 0 if number is None else number + 1
            clock = datetime(2026, 1, 2, 0, 0, number, tzinfo=UTC)
            planned.plan(number, clock, self.topic, {0: end}, {}, {0: begin})
        start, end = (one[self.topic][0] for one in (planned.offsets(number).start, planned.offsets(number).end))
        rows = [(None, self.values[at], self.topic, 0, at, None, None) for at in range(start, end)]
        outcome = self.step.run(self.spark.createDataFrame(rows, KAFKA_COLUMNS), number)
        if outcome.handover is not None:
            outcome.handover.rows.release()
        planned.commit(number)

    def plan(self, to: str, **more: Any) -> str:
        return "\n".join(plan_of(self.graph, self.settings, Reset(table=TABLE, to=to, **more)).lines)

    def reset(self, to: str, **more: Any) -> str:
        """Carry a reset out, and start anew."""
        done = carry_out(self.graph, None, self.settings, Reset(table=TABLE, to=to, **more), ADA)
        self.start()
        return "\n".join(done["plan"])

    def drain(self) -> None:
        for _ in range(1 + len(self.values) // 3):
            if next_offsets(self.step).get(0, 0) < len(self.values):
                self.batch()
        assert next_offsets(self.step) == {0: len(self.values)}

    def held(self) -> list[int]:
        """The offsets that bronze or its lane holds, each as often as it does."""
        rows = [offset for (offset,) in rows_of(self.step.lake.table(TABLE), "_offset")]
        lane = [record["offset"] for record in lane_records(self.step.lake.errors(TABLE))]
        return sorted(rows + lane)

    def place(self, offset: int) -> str:
        """An offset in Spark's JSON."""
        return json.dumps({self.topic: {"0": offset}})

    def lose(self, generation: int) -> None:
        shutil.rmtree(self.step.lake.checkpoint(TABLE, generation))


@pytest.fixture
def query(stack: EmbeddedStack, spark: SparkSession, settings: Settings, tmp_path: Path) -> Query:
    return Query(stack, spark, settings, tmp_path / "pipeline")


def visits(first: int, last: int) -> list[bytes]:
    return [json.dumps({"visit": one, "person": 1, "at": "2026-01-01"}).encode() for one in range(first, last)]


def test_a_checkpoint_that_is_lost_after_a_reset_gets_a_number_that_was_never_used(query: Query) -> None:
    query.produce(*visits(0, 9))
    query.drain()
    query.reset("earliest")
    query.produce(*visits(9, 15))
    query.drain()
    query.produce(*visits(15, 18))

    query.lose(1)  # as of a backup from before the reset: generation 0 is whole
    with pytest.raises(CheckpointLost, match=rf"{TABLE} holds batches up to 4, but .*/g1 has no offsets"):
        query.start()
    query.lose(0)
    with pytest.raises(CheckpointLost, match="/g1 has no offsets"):
        query.start()

    assert "generation 1 -> 2" in query.reset("ledger")
    query.drain()
    assert query.held() == list(range(18))


def test_the_lane_of_a_batch_that_was_never_finished_is_judged_again(
    query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    query.produce(*visits(0, 3), b"broken", *visits(4, 6))
    query.batch()
    rules = failpoints.from_environment({failpoints.VARIABLE: "bronze.before_append=raise"})
    monkeypatch.setattr(bronze, "reach", rules)
    with pytest.raises(failpoints.Failpoint):
        query.batch()
    monkeypatch.undo()
    assert query.held() == [0, 1, 2, 3]  # the lane was written, bronze was not

    query.lose(0)
    assert "is moved aside: it is judged again" in query.reset("ledger")
    query.drain()
    assert query.held() == list(range(6))
    assert list(Path(query.step.lake.root, "_rewound/unfinished/bronze/visits").glob("dt=*/run_id=*/*.json"))


def test_a_checkpoint_that_is_lost_while_it_reads_again_goes_on_where_it_was(query: Query) -> None:
    query.produce(*visits(0, 3))
    assert "3 offsets (0-2) are NOT read" in query.plan("latest")
    query.drain()
    query.produce(*visits(3, 9))
    assert "6 offsets (3-8) are NOT read" in query.reset("latest")
    assert query.lag() == {0: 0}
    query.produce(*visits(9, 12))
    query.drain()
    assert query.held() == [0, 1, 2, 9, 10, 11]

    # What was left out stays left out when nothing else is asked for.
    query.lose(1)
    query.reset("ledger")
    query.drain()
    assert query.held() == [0, 1, 2, 9, 10, 11]

    # Read from the beginning, and cut short before it came to what was left out.
    query.reset("earliest")
    query.batch(4)
    query.lose(3)
    assert "goes on at 4" in query.plan("ledger")
    assert "5 offsets (4-8) are NOT read" in query.plan("latest")
    query.reset("ledger")
    query.drain()
    assert query.held() == list(range(12))


def test_a_table_that_is_an_older_copy_reads_again_what_it_lacks(query: Query) -> None:
    query.produce(*visits(0, 6))
    query.drain()
    query.produce(*visits(6, 9))
    query.reset("latest")
    log = Path(query.step.table.path, "_delta_log")
    sorted(log.glob("*.json"))[-1].unlink()  # without batch 1 of generation 0, offsets 3 to 5

    query.graph = Graph.build(load(query.folder), query.settings)
    query.step = query.graph.bronze[TABLE]
    query.reset("ledger")
    query.drain()
    assert Counter(query.held())[3] == 1
    assert set(range(6)) <= set(query.held())
    assert len(query.held()) == len(set(query.held()))


def test_resets_one_after_the_other_and_of_batches_whose_number_comes_again(query: Query) -> None:
    query.produce(*visits(0, 9))
    query.drain()
    query.reset(query.place(6))
    query.reset("earliest")
    query.reset(query.place(4))
    assert query.step.generation == 3
    query.batch()  # 4 to 6: batch 0 again
    assert "goes on at 4 instead of 7" in query.plan("batch:0")
    assert "goes on at 3 instead of 7" in query.plan("batch:1")
    with pytest.raises(NotAnOffset, match=r"has no batch 3 of this topic\. It has 0 to 2"):
        query.plan("batch:3")
    query.reset("batch:1")
    query.drain()
    assert query.held() == list(range(9))


@pytest.mark.parametrize("to", ["earliest", "latest", "ledger", "1s", "offsets"])
def test_what_retention_took_is_lost_wherever_it_goes_on(query: Query, to: str) -> None:
    query.produce(*visits(0, 3))
    query.drain()
    query.produce(*visits(3, 9))
    query.retain_from(6)
    place = query.place(8) if to == "offsets" else to
    with pytest.raises(WouldLose, match=r"no longer has .*\[0\] offsets 3-5, and"):
        query.plan(place)
    assert "3 offsets (3-5) are LOST" in query.reset(place, accept_loss=True)
    query.drain()
    assert query.held()[:3] == [0, 1, 2]
    assert 3 not in query.held()


def test_offsets_that_lie_beyond_the_topic_are_of_another_one(query: Query) -> None:
    query.produce(*visits(0, 9))
    query.drain()
    query.lose(0)  # and with it the id of the topic
    admin = AdminClient({"bootstrap.servers": query.kafka})
    admin.delete_topics([query.topic])[query.topic].result(30)
    for _ in range(150):
        if query.topic not in admin.list_topics(timeout=5).topics:
            break
        time.sleep(0.2)

    admin.create_topics([NewTopic(query.topic, 1)])[query.topic].result(30)
    query.values = []
    query.produce(*visits(0, 4))
    with pytest.raises(TopicRecreated, match="was read up to 9 and ends at 4"):
        query.plan("ledger")
    query.reset("earliest", accept_topic=True)
    query.drain()
    assert query.held() == sorted([*range(9), *range(4)])


def dies(*_: object) -> None:
    raise SystemExit


def test_a_reset_that_was_done_and_not_told_is_not_done_again(query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    query.produce(*visits(0, 3))
    query.drain()
    query.produce(*visits(3, 6))
    author, request = Author.here("ada"), Reset(table=TABLE, to="latest")
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "done", dies)
        with pytest.raises(SystemExit):
            carry_out(query.graph, None, query.settings, request, author)

    # Meanwhile there is more, which nobody has agreed to leave out.
    query.produce(*visits(6, 9))
    query.start()
    assert not resume(query.graph)
    assert carry_out(query.graph, None, query.settings, request, author)["done"]
    query.start()
    assert query.step.generation == 1
    query.drain()
    assert query.held() == [0, 1, 2, 6, 7, 8]
    assert [act.state for act in Journal(query.graph.lake).acts()] == ["done"]


def test_how_near_retention_is_by_time_and_by_bytes(query: Query) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    hours = [(now - timedelta(hours=one)).timestamp() * 1000 for one in (8, 6, 4)]
    assert query.headroom(now) == (None, None)  # the broker's own setting, for ever
    query.set_topic({"retention.ms": str(10 * 3_600_000)})
    assert query.headroom(now) == (10, 10)
    query.produce(*visits(0, 3), at=hours)
    assert query.headroom(now) == (2, 10)
    query.batch(1)
    assert query.headroom(now) == (4, 10)

    # Two records are left, of which the first was written six hours ago: with room for three, there are three hours.
    size = sum(len(value) for value in query.values[1:]) / 2
    query.set_topic({"retention.bytes": str(int(3 * size))})
    assert query.headroom(now) == (3, 9)
    query.set_topic({"retention.ms": "-1"})
    query.batch(2)
    assert query.headroom(now) == (math.inf, math.inf)
    query.set_topic({"cleanup.policy": "compact"})
    assert query.headroom(now) == (None, None)


def test_a_log_that_was_cut_short_is_no_ledger(query: Query) -> None:
    query.produce(*visits(0, 6))
    query.drain()
    DeltaTable(query.step.table.path).create_checkpoint()
    Path(query.step.table.path, "_delta_log", f"{0:020d}.json").unlink()
    with pytest.raises(LedgerCutShort, match=rf"The log of {TABLE} begins with version 1"):
        query.plan("earliest")
