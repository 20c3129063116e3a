"""A small process that starts one other process, and stops it when whoever asked for it is gone.

It runs in a session of its own, so that neither Ctrl-C nor a SIGKILL to the caller's process group reaches
it. Its standard input is a pipe from the caller. A byte on it is an order (`Order`); its end, or another
parent, means that the caller is gone, however it went: the process is then stopped in order, within a
grace, and the temporary data removed.

On Linux it also is the subreaper of what it started, so that grandchildren (PostgreSQL's backends, each in
a session of its own) are still found when their parent is dead; and should the guardian itself be killed,
the kernel kills the process for it (PR_SET_PDEATHSIG, which holds for the thread that forks: this process
has only one).

It is run as a script, and imports nothing of Sluice. Its argument is a JSON object: the fields of
`Assignment`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 1.0
PAUSE_SECONDS = 2.0
REMOVE_SECONDS = 10.0
UNKILLABLE_SECONDS = 10.0  # a process in the kernel's uninterruptible sleep is left to it


class Order(Enum):
    """What the caller may write to the pipe, one byte each."""

    STOP = b"T"
    KILL = b"K"
    PAUSE = b"S"
    RESUME = b"C"


@dataclass(frozen=True)
class Assignment:
    """What to run and how to end it."""

    name: str
    command: list[str]
    cwd: str
    env: dict[str, str] | None
    user: str | None
    group: int | None
    stop_signal: int
    grace_seconds: float
    remove_when_orphaned: list[str]


def main(argument: str) -> int:
    """Run the assignment to its end; the exit code is the process's, or 128 plus the signal that ended it."""
    task = Assignment(**json.loads(argument))
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    asked_to_end: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
    try:
        child = _start(task)
    except (OSError, subprocess.SubprocessError) as error:
        _report({"error": str(error)})
        return 127
    _report({"pid": child.pid})
    orphaned = False
    while child.poll() is None:
        ready, _, _ = select.select([0, woken], [], [], POLL_SECONDS)
        if woken in ready:
            os.read(woken, 512)
        orders = os.read(0, 512) if 0 in ready else None
        orphaned = orders == b"" or os.getppid() != parent
        if orphaned or asked_to_end:
            _end(child, task)
        for order in orders or b"":
            if child.poll() is None:
                _obey(Order(bytes([order])), child, task)
    _kill_all(child)
    if orphaned or os.getppid() != parent:
        _remove(task.remove_when_orphaned)
    code = int(child.returncode)
    return code if code >= 0 else 128 - code


def _start(task: Assignment) -> subprocess.Popen[bytes]:
    guardian = os.getpid()

    def die_with_guardian() -> None:
        # Runs after the change of user, which would clear the setting.
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guardian:
            os._exit(127)

    return subprocess.Popen(
        task.command,
        cwd=task.cwd,
        env=task.env,
        user=task.user,
        group=task.group,
        extra_groups=[] if task.user is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
        start_new_session=True,
        preexec_fn=die_with_guardian,
    )


def _report(fact: dict[str, object]) -> None:
    # Straight to the pipe: the caller may be gone, and a buffer would complain once more at the end.
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(fact).encode() + b"\n")


def _obey(order: Order, child: subprocess.Popen[bytes], task: Assignment) -> None:
    match order:
        case Order.STOP:
            _signal_all(_descendants(), signal.SIGCONT)
            child.send_signal(task.stop_signal)
        case Order.KILL:
            _kill_all(child)
        case Order.PAUSE:
            _signal_all(_descendants(), signal.SIGSTOP)
            _wait_until_stopped(_descendants())
            _report({"obeyed": order.name})
        case Order.RESUME:
            _signal_all(_descendants(), signal.SIGCONT)
            _report({"obeyed": order.name})


def _end(child: subprocess.Popen[bytes], task: Assignment) -> None:
    _signal_all(_descendants(), signal.SIGCONT)
    child.send_signal(task.stop_signal)
    deadline = time.monotonic() + task.grace_seconds
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    _kill_all(child)


def _descendants() -> list[psutil.Process]:
    """The process itself first, then what it started."""
    return psutil.Process().children(recursive=True)


def _signal_all(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _wait_until_stopped(processes: list[psutil.Process]) -> None:
    """SIGSTOP takes effect when the kernel next looks at each thread, not when it is sent."""
    ended = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    deadline = time.monotonic() + PAUSE_SECONDS
    with suppress(psutil.NoSuchProcess):
        while any(each.status() not in ended for each in processes) and time.monotonic() < deadline:
            time.sleep(0.01)


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    """End the process, then what it leaves behind: on its death that becomes this process's own children."""
    if child.poll() is None:
        child.kill()
        child.wait()
    deadline = time.monotonic() + UNKILLABLE_SECONDS
    while (remaining := _descendants()) and time.monotonic() < deadline:
        _signal_all(remaining, signal.SIGKILL)
        while _reap_one():
            pass
        time.sleep(0.01)


def _remove(folders: list[str]) -> None:
    """Remove the folders, also under the hands of other guardians that do the same."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while (left := [folder for folder in folders if os.path.lexists(folder)]) and time.monotonic() < deadline:
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _reap_one() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
