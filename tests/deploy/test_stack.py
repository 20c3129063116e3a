"""A stack leaves nothing behind, whichever way its program ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from deploy.embedded import shop
from deploy.embedded.errors import StartError, ToolFailedError
from deploy.embedded.kafka import KafkaBroker
from deploy.embedded.stack import EmbeddedStack

pytestmark = pytest.mark.stack
Eventually = Callable[[Callable[[], bool], str], None]
Alive = Callable[[Iterable[int]], set[int]]

HOLDER = """
import json, time
from deploy.embedded import shop
from deploy.embedded.stack import EmbeddedStack
with EmbeddedStack() as stack:
    shop.create_tables(stack.postgres.dsn)
    stack.start_connect()
    print(json.dumps([str(stack.folder), stack.pids]), flush=True)
    time.sleep(600)
"""


def hold(checkout: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGKILL, False), (signal.SIGKILL, True), (signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["killed", "group killed", "Ctrl-C", "SIGTERM"],
)
def test_all_of_it_ends_with_its_program(
    number: signal.Signals, whole_group: bool, checkout: Path, eventually: Eventually, alive: Alive
) -> None:
    with hold(checkout) as holder:
        assert holder.stdout is not None
        folder, parts = json.loads(holder.stdout.readline())
        pids = [pid for part in parts.values() for pid in part]
        assert set(parts) == {"kafka", "postgresql", "connect", "janitor"}
        assert len(alive(pids)) == 8
        (os.killpg if whole_group else os.kill)(holder.pid, number)
    eventually(lambda: not alive(pids), "broker, PostgreSQL, Connect and their guardians have ended")
    eventually(lambda: not Path(folder).exists(), "the temporary folder is gone")


def test_an_exception_in_the_block_stops_it_too(alive: Alive) -> None:
    seen: list[EmbeddedStack] = []
    pids: list[int] = []

    def use_and_fail() -> None:
        with EmbeddedStack() as stack:
            seen.append(stack)
            pids.extend(pid for part in stack.pids.values() for pid in part)
            raise LookupError

    with pytest.raises(LookupError):
        use_and_fail()
    assert len(pids) == 6
    assert not alive(pids)
    assert not seen[0].folder.exists()


def test_if_one_part_does_not_start_the_other_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = EmbeddedStack(tmp_path / "stack")
    monkeypatch.setattr(stack, "kafka", KafkaBroker(stack.folder / "kafka", properties={"num.io.threads": 0}))
    with pytest.raises((StartError, ToolFailedError), match=r"num\.io\.threads"):
        stack.start()
    assert stack.pids == {}
    assert not (tmp_path / "stack" / "postgresql").exists()


def test_what_is_kept_can_be_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with EmbeddedStack(folder, keep=True) as stack:
        stack.create_topics({"kept": 2})
        shop.create_tables(stack.postgres.dsn)
        shop.seed(stack.postgres.dsn, customers=3, products=2, orders=5)
    assert {path.name for path in (folder / "logs").iterdir()} >= {"kafka.log", "postgresql.log"}
    with EmbeddedStack(folder) as stack:
        stack.create_topics({"kept": 1})
        stack.start_connect()
    assert list(folder.iterdir()) == []
