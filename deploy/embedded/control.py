"""A stack that outlives the command that started it: `up`, and `down` later, from another process.

`<folder>/stack.json` says where it is, readable by its owner only, since PostgreSQL's address holds a
password. A supervisor process holds the stack, and a lock on the folder: whether a stack is up is asked of
the lock, not of a process number that may have been given to another. `<folder>/logs` has the logs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from deploy import build_folder
from deploy.embedded import guardian
from deploy.embedded.errors import StackFailedError, StackNotRunningError, StackRunningError
from deploy.embedded.stack import PARTS

START_SECONDS = 120.0
STOP_SECONDS = 60.0
ALREADY_HELD = 3  # the supervisor's exit code when another one holds the folder
SUPERVISOR = "deploy.embedded.supervisor"
_LOOK_EVERY_SECONDS = 0.1
_TAIL_LINES = 40


@dataclass(frozen=True)
class StackState:
    """Where a detached stack is: broker, registry, PostgreSQL as the application's role, Connect's REST interface."""

    folder: Path
    bootstrap: str
    registry_url: str
    dsn: str = field(repr=False)
    connect_url: str
    supervisor: int
    pids: dict[str, tuple[int, ...]]

    def write(self) -> None:
        """Write `stack.json` in one step."""
        scratch = state_file(self.folder).with_suffix(".new")
        scratch.touch(mode=0o600)
        scratch.write_text(json.dumps(asdict(self), default=str, indent=2) + "\n")
        scratch.replace(state_file(self.folder))


def up(folder: Path) -> StackState:
    """Start a detached stack in the folder, with the shop's tables, and return when Debezium runs.

    Errors: `StackRunningError` if one is up there, `StackFailedError` with the end of the supervisor's log.
    What a killed stack left in the folder is removed first.
    """
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder) as mine:
        if not mine:
            raise StackRunningError(folder, _supervisor(folder))
        _clear(folder, time.monotonic() + STOP_SECONDS)
    with _log(folder).open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
    try:
        return _wait_for(supervisor, folder)
    except BaseException:
        supervisor.terminate()
        with suppress(subprocess.TimeoutExpired):
            supervisor.wait(STOP_SECONDS)
        raise


def down(folder: Path) -> None:
    """Stop the stack in the folder and remove what it made there; the folder too, if nothing else is in it.

    Errors: `StackNotRunningError` if none is there, `StackFailedError` if it does not stop. A stack that
    was killed is cleaned up like one that runs.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise StackNotRunningError(folder)
    with held(folder) as mine:
        if mine and not state_file(folder).exists():
            raise StackNotRunningError(folder)
    deadline = time.monotonic() + STOP_SECONDS
    supervisor = _supervisor(folder)
    if supervisor is not None:
        with suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
    while True:
        with held(folder) as mine:
            # The supervisor lets go of the lock a moment before it has ended.
            if mine and _supervisor(folder) is None:
                _clear(folder, deadline)
                break
        if time.monotonic() > deadline:
            raise _failed(folder, f"did not stop within {STOP_SECONDS:g} s")
        time.sleep(_LOOK_EVERY_SECONDS)
    with suppress(OSError):
        folder.rmdir()


def state(folder: Path) -> StackState:
    """The stack that is up in the folder; `StackNotRunningError` if none is there and healthy."""
    folder = folder.expanduser().resolve()
    if not state_file(folder).exists():
        raise StackNotRunningError(folder)
    with held(folder) as mine:
        if mine:
            raise StackNotRunningError(folder)
    known = json.loads(state_file(folder).read_text())
    pids = {part: tuple(pids) for part, pids in known["pids"].items()}
    return StackState(**(known | {"folder": Path(known["folder"]), "pids": pids}))


def state_file(folder: Path) -> Path:
    """Where the state of the folder's stack is written."""
    return folder / "stack.json"


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock for the block; False if another process holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def _wait_for(supervisor: subprocess.Popen[bytes], folder: Path) -> StackState:
    deadline = time.monotonic() + START_SECONDS
    while supervisor.poll() is None:
        with suppress(StackNotRunningError):
            found = state(folder)
            if found.supervisor == supervisor.pid:
                return found
        if time.monotonic() > deadline:
            raise _failed(folder, f"was not healthy after {START_SECONDS:g} s")
        time.sleep(_LOOK_EVERY_SECONDS)
    if supervisor.returncode == ALREADY_HELD:
        raise StackRunningError(folder, _supervisor(folder))
    raise _failed(folder, f"ended with exit code {supervisor.returncode} while starting")


def _environment() -> dict[str, str]:
    checkout = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [checkout, os.environ.get("PYTHONPATH")]))
    # The supervisor works in another folder, where a relative path would mean something else.
    return os.environ | {"PYTHONPATH": search, "SLUICE_BUILD_DIR": str(build_folder())}


def _clear(folder: Path, deadline: float) -> None:
    """Remove what a stack leaves in the folder, once the guardians of one that was killed have ended."""
    while _guardians(folder) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_SECONDS)
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
    for file in (state_file(folder), _log(folder)):
        file.unlink(missing_ok=True)


def _supervisor(folder: Path) -> int | None:
    pids = [pid for pid, command in _commands() if SUPERVISOR in command and command[-1] == str(folder)]
    return pids[0] if pids else None


def _guardians(folder: Path) -> list[int]:
    inside = json.dumps(str(folder))[:-1] + "/"
    return [pid for pid, command in _commands() if guardian.__file__ in command and inside in command[-1]]


def _commands() -> list[tuple[int, list[str]]]:
    processes = psutil.process_iter(["cmdline"])
    return [(process.pid, process.info["cmdline"]) for process in processes if process.info["cmdline"]]


def _log(folder: Path) -> Path:
    return folder / "supervisor.log"


def _failed(folder: Path, reason: str) -> StackFailedError:
    try:
        lines = _log(folder).read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        lines = []
    return StackFailedError(folder, reason, "\n".join(lines[-_TAIL_LINES:]))
