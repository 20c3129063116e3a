"""Every command of the runbooks of recovery, run on the real stack in the state that its page is about."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.embedded.stack import EmbeddedStack
from tests.support.service import get, is_drained
from tests.support.town import Town

pytestmark = pytest.mark.stack
PAGES = Path(__file__).parents[2] / "runbooks/operations"
RULES = """
silver.visits:
  - {type: expect_column_values_to_be_between, column: person, max_value: 99, severity: critical, quarantine: false}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


def commands(page: str) -> list[str]:
    """The indented lines that are calls of `sluice`."""
    return re.findall(r"^    (sluice .+)$", (PAGES / page).read_text(), re.MULTILINE)


class Reader:
    """Somebody who works a page through, line by line."""

    def __init__(self, town: Town) -> None:
        self.town = town
        (town.folder / "sluice.yml").write_text("log_format: json\n")

    def run(self, command: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "streams", *shlex.split(command)[1:]],
            cwd=self.town.folder,
            env={**self.town.service.environment(), "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return " ".join(done.stdout.split())

    def work_through(self, page: str, codes: dict[str, int] | None = None) -> None:
        """Each command in its order; `codes` are those that end otherwise the first time they are run."""
        left = dict(codes or {})
        for command in commands(page):
            self.run(command, left.pop(command, 0))
        assert not left


def once(town: Town) -> None:
    assert town.service.run_to_end("--once") == 0, town.service.log.read_text()[-2000:]


def lose_a_checkpoint(town: Town) -> None:
    shutil.rmtree(Path(town.lake.root, "_checkpoints/bronze.visits"))


def write_history(town: Town) -> None:
    visits = [{"visit": 5000 + n, "person": n % 9, "at": "2026-01-01 00:00:00"} for n in range(50)]
    (town.folder / "old.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in visits))


def change_something(town: Town) -> None:
    time.sleep(5.5)
    town.live(20)
    once(town)


def nothing(town: Town) -> None:
    del town


CASES: list[tuple[str, Callable[[Town], None], dict[str, int]]] = [
    ("recover-checkpoint.md", lose_a_checkpoint, {"sluice checkpoints show": 1}),
    ("reset-checkpoint.md", nothing, {}),
    ("replay.md", nothing, {}),
    ("rewind.md", change_something, {}),
    ("retention.md", nothing, {}),
    ("backfill.md", write_history, {}),
]


@pytest.mark.parametrize("page", [*(case[0] for case in CASES if case[0] != "retention.md"), "dq-failover.md"])
def test_a_page_of_a_way_back_is_a_runbook(page: str) -> None:
    text = (PAGES / page).read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Meaning", "Impact", "Diagnosis", "Mitigation", "Verify"]
    assert commands(page)


@pytest.fixture(scope="module")
def town(stack: EmbeddedStack, service_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Town:
    made = Town(stack, tmp_path_factory.mktemp("runbooks"), service_jars, "runbooks", seed=4)
    made.live(60)
    once(made)
    return made


@pytest.mark.parametrize(("page", "prepare", "codes"), CASES, ids=[case[0] for case in CASES])
def test_a_page_is_worked_through_and_everything_is_right_after_it(
    page: str, prepare: Callable[[Town], None], codes: dict[str, int], town: Town
) -> None:
    prepare(town)
    Reader(town).work_through(page, codes)
    once(town)
    found = town.look()
    assert (found.lost, found.doubled) == ([], [])
    if page == "backfill.md":  # what came from the file is not of the town
        assert any("5000" in one for one in found.wrong)
    else:
        assert found.wrong == []


def test_the_service_is_started_looked_at_stopped_and_started_again(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    starts, looks = "sluice run --config sluice.yml", "curl --silent http://127.0.0.1:9464/readyz"
    page = re.findall(r"^    (\S.*)$", (PAGES / "start-and-stop.md").read_text(), re.MULTILINE)
    assert page == [starts, looks, "sluice status", "kill -TERM <process id>", starts, "sluice journal"]
    town = Town(stack, tmp_path, service_jars, "starts")
    town.live(30)
    Reader(town)
    for end in (signal.SIGTERM, signal.SIGKILL):
        town.service.start("--config", str(town.folder / "sluice.yml"))
        town.service.wait_for(is_drained, "all is read")
        assert get(town.service, "/readyz")[0] == 200
        for command in ("sluice status", "sluice journal"):
            Reader(town).run(command)
        assert town.service.process is not None
        if end == signal.SIGKILL:
            town.service.kill()
        else:
            town.service.process.send_signal(end)
        assert town.service.process.wait(240) == (0 if end == signal.SIGTERM else -9)
        town.live(10)
    once(town)
    town.check()


def test_a_gate_that_holds_is_released_and_discarded_by_the_page(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    town = Town(stack, tmp_path, service_jars, "gate")
    (town.folder / "pipeline/dq.yml").write_text(RULES)
    town.live(20)
    reader = Reader(town)
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    shown = "sluice gate show"
    for number, decision in ((7000, "release"), (7001, "discard")):
        record = {"visit": number, "person": 700 + number, "at": "2026-01-01 00:00:00"}
        producer.produce(town.topics["bronze.visits"], json.dumps(record), partition=0)
        assert producer.flush(30) == 0
        once(town)
        reader.run(shown, 1)
        for command in commands("dq-failover.md"):
            if f"gate {decision}" in command:
                reader.run(command)
    for command in commands("dq-failover.md"):
        if "gate release" not in command and "gate discard" not in command:
            reader.run(command)
