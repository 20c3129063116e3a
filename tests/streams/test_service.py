"""The service when something is missing, broken or in the way: the rest goes on, and the exit code says so."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from checkpoints import failpoints
from checkpoints.lake import Lake
from deploy.embedded.stack import EmbeddedStack
from tests.support import people
from tests.support.bronze import change
from tests.support.service import WAIT_SECONDS, ServiceProcess, free_port, get, is_drained
from tests.support.tables import rows_of

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


@pytest.fixture
def service(stack: EmbeddedStack, service_jars: Path, tmp_path: Path) -> Iterator[ServiceProcess]:
    """The people pipeline, whose topics are left as the test before it left them."""
    made = ServiceProcess(
        {
            "lake": str(tmp_path / "lake"),
            "pipeline": str(people.write(tmp_path / "pipeline")),
            "kafka.bootstrap_servers": stack.kafka.bootstrap,
            "jars_dir": str(service_jars),
            "metrics_port": str(free_port()),
            "trigger_seconds": "0.5",
            "restart_backoff_seconds": "0.2",
            "restart_backoff_max_seconds": "0.5",
        },
        tmp_path / "service.log",
    )
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def visits(stack: EmbeddedStack, *numbers: int, person: int = 1) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    for number in numbers:
        record: dict[str, Any] = {"visit": number, "person": person, "at": "2026-01-01 00:00:00"}
        producer.produce("visits", value=json.dumps(record))
    assert producer.flush(30) == 0


def test_it_waits_for_topics_and_brokers_and_goes_on_beside_a_broken_table_and_a_query_that_dies(
    stack: EmbeddedStack, service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.at(service.settings["lake"])
    service.settings = {**service.settings, "max_restarts": "2"}
    # The first time is the empty batch of an empty topic.
    rules = [f"bronze.planned[bronze.people]=raise@{time}" for time in (2, 3, 4)]
    monkeypatch.setenv(failpoints.VARIABLE, ";".join(rules))
    service.start()

    # A topic that is not there yet: the other one is read, and the service says that it is not ready, and why.
    stack.create_topics({"visits": 1})
    visits(stack, 1, 2)
    service.wait_for(lambda status: status["gold.visits_per_person"]["rows"] == 1, "visits are in gold")
    code, body = get(service, "/readyz")
    assert (code, "topic db.people does not exist yet" in body) == (503, True)
    stack.create_topics({"db.people": 1})
    service.wait_for(lambda _: get(service, "/readyz")[0] == 200, "everything runs")
    assert get(service, "/livez")[0] == 200

    # A table that can not be written: bronze and its sister go on, and it catches up when it can.
    place = Path(lake.table("silver.visits"))
    shutil.move(place / "_delta_log", place / "_away")
    visits(stack, 3)
    service.wait_for(lambda _: 'sluice_table_up{table="silver.visits"} 0.0' in get(service, "/metrics")[1], "it fails")
    visits(stack, 4)
    service.wait_for(lambda status: status["bronze.visits"]["rows"] == 4, "bronze goes on")
    assert get(service, "/readyz")[0] == 503
    shutil.rmtree(place / "_delta_log", ignore_errors=True)
    shutil.move(place / "_away", place / "_delta_log")
    service.wait_for(lambda status: is_drained(status) and status["silver.visits"]["rows"] == 4, "it catches up")
    service.wait_for(lambda _: get(service, "/readyz")[0] == 200, "everything runs again")

    # A broker that goes away and comes back.
    stack.kafka.stop()
    stack.kafka.start()
    visits(stack, 5)
    service.wait_for(lambda status: is_drained(status) and status["silver.visits"]["rows"] == 5, "it reads on")

    # A query that dies at each of its batches: it is started again so often, after longer waits, and then no more.
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    producer.produce("db.people", value=json.dumps(change("c", people.person(1), 1)))
    assert producer.flush(30) == 0
    given_up = '"bronze.people": "given up: '
    service.wait_for(lambda _: given_up in get(service, "/readyz")[1], "it is given up")
    assert get(service, "/readyz")[0] == 503
    assert get(service, "/livez")[0] == 200
    failed = [one for one in service.events() if one["event"] == "query failed" and one["query"] == "bronze.people"]
    assert [one["retry_seconds"] for one in failed] == [0.2, 0.4, 0.5]
    visits(stack, 6)
    service.wait_for(lambda status: status["silver.visits"]["rows"] == 6, "the others go on")

    metrics = get(service, "/metrics")[1]
    assert (
        'sluice_rows_total{layer="bronze",outcome="accepted",query="bronze.visits",table="bronze.visits"} 6.0'
        in metrics
    )
    assert 'sluice_query_up{query="bronze.people"} 0.0' in metrics
    assert 'sluice_in_hand_seconds{table="bronze.people"} 0.0' in metrics
    assert service.terminate() == 1
    assert rows_of(lake.table("gold.visits_per_person")) == [(1, 6)]
    stopped = service.events()[-1]
    assert (stopped["event"], stopped["broken"]) == ("stopped", ["bronze.people"])


def test_a_drain_without_brokers_gives_up_and_says_so(service: ServiceProcess) -> None:
    service.settings = {**service.settings, "kafka.bootstrap_servers": f"127.0.0.1:{free_port()}"}

    assert service.run_to_end("--once") == 1

    errors = [event for event in service.events() if event["event"] == "query given up"]
    assert {event["query"] for event in errors} == {"bronze.people", "bronze.visits"}
    assert all("do not answer" in event["error"] for event in errors)


def test_it_ends_with_its_jvm_that_is_out_of_memory_and_nothing_is_lost(
    stack: EmbeddedStack, service: ServiceProcess
) -> None:
    stack.create_topics({"visits": 1, "db.people": 1})
    visits(stack, 6, 7)
    spec = Path(service.settings["pipeline"], "tables/silver.visits.yml")
    right = spec.read_text()
    greedy = "try_to_timestamp(concat(at, substr(repeat('x', CAST(person * 30000 AS INT)), 1, 0)))"
    spec.write_text(right.replace("try_to_timestamp(at)", f'"{greedy}"'))
    settings = service.settings
    service.settings = {**settings, "small_batch_rows": "0", "spark.driver_memory": "1g"}
    service.start()
    service.wait_for(is_drained, "all is read")
    visits(stack, 8, person=66_000)  # 2 GB of x

    assert service.process is not None
    assert service.process.wait(WAIT_SECONDS) == 1
    assert '"the JVM ended"' in service.log.read_text()  # pyspark prints a stack of its own beside it

    spec.write_text(right)
    service.settings = settings
    assert service.run_to_end("--once") == 0
    lake = Lake.at(service.settings["lake"])
    bronze = rows_of(lake.table("bronze.visits"), "_offset", "visit")
    assert len({offset for offset, _ in bronze}) == len(bronze)
    read = {visit for _, visit in bronze}
    assert {6, 7, 8} <= read
    assert {visit for (visit,) in rows_of(lake.table("silver.visits"), "visit")} == read
    assert {visit for (visit,) in rows_of(lake.table("gold.fact_visits"), "visit")} == read


@pytest.mark.parametrize(
    ("setting", "value", "code", "sentence"),
    [
        ("lake", "/proc/lake", 1, "The lake at /proc/lake can not be written"),
        ("jars_dir", "/nowhere", 1, "No jar of delta-spark in /nowhere. Run `make jars`"),
        ("pipeline", "/nowhere", 2, "There is no such folder"),
        ("metrics_port", "70000", 2, "metrics_port"),
        ("trigger_seconds", "soon", 2, "trigger_seconds"),
    ],
)
def test_what_can_not_work_is_told_in_a_sentence(
    setting: str, value: str, code: int, sentence: str, service: ServiceProcess
) -> None:
    service.settings = {**service.settings, setting: value}

    done = service.command("run")

    assert done.returncode == code
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named(service: ServiceProcess) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service.settings = {**service.settings, "metrics_port": str(taken.getsockname()[1])}
        done = service.command("run")

    assert done.returncode == 1
    assert "`metrics_port`, is in use by another process" in " ".join(done.stderr.split())
