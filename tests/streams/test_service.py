"""The service when something is missing, broken or in the way: the rest goes on, and the exit code says so."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer

from checkpoints.lake import Lake
from deploy.embedded.stack import EmbeddedStack
from tests.support import people
from tests.support.service import ServiceProcess, free_port, get, is_drained
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


def jvms_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name() == "java"]


def visits(stack: EmbeddedStack, *numbers: int) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    for number in numbers:
        record: dict[str, Any] = {"visit": number, "person": 1, "at": "2026-01-01 00:00:00"}
        producer.produce("visits", value=json.dumps(record))
    assert producer.flush(30) == 0


def test_it_waits_for_topics_and_brokers_goes_on_beside_a_broken_table_and_drains(
    stack: EmbeddedStack, service: ServiceProcess
) -> None:
    lake = Lake.at(service.settings["lake"])
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

    metrics = get(service, "/metrics")[1]
    assert (
        'sluice_rows_total{layer="bronze",outcome="accepted",query="bronze.visits",table="bronze.visits"} 5.0'
        in metrics
    )
    assert service.terminate() == 0
    assert rows_of(lake.table("gold.visits_per_person")) == [(1, 5)]
    assert service.events()[-1]["event"] == "stopped"


def test_a_drain_without_brokers_gives_up_and_says_so(service: ServiceProcess) -> None:
    service.settings = {**service.settings, "kafka.bootstrap_servers": f"127.0.0.1:{free_port()}"}

    assert service.run_to_end("--once") == 1

    errors = [event for event in service.events() if event["event"] == "query given up"]
    assert {event["query"] for event in errors} == {"bronze.people", "bronze.visits"}
    assert all("do not answer" in event["error"] for event in errors)


def test_it_ends_with_its_jvm(service: ServiceProcess) -> None:
    service.start()
    service.wait_for(lambda _: any(e["event"] == "service started" for e in service.events()), "it runs")
    assert service.process is not None
    for jvm in jvms_of(service.process.pid):
        jvm.kill()

    assert service.process.wait(60) == 1
    assert '"the JVM ended"' in service.log.read_text()  # pyspark prints a stack of its own beside it


def test_a_lost_checkpoint_is_refused(stack: EmbeddedStack, service: ServiceProcess) -> None:
    stack.create_topics({"visits": 1, "db.people": 1})
    visits(stack, 6)
    assert service.run_to_end("--once") == 0
    shutil.rmtree(Path(service.settings["lake"]) / "_checkpoints/bronze.visits")

    done = service.command("run", "--once")

    assert done.returncode == 1
    assert "bronze.visits holds batches up to 0" in done.stderr
    assert "Traceback" not in done.stderr


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
