"""The life of rejected records beside a running service: a contract that changes, a re-drive, a batch held back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from checkpoints.journal import Journal
from checkpoints.lake import Lake
from deploy.embedded.stack import EmbeddedStack
from tests.support import people
from tests.support.service import ServiceProcess, free_port, get, is_drained
from tests.support.tables import lane_records, rows_of

pytestmark = pytest.mark.stack

AT = "2026-01-01 00:00:00"
TOO_LONG = f"{AT}.000"


@pytest.fixture
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        started.create_topics({"visits": 1, "db.people": 1})
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = people.write(tmp_path / "pipeline")
    contract(made, "1", at={"type": "string", "maxLength": len(AT)})
    return made


@pytest.fixture
def service(stack: EmbeddedStack, folder: Path, service_jars: Path, tmp_path: Path) -> Iterator[ServiceProcess]:
    made = ServiceProcess(
        {
            "lake": str(tmp_path / "lake"),
            "pipeline": str(folder),
            "kafka.bootstrap_servers": stack.kafka.bootstrap,
            "jars_dir": str(service_jars),
            "metrics_port": str(free_port()),
            "trigger_seconds": "0.5",
            "breaker.most_rejects": "50",
        },
        tmp_path / "service.log",
    )
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def contract(folder: Path, version: str, **properties: Any) -> None:
    changed = {**people.VISITS_CONTRACT, "x-version": version}
    changed["properties"] = {**people.VISITS_CONTRACT["properties"], **properties}
    (folder / "contracts" / "visits.schema.json").write_text(json.dumps(changed))


class Traffic:
    """Visits, one after the other; each is made twice, the second time by another person."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = Producer({"bootstrap.servers": bootstrap})
        self.truth: dict[int, int] = {}
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def send(self, visit: int, person: int, at: str = AT, **more: Any) -> None:
        self.producer.produce("visits", value=json.dumps({"visit": visit, "person": person, "at": at, **more}))
        self.truth[visit] = person
        self.sent += 1

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.producer.flush(30) == 0

    def _run(self) -> None:
        number = 1000
        while not self._stop.wait(0.02):
            self.send(number, 1)
            self.send(number, 2)
            self.producer.poll(0)
            number += 1


def test_contracts_change_records_come_back_and_batches_are_held_while_traffic_runs(
    stack: EmbeddedStack, folder: Path, service: ServiceProcess
) -> None:
    lake = Lake.at(service.settings["lake"])
    bronze, silver = lake.table("bronze.visits"), lake.table("silver.visits")
    traffic = Traffic(stack.kafka.bootstrap)
    for visit in range(1, 11):
        traffic.send(visit, 1, TOO_LONG)
    for visit in range(1, 6):
        traffic.send(visit, 2)  # newer state of half of the visits that were rejected
    assert traffic.producer.flush(30) == 0
    service.start()
    service.wait_for(lambda status: status["bronze.visits"]["rows"] == 5, "the good ones are in bronze")

    # The contract is loosened, while the service runs and records arrive; the cohort is re-driven twice.
    traffic.send(500, 1, TOO_LONG, note="new")
    with traffic:
        contract(folder, "2", note={"type": "string"})
        service.wait_for(lambda _: any(one["event"] == "contract taken up" for one in service.events()), "taken up")
        cohort = ("errors", "redrive", "--table", "bronze.visits", "--rule", "schema.maxLength")
        refused = service.command(*cohort)
        first = service.command(*cohort, "--yes", "--who", "ada")
        again = service.command("errors", "redrive", "--table", "bronze.visits")
    assert (refused.returncode, "Nothing was done." in refused.stderr) == (1, True), refused.stderr
    assert "open records of bronze.visits again, and append those that pass:" in refused.stdout
    assert "still fail; 0 had gone through before." in first.stdout, (first.stdout, first.stderr)
    assert "0 passed, 0 still fail" in again.stdout, (again.stdout, again.stderr)
    assert (first.returncode, again.returncode) == (0, 0)
    service.wait_for(lambda status: is_drained(status) and status["silver.visits"]["rows"] == len(traffic.truth), "all")
    assert rows_of(bronze, "_offset") == sorted(((offset,) for offset in range(traffic.sent)), key=repr)
    assert dict(rows_of(silver, "visit", "person")) == traffic.truth
    versions = {row[0] for row in rows_of(bronze, "_contract_version")}
    assert versions == {"1", "2"}

    # A change that breaks what is below is refused, with what it breaks; the service goes on under the old one.
    contract(folder, "3", person={"type": "string"})
    service.wait_for(lambda _: "sluice_contracts_refused 1.0" in get(service, "/metrics")[1], "refused")
    [refused] = [one for one in service.events() if one["event"] == "contract refused"]
    assert "`person` is bigint and would be string, which breaks `silver.visits.person`" in refused["error"]
    contract(folder, "2", note={"type": "string"})

    # More rejects in a batch than the breaker lets through: nothing is written until someone admits them.
    errors = lake.errors("bronze.visits")
    before = len(lane_records(errors))
    for _ in range(60):
        traffic.producer.produce("visits", value=b'{"visit": "x"}')
    traffic.send(3000, 1)
    assert traffic.producer.flush(30) == 0
    paused = 'sluice_query_paused{query="bronze.visits"} 1.0'
    service.wait_for(lambda _: paused in get(service, "/metrics")[1], "it is held back")
    code, body = get(service, "/readyz")
    assert code == 503
    assert "paused: bronze.visits: 60 of the 61 records of batch" in body
    assert len(lane_records(errors)) == before
    dry = service.command("errors", "admit", "--table", "bronze.visits", "--dry-run")
    assert (dry.returncode, "bronze.visits: 60 of the 61 records of batch" in dry.stdout) == (0, True), dry.stderr
    assert "paused: bronze.visits" in get(service, "/readyz")[1]
    admitted = service.command("errors", "admit", "--table", "bronze.visits", "--yes", "--who", "bob")
    assert (admitted.returncode, admitted.stdout.splitlines()[-1]) == (0, "bronze.visits goes on."), admitted.stderr
    service.wait_for(lambda status: is_drained(status) and status["silver.visits"]["rows"] == len(traffic.truth), "on")
    assert len(lane_records(errors)) == before + 60
    assert service.command("errors", "admit", "--table", "bronze.visits").returncode == 1

    acts = Journal(lake).acts()
    assert [(act.action.action, act.state, act.author.who) for act in acts] == [
        ("redrive", "done", "ada"),
        ("redrive", "done", acts[1].author.who),
        ("admit", "done", "bob"),
    ]
    assert acts[0].before["version"] < acts[0].after["version"]
    assert "60 of the 61 records" in acts[2].after["held"]

    audit = service.command("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert service.terminate() == 0
    assert service.command("errors", "admit", "--table", "bronze.visits").stderr.startswith("No service runs")
