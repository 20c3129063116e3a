"""A managed process starts, is stopped, and never outlives its program, however that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.embedded.errors import AbandonedError, NotRunningError, StartError
from deploy.embedded.process import ManagedProcess

Eventually = Callable[[Callable[[], bool], str], None]
Alive = Callable[[Iterable[int]], set[int]]

SLEEP = ["sleep", "600"]
# A grandchild in a session of its own, like PostgreSQL's backends, that only SIGKILL ends.
FAMILY = ["sh", "-c", "(trap '' TERM; exec setsid sleep 600) & echo $! ; wait"]
# Run in the background by a shell without job control, it would inherit that SIGINT and SIGHUP are ignored.
HOLDER = """
import json, signal, sys, time
from pathlib import Path
from deploy.embedded.process import ManagedProcess
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
folder = Path(sys.argv[1])
process = ManagedProcess("held", folder / "held.log", remove_when_orphaned=[folder / "data"])
process.start(json.loads(sys.argv[2]), cwd=folder, healthy=lambda: True, timeout_seconds=10)
print(json.dumps(process.pids), flush=True)
time.sleep(600)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ManagedProcess]:
    managed = ManagedProcess("sleeper", tmp_path / "logs" / "sleeper.log")
    yield managed
    managed.kill()


def start(process: ManagedProcess, command: list[str], healthy: Callable[[], bool] = lambda: True) -> None:
    process.start(command, cwd=Path("/"), healthy=healthy, timeout_seconds=20)


def test_it_runs_until_it_is_stopped_and_can_start_again(process: ManagedProcess, alive: Alive) -> None:
    for _ in range(2):
        start(process, SLEEP)
        pids = process.pids
        assert process.running
        assert len(alive(pids)) == 2
        process.stop()
        assert not process.running
        assert process.pids == ()
        assert not alive(pids)


def test_one_that_ignores_the_request_to_stop_is_killed(process: ManagedProcess, alive: Alive) -> None:
    start(process, ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], lambda: ready(process))
    pids = process.pids
    process.stop(grace_seconds=0.5)
    assert not alive(pids)


def ready(process: ManagedProcess) -> bool:
    return "ready" in process.log_text()


def test_stop_and_kill_are_harmless_when_it_has_ended(process: ManagedProcess) -> None:
    process.stop()
    process.kill()
    start(process, SLEEP)
    os.kill(process.pids[0], signal.SIGKILL)
    process.stop()
    process.kill()
    assert not process.running


def test_kill_takes_what_it_started_with_it(process: ManagedProcess, eventually: Eventually, alive: Alive) -> None:
    start(process, FAMILY, lambda: process.log_text().strip().isdigit())
    grandchild = int(process.log_text())
    assert alive([grandchild])
    process.kill()
    assert not alive([grandchild])


def test_a_grandchild_does_not_outlive_a_process_that_ends_by_itself(
    process: ManagedProcess, eventually: Eventually, alive: Alive
) -> None:
    start(process, FAMILY, lambda: process.log_text().strip().isdigit())
    grandchild = int(process.log_text())
    os.kill(process.pids[0], signal.SIGKILL)
    eventually(lambda: not process.running, "the guardian has ended too")
    assert not alive([grandchild])


def test_pause_stops_the_clock_for_all_of_it(process: ManagedProcess, eventually: Eventually) -> None:
    start(process, FAMILY, lambda: process.log_text().strip().isdigit())
    family = [psutil.Process(process.pids[0]), psutil.Process(int(process.log_text()))]
    process.pause()
    eventually(lambda: all(p.status() == psutil.STATUS_STOPPED for p in family), "all are stopped")
    process.resume()
    eventually(lambda: all(p.status() == psutil.STATUS_SLEEPING for p in family), "all go on")


def test_one_that_is_paused_can_be_stopped(process: ManagedProcess, alive: Alive) -> None:
    start(process, SLEEP)
    pids = process.pids
    process.pause()
    process.stop()
    assert not alive(pids)


def test_pausing_what_does_not_run_is_an_error(process: ManagedProcess) -> None:
    with pytest.raises(NotRunningError, match="sleeper is not running"):
        process.pause()


def test_one_that_ends_while_starting_shows_the_end_of_its_log(process: ManagedProcess) -> None:
    with pytest.raises(StartError) as failure:
        start(process, ["sh", "-c", "echo the disk is on fire >&2; exit 7"], lambda: False)
    assert "sleeper ended with exit code 7 while starting" in str(failure.value)
    assert "the disk is on fire" in str(failure.value)
    assert str(process.log) in str(failure.value)


def test_the_log_of_an_earlier_start_is_not_shown(process: ManagedProcess) -> None:
    start(process, ["sh", "-c", "echo yesterday; exec sleep 600"], lambda: "yesterday" in process.log_text())
    process.stop()
    with pytest.raises(StartError) as failure:
        start(process, ["sh", "-c", "echo today; exit 1"], lambda: False)
    assert "today" in str(failure.value)
    assert "yesterday" not in str(failure.value)
    assert "yesterday" in process.log.read_text()


def test_one_that_never_is_healthy_is_an_error_and_gone(process: ManagedProcess) -> None:
    with pytest.raises(StartError, match=r"was not healthy after 0.3 s"):
        process.start(SLEEP, cwd=Path("/"), healthy=lambda: False, timeout_seconds=0.3)
    assert not process.running


@pytest.mark.parametrize(
    ("command", "cwd"), [(["/nonexistent/program"], "/"), (SLEEP, "/nonexistent")], ids=["program", "folder"]
)
def test_one_that_can_not_be_started_says_why(process: ManagedProcess, command: list[str], cwd: str) -> None:
    with pytest.raises(StartError, match=r"could not be started: .*No such file.*nonexistent"):
        process.start(command, cwd=Path(cwd), healthy=lambda: True, timeout_seconds=10)


def test_a_start_in_another_thread_can_be_called_off(process: ManagedProcess, eventually: Eventually) -> None:
    caught: list[BaseException] = []

    def starting() -> None:
        try:
            start(process, SLEEP, lambda: False)
        except AbandonedError as error:
            caught.append(error)

    thread = threading.Thread(target=starting)
    thread.start()
    eventually(lambda: bool(process.pids), "it has been launched")
    process.abandon()
    thread.join()
    assert caught
    assert not process.running


def test_it_outlives_the_thread_that_started_it(process: ManagedProcess) -> None:
    # PR_SET_PDEATHSIG is about the thread that forks; were it set on our own child, this one would be dead.
    thread = threading.Thread(target=start, args=(process, SLEEP))
    thread.start()
    thread.join()
    assert process.running


def test_a_killed_guardian_takes_the_process_with_it(
    process: ManagedProcess, eventually: Eventually, alive: Alive
) -> None:
    start(process, SLEEP)
    child, guardian = process.pids
    os.kill(guardian, signal.SIGKILL)
    eventually(lambda: not alive([child]), "the process has ended")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
@pytest.mark.parametrize("whole_group", [False, True], ids=["program", "group"])
def test_it_ends_with_its_program(
    number: signal.Signals,
    whole_group: bool,
    tmp_path: Path,
    checkout: Path,
    eventually: Eventually,
    alive: Alive,
) -> None:
    (tmp_path / "data").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), json.dumps(FAMILY)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        start_new_session=True,
    )
    with holder:
        assert holder.stdout is not None
        pids = json.loads(holder.stdout.readline())
        log = tmp_path / "held.log"
        eventually(lambda: log.read_text().strip().isdigit(), "the grandchild runs")
        pids.append(int(log.read_text()))
        assert len(alive(pids)) == 3
        (os.killpg if whole_group else os.kill)(holder.pid, number)
    eventually(lambda: not alive(pids), "process, grandchild and guardian have ended")
    eventually(lambda: not (tmp_path / "data").exists(), "its temporary data are gone")
