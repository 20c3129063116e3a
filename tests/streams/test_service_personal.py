"""A service over records full of canaries: its log, down to the least level, its metrics and its answers show none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.embedded.stack import EmbeddedStack
from tests.support import private
from tests.support.private import exposed, exposing
from tests.support.service import ServiceProcess, free_port, get

pytestmark = pytest.mark.stack

# A table whose step fails on a value: Spark quotes it in its error, and in what its executors log.
FAILING = f"""\
table: silver.failing
{private.FEED}stored_as_scd_type: 1
select: {{id: after.id, email: CAST(after.email AS INT)}}
pii: {{id: hash, email: hash}}
"""


@pytest.fixture
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        started.create_topics({"db.people": 1})
        yield started


@pytest.fixture
def service(stack: EmbeddedStack, service_jars: Path, tmp_path: Path) -> Iterator[ServiceProcess]:
    folder = private.write(tmp_path / "pipeline")
    (folder / "tables" / "silver.failing.yml").write_text(FAILING)
    (tmp_path / "key").write_text(f"{private.KEY}\n")
    made = ServiceProcess(
        {
            "lake": str(tmp_path / "lake"),
            "pipeline": str(folder),
            "kafka.bootstrap_servers": stack.kafka.bootstrap,
            "jars_dir": str(service_jars),
            "metrics_port": str(free_port()),
            "trigger_seconds": "0.5",
            "log_level": "DEBUG",
            "pii.key_file": str(tmp_path / "key"),
        },
        tmp_path / "service.log",
    )
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def test_neither_log_nor_metrics_nor_answers_show_what_is_personal(
    stack: EmbeddedStack, service: ServiceProcess
) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    for record in (record for batch in private.batches() for record in batch):
        value = record if record is None or isinstance(record, bytes) else json.dumps(record).encode()
        producer.produce("db.people", key=private.identity(1), value=value, headers={"trace": b"canary-header"})
    assert producer.flush(30) == 0
    service.start()
    service.wait_for(
        lambda status: all(one["lag"] == 0 and one["rows"] for name, one in status.items() if name != "silver.failing"),
        "everything but the broken table is in every table",
    )
    service.wait_for(lambda _: any(one["event"] == "table failed" for one in service.events()), "it has failed")

    for path in ("/metrics", "/readyz", "/livez"):
        answer = get(service, path)[1]
        assert answer
        assert not exposed(answer), path
    for command in (["status"], ["errors", "list"], ["audit"], ["plan"], ["validate"]):
        shown = service.command(*command)
        assert not exposed(shown.stdout + shown.stderr), command
    assert service.terminate() == 1  # a table was left broken

    assert "CAST_INVALID_INPUT" in service.log.read_text()
    assert [line for line in service.log.read_text().splitlines() if exposed(line)] == []
    assert list(exposing(Path(service.settings["lake"]))) == []
