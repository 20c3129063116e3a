"""The ways back on real parts: what is lost, damaged or asked for, and every table whole again at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, OffsetSpec
from deltalake import DeltaTable

from checkpoints import failpoints
from checkpoints.journal import Journal
from deploy.embedded.stack import EmbeddedStack
from tests.support.service import ServiceProcess, is_drained
from tests.support.tables import lane_records, rows_of
from tests.support.town import Town

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


@pytest.fixture
def town(stack: EmbeddedStack, service_jars: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Town]:
    made = Town(stack, tmp_path, service_jars, f"{abs(hash(request.node.name)):x}")
    yield made
    stop(made.service)


def stop(service: ServiceProcess) -> None:
    if service.process is not None and service.process.poll() is None:
        os.killpg(service.process.pid, signal.SIGCONT)
        service.kill()


def once(town: Town) -> None:
    assert town.service.run_to_end("--once") == 0, town.service.log.read_text()[-3000:]


def generations(town: Town, query: str) -> list[str]:
    return sorted(one.name for one in Path(town.lake.root, "_checkpoints", query).iterdir())


def killed_with_a_reject_in_hand(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is becomes a batch; the next one is in the lane, and not in the table, when the service dies."""
    monkeypatch.setenv(failpoints.VARIABLE, "bronze.before_append[bronze.people]=kill@2")
    town.service.start()
    town.service.wait_for(is_drained, "all is read")
    producer = Producer({"bootstrap.servers": town.stack.kafka.bootstrap})
    producer.produce(town.topics["bronze.people"], value=b"broken", partition=0)
    assert producer.flush(30) == 0
    assert town.service.process is not None
    assert town.service.process.wait(240) == -signal.SIGKILL
    monkeypatch.delenv(failpoints.VARIABLE)


def test_a_lost_checkpoint_is_refused_and_recovered_from_the_ledger(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.live(120)
    killed_with_a_reject_in_hand(town, monkeypatch)
    town.live(60)
    shutil.rmtree(Path(town.lake.root, "_checkpoints/bronze.people"))

    said = town.sluice("run", "--once", code=1)
    assert "`sluice checkpoints recover bronze.people`" in said
    assert "has no offsets" in town.sluice("checkpoints", "show", code=1)
    plan = town.sluice("checkpoints", "recover", "bronze.people", "--dry-run")
    assert "generation 0 -> 1" in plan
    assert generations(town, "bronze.visits") == ["g0"]
    town.sluice("checkpoints", "recover", "bronze.people", "--yes")
    once(town)

    town.check()
    town.sluice("audit")
    town.sluice("verify")
    assert "g1" in generations(town, "bronze.people")


def test_a_batch_that_was_cut_short_goes_back_with_its_table(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.live(60)
    once(town)
    time.sleep(1.1)
    cut = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    town.live(60)
    killed_with_a_reject_in_hand(town, monkeypatch)
    assert "generation 1 reads" in town.sluice("rewind", "--to", cut, "--yes")
    once(town)
    town.check()
    town.sluice("audit")

    # And what was, is again: the records that were rejected then are where they were.
    [act] = Journal(town.lake).acts()
    town.sluice("rewind", "--to", f"act:{act.id[:8]}", "--yes")
    once(town)
    town.check()
    town.sluice("audit")
    town.sluice("verify")


def test_a_redrive_goes_back_with_its_table_and_todays_contract_judges_what_is_read_again(town: Town) -> None:
    contract = town.folder / "pipeline/contracts/visits.schema.json"
    wide = contract.read_text()
    narrow = json.loads(wide)
    narrow["properties"]["at"]["maxLength"] = len("2026-01-01 00:00:00")
    contract.write_text(json.dumps(narrow))
    redrive = ("errors", "redrive", "--table", "bronze.visits", "--yes")

    def visit(number: int) -> None:
        producer = Producer({"bootstrap.servers": town.stack.kafka.bootstrap})
        town.send(producer, "bronze.visits", number, {"visit": number, "person": 1, "at": "2026-01-01 00:00:00.000"})
        assert producer.flush(30) == 0
        once(town)

    def late_visits() -> list[int]:
        return [number for (number,) in rows_of(town.lake.table("gold.fact_visits"), "visit") if number >= 5000]

    town.live(40)
    visit(5000)
    time.sleep(1.1)
    cut = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    before = town.tables()
    visit(5001)
    contract.write_text(wide)
    town.sluice(*redrive)
    once(town)
    after = town.tables()
    assert late_visits() == [5000, 5001]

    # The one that was rejected before is open again, the one that was so later is read again.
    town.sluice("rewind", "--to", cut, "--yes")
    assert town.tables() == before
    once(town)
    assert late_visits() == [5001]
    town.sluice("audit")
    town.sluice(*redrive)
    once(town)
    assert town.tables() == after
    town.sluice("audit")
    town.sluice("verify")

    # Where the rewind is undone, both are there as they were.
    [act] = [one for one in Journal(town.lake).acts() if one.action.action == "rewind"]
    town.sluice("rewind", "--to", f"act:{act.id[:8]}", "--yes")
    once(town)
    assert town.tables() == after
    town.sluice("audit")


def test_a_reset_reads_again_and_writes_nothing_twice(town: Town) -> None:
    town.live(150)
    once(town)
    before, lanes = town.tables(), lane_records(town.lake.errors("bronze.people"))

    plan = town.sluice("checkpoints", "reset", "bronze.people", "--to", "earliest", "--yes", "--who", "ada")
    assert "accounted for and passed over" in plan
    assert "Not changed: any row of bronze" in plan
    once(town)
    assert (town.tables(), lane_records(town.lake.errors("bronze.people"))) == (before, lanes)
    town.check()

    town.live(40)
    for place in ("latest", f'{{"{town.topics["bronze.people"]}": {{"0": 3, "1": -2}}}}'):
        town.sluice("checkpoints", "reset", "bronze.people", "--to", place, "--yes")
        town.live(10)
        once(town)
    for place in ("batch:0", "1h"):
        assert "goes on at" in town.sluice("checkpoints", "reset", "bronze.people", "--to", place, "--dry-run")
    town.check()  # `latest` left out what a later reset brought in
    town.sluice("audit")
    acts = Journal(town.lake).acts()
    assert [(act.action.action, act.state) for act in acts] == [("reset", "done")] * 3
    assert (acts[0].author.who, acts[0].before["generation"], acts[0].after["generation"]) == ("ada", 0, 1)
    assert "--to earliest" in acts[0].author.command
    assert "ada" in town.sluice("journal")
    assert generations(town, "bronze.people") == [f"g{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["checkpoints", "reset", "silver.people", "--to", "earliest"], "silver.people is not a bronze table"),
        (["checkpoints", "reset", "bronze.people", "--to", "yesterday"], "that is no time"),
        (["checkpoints", "reset", "bronze.people", "--to", "batch:99"], "has no batch 99"),
        (["checkpoints", "reset", "bronze.people", "--to", "{}"], "not Spark's JSON of offsets"),
        (["checkpoints", "reset", "bronze.people", "--to", "2999-01-01"], "is in the future"),
        (["replay", "--tables", "bronze.people"], "is not a table below bronze"),
        (["replay", "--from", "batch:99"], "No batch of"),
        (["rewind", "--to", "act:12345"], "There is no rewind act:12345"),
        (["rewind", "--to", "batch:0"], "name it with --tables"),
        (["rewind", "--to", "2999-01-01"], "is in the future"),
        (["vacuum", "--tables", "gold.x"], "gold.x is not a table"),
    ],
)
def test_what_can_not_be_is_told_in_a_sentence(arguments: list[str], sentence: str, shared: Town) -> None:
    assert sentence in shared.sluice(*arguments, code=2)


@pytest.fixture(scope="module")
def shared(stack: EmbeddedStack, service_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A town with some tables, for what changes nothing."""
    made = Town(stack, tmp_path_factory.mktemp("shared"), service_jars, "shared")
    made.live(60)
    once(made)
    return made


def test_brokers_that_do_not_answer_are_told_in_a_sentence(shared: Town) -> None:
    before = shared.service.settings
    shared.service.settings = {**before, "kafka.bootstrap_servers": "127.0.0.1:1"}
    try:
        said = shared.sluice("checkpoints", "reset", "bronze.people", "--to", "earliest", code=1)
        assert f"Topic {shared.topics['bronze.people']} at 127.0.0.1:1 can not be asked" in said
        assert "do not answer" in shared.sluice("checkpoints", "show")
    finally:
        shared.service.settings = before


def test_nothing_is_done_without_a_yes(shared: Town) -> None:
    before, root = shared.tables(), Path(shared.lake.root)
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert "Nothing was done." in shared.sluice("checkpoints", "reset", "bronze.people", "--to", "earliest", code=1)
    assert "-> " in shared.sluice("rewind", "--to", "2020-01-01", "--plan")
    assert generations(shared, "bronze.people") == ["g0"]
    assert Journal(shared.lake).acts() == []
    assert shared.tables() == before
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == files


def test_a_topic_made_anew_is_refused_though_it_is_longer_and_read_beside_the_old_one(town: Town) -> None:
    town.live(60)
    town.service.start()
    town.service.wait_for(is_drained, "all is read")
    admin = AdminClient({"bootstrap.servers": town.stack.kafka.bootstrap})
    topic = town.topics["bronze.visits"]
    old = rows_of(town.lake.table("bronze.visits"))
    admin.delete_topics([topic])[topic].result()
    deadline = time.monotonic() + 30
    while topic in admin.list_topics(timeout=5).topics and time.monotonic() < deadline:
        time.sleep(0.2)
    town.create_topics()
    town.live(200)

    # The service notices while it runs; and so does one that is started later.
    given_up = f"{topic} is not the topic that bronze.visits has read"
    town.service.wait_for(lambda _: given_up in town.service.log.read_text(), "the query is given up")
    assert town.service.terminate() == 1
    assert rows_of(town.lake.table("bronze.visits")) == old
    town.service.log.write_text("")
    assert town.service.run_to_end("--once") == 1
    said = [one["error"] for one in town.service.events() if one["event"] == "query given up"]
    assert len(said) == 1
    assert f"{topic} is not the topic that bronze.visits has read" in said[0]
    assert rows_of(town.lake.table("bronze.visits")) == old

    assert "--accept-topic" in town.sluice("checkpoints", "reset", "bronze.visits", "--to", "earliest", code=1)
    town.sluice("checkpoints", "reset", "bronze.visits", "--to", "earliest", "--accept-topic", "--yes")
    once(town)
    rows = DeltaTable(town.lake.table("bronze.visits")).to_pyarrow_table().column("_source_position").to_pylist()
    assert {row["epoch"] for row in rows} == {0, 1}
    assert sum(row["epoch"] == 1 for row in rows) == len(town.offsets(topic))
    seen = rows_of(town.lake.table("silver.visits"), "visit", "person", "at")
    assert seen == sorted(((one, *row) for one, row in town.visits.items()), key=repr)
    town.sluice("audit")
    # What was read of the old one can not be read again.
    lost = town.sluice("rewind", "--tables", "bronze.visits", "--to", "2020-01-01", "--plan", code=1)
    assert f"{topic}[0] offsets 0-" in lost
    assert "from before it was made anew" in lost


def test_what_retention_took_is_named_and_skipped_only_when_told(town: Town) -> None:
    town.live(60)
    once(town)
    topic = town.topics["bronze.visits"]
    town.live(80)
    admin = AdminClient({"bootstrap.servers": town.stack.kafka.bootstrap})
    place = TopicPartition(topic, 0)
    end = admin.list_offsets({place: OffsetSpec.latest()})[place].result().offset
    admin.delete_records([TopicPartition(topic, 0, end)])[place].result()
    town.live(40)

    assert town.service.run_to_end("--once") == 1
    [said] = [one["error"] for one in town.service.events() if one["event"] == "query given up"]
    held = max(
        offset
        for partition, offset in rows_of(town.lake.table("bronze.visits"), "_partition", "_offset")
        if partition == 0
    )
    assert f"{topic}[0] offsets {held + 1}-{end - 1}" in said

    assert "They would be lost" in town.sluice("checkpoints", "reset", "bronze.visits", "--to", "earliest", code=1)
    plan = town.sluice("checkpoints", "reset", "bronze.visits", "--to", "earliest", "--accept-loss", "--yes")
    assert f"({held + 1}-{end - 1}) are LOST" in plan
    once(town)
    now = set(rows_of(town.lake.table("bronze.visits"), "_partition", "_offset"))
    assert town.offsets(topic) <= now  # all that there is
    town.sluice("audit")


def test_partitions_that_are_added_are_read_from_their_beginning(town: Town) -> None:
    town.live(30)
    once(town)
    topic = town.topics["bronze.visits"]
    admin = AdminClient({"bootstrap.servers": town.stack.kafka.bootstrap})
    for partition in (3, 4):
        admin.create_partitions([NewPartitions(topic, partition + 1)])[topic].result()
        producer = Producer({"bootstrap.servers": town.stack.kafka.bootstrap})  # one that knows of them
        producer.produce(topic, value=b'{"visit": 900, "person": 1, "at": "2026-01-05 00:00:00"}', partition=partition)
        assert producer.flush(30) == 0
        if partition == 4:  # a reset names the offsets of the partitions that there are
            town.sluice("checkpoints", "reset", "bronze.visits", "--to", "earliest", "--yes")
        once(town)
        assert (partition, 0) in rows_of(town.lake.table("bronze.visits"), "_partition", "_offset")
    town.sluice("audit")


def test_what_a_producer_aborted_is_never_seen(town: Town) -> None:
    topic = town.topics["bronze.visits"]
    producer = Producer({"bootstrap.servers": town.stack.kafka.bootstrap, "transactional.id": town.name})
    producer.init_transactions(30)
    for number, commits in ((900, False), (901, True), (902, False)):
        producer.begin_transaction()
        producer.produce(
            topic, value=json.dumps({"visit": number, "person": 1, "at": "2026-01-05 00:00:00"}), partition=0
        )
        producer.flush(30)
        (producer.commit_transaction if commits else producer.abort_transaction)(30)
    town.live(10)
    once(town)
    seen = {row[0] for row in rows_of(town.lake.table("silver.visits"), "visit")}
    assert seen == {901, *town.visits}
    town.sluice("audit")


def test_two_services_at_once_and_one_that_stood_still(town: Town) -> None:
    town.live(40)
    town.service.start()
    town.service.wait_for(is_drained, "all is read")
    second = town.new_service("second.log")
    assert second.process is None

    done = second.command("run", "--once")
    assert done.returncode == 1
    assert f"`sluice run`, process {town.service.process.pid}" in " ".join(done.stderr.split())  # type: ignore[union-attr]

    # The first one stands still with work to do, and wakes up when another has taken its place.
    town.live(60)
    os.killpg(town.service.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    second.start()
    second.wait_for(is_drained, "the second one has read all")
    town.live(40)
    os.killpg(town.service.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
    assert town.service.process.wait(240) == 1  # type: ignore[union-attr]
    assert any(one["event"] == "lease lost" for one in town.service.events())
    second.wait_for(is_drained, "the second one goes on")
    assert second.terminate() == 0
    town.check()
    town.sluice("audit")


def test_a_running_service_resets_rewinds_and_replays_when_asked(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.live(80)
    monkeypatch.setenv(failpoints.VARIABLE, "rewind.between_tables=raise@2")
    town.service.start()
    town.service.wait_for(is_drained, "all is read")
    time.sleep(1.5)
    cut = time.time()
    town.live(40)
    town.service.wait_for(is_drained, "all is read")
    whole = town.tables()

    town.sluice("checkpoints", "reset", "bronze.visits", "--to", "earliest", "--yes")
    town.sluice("replay", "--tables", "silver.people,gold.fact_visits", "--from", "batch:0", "--yes")
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(cut))
    # It fails half way, and is brought to its end before anything else is done.
    assert "It is brought to its end before anything else is written" in town.sluice(
        "rewind", "--to", at, "--yes", code=1
    )
    town.live(20)
    town.service.wait_for(is_drained, "all is read again")
    assert town.service.terminate() == 0
    town.check()
    town.sluice("audit")
    assert [act.state for act in Journal(town.lake).acts()] == ["done"] * 3
    assert whole != town.tables()
