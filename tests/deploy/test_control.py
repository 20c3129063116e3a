"""A detached stack is up until it is taken down, from any process, and a killed one is cleaned up."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient

from deploy.embedded import control
from deploy.embedded.errors import StackFailedError, StackNotRunningError, StackRunningError

pytestmark = pytest.mark.stack
Eventually = Callable[[Callable[[], bool], str], None]
Alive = Callable[[Iterable[int]], set[int]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "stack"
    yield folder
    try:
        control.down(folder)
    except StackNotRunningError:
        return


def pids_of(state: control.StackState) -> list[int]:
    return [state.supervisor, *(pid for part in state.pids.values() for pid in part)]


def is_up(folder: Path) -> bool:
    """Whether a stack is; for a moment after its supervisor has been killed, one still may be."""
    try:
        control.state(folder)
    except StackNotRunningError:
        return False
    return True


def test_up_and_down(folder: Path, alive: Alive, eventually: Eventually) -> None:
    state = control.up(folder)
    assert control.state(folder) == state
    assert len(alive(pids_of(state))) == 9
    assert control.state_file(folder).stat().st_mode & 0o077 == 0
    with psycopg.connect(state.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    assert AdminClient({"bootstrap.servers": state.bootstrap}).list_topics(timeout=10).brokers
    assert SchemaRegistryClient({"url": state.registry_url}).get_subjects() == []

    with pytest.raises(StackRunningError, match=f"supervisor process {state.supervisor}"):
        control.up(folder)

    control.down(folder)
    eventually(lambda: not alive(pids_of(state)), "the stack's processes have ended")
    assert not folder.exists()
    with pytest.raises(StackNotRunningError, match="sluice stack up"):
        control.down(folder)
    with pytest.raises(StackNotRunningError):
        control.state(folder)


def test_after_its_supervisor_was_killed_it_can_be_brought_up_again(
    folder: Path, eventually: Eventually, alive: Alive
) -> None:
    first = control.up(folder)
    os.kill(first.supervisor, signal.SIGKILL)
    eventually(lambda: not is_up(folder), "the killed supervisor's hold on the folder has ended")
    second = control.up(folder)
    assert not alive(pids_of(first))
    assert len(alive(pids_of(second))) == 9

    os.kill(second.supervisor, signal.SIGKILL)
    eventually(lambda: not is_up(folder), "the killed supervisor's hold on the folder has ended")
    control.down(folder)
    assert not alive(pids_of(second))
    assert not folder.exists()


def test_what_the_folder_held_before_stays(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine").write_text("keep")
    control.up(folder)
    control.down(folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_a_failed_start_shows_what_its_supervisor_wrote(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tail").symlink_to(shutil.which("tail") or "tail")
    monkeypatch.setenv("JAVA_HOME", "/nonexistent")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackFailedError, match=r"ended with exit code 1 .*\n.*Java 17 or newer is needed"):
        control.up(folder)
    with pytest.raises(StackNotRunningError):
        control.state(folder)
