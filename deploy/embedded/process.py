"""A supervised child process with a log and a health check, which never outlives its program."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from deploy.embedded import guardian
from deploy.embedded.errors import AbandonedError, NotRunningError, StartError, ToolFailedError
from deploy.embedded.excerpt import excerpt
from deploy.embedded.guardian import Assignment, Order

ORPHAN_GRACE_SECONDS = 5.0
_TAIL_BYTES = 256 * 1024
_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class Account:
    """The user and primary group that a process runs as."""

    name: str
    gid: int


class ManagedProcess:
    """One process under a guardian (see `guardian`), which stops it when this program ends in whatever way.

    It can be started again after it has ended. `stop` asks and then insists; `kill` is a crash: SIGKILL to
    the process and all that it started, and when it returns they are gone. All methods but `start` are
    harmless on a process that has ended, except `pause` and `resume`, which raise `NotRunningError`.
    """

    def __init__(
        self,
        name: str,
        log: Path,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        account: Account | None = None,
        env: Mapping[str, str] | None = None,
        remove_when_orphaned: Sequence[Path] = (),
    ) -> None:
        self.name, self.log = name, log
        self._stop_signal, self._account, self._env = stop_signal, account, env
        self._remove_when_orphaned = tuple(remove_when_orphaned)
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_start = 0
        self._abandoned = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the process, paused or not, is there."""
        return self._guardian is not None and self._guardian.poll() is None

    @property
    def pids(self) -> tuple[int, ...]:
        """The process and its guardian; nothing when it does not run."""
        if self._guardian is None or self._pid is None or not self.running:
            return ()
        return (self._pid, self._guardian.pid)

    def start(self, command: Sequence[str], *, cwd: Path, healthy: Callable[[], bool], timeout_seconds: float) -> None:
        """Start the command and return once `healthy` says so; `StartError` with the log's tail otherwise."""
        self._launch(command, cwd)
        try:
            self._wait_until(healthy, timeout_seconds)
        except BaseException:
            self.kill()
            raise

    def run(self, tool: str, command: Sequence[str], *, cwd: Path, timeout_seconds: float) -> None:
        """Run a tool to its end, under the same guard; `ToolFailedError` with what it wrote."""
        self._launch(command, cwd)
        try:
            self._wait_until(lambda: not self.running, timeout_seconds)
        except BaseException:
            self.kill()
            raise
        code = self._exit_code()
        if code:
            raise ToolFailedError(tool, code, excerpt(self.log_text()))

    def abandon(self) -> None:
        """Call off a start that another thread is waiting for; the object can not be started again."""
        self._abandoned.set()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Ask the process to end in order; SIGKILL after the grace."""
        if self.running:
            self._order(Order.STOP)
            try:
                self._wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close()

    def kill(self) -> None:
        """SIGKILL, as a crash would: to the process and all that it started."""
        if self.running:
            self._order(Order.KILL)
            self._wait(guardian.UNKILLABLE_SECONDS + ORPHAN_GRACE_SECONDS)
        self._close()

    def pause(self) -> None:
        """SIGSTOP to the process and all that it started; when it returns, they stand still."""
        self._order_and_wait(Order.PAUSE)

    def resume(self) -> None:
        """SIGCONT to the process and all that it started."""
        self._order_and_wait(Order.RESUME)

    def log_text(self) -> str:
        """What the process wrote since it was started last, at most the last 256 KiB."""
        try:
            with self.log.open("rb") as lines:
                size = lines.seek(0, 2)
                lines.seek(max(self._log_start, size - _TAIL_BYTES))
                return lines.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _launch(self, command: Sequence[str], cwd: Path) -> None:
        if self._abandoned.is_set():
            raise AbandonedError(self.name)
        self._close()
        task = Assignment(
            name=self.name,
            command=list(command),
            cwd=str(cwd),
            env=None if self._env is None else dict(self._env),
            user=self._account.name if self._account else None,
            group=self._account.gid if self._account else None,
            stop_signal=self._stop_signal,
            grace_seconds=ORPHAN_GRACE_SECONDS,
            remove_when_orphaned=[str(folder) for folder in self._remove_when_orphaned],
        )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            # -P: the script's own folder holds modules with names like `kafka`, which no import may find.
            self._guardian = subprocess.Popen(
                [sys.executable, "-P", guardian.__file__, json.dumps(asdict(task))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        report = json.loads(_pipe(self._guardian.stdout).readline() or b'{"error": "its guardian ended"}')
        if "error" in report:
            self._guardian.wait()
            raise self._failed(f"could not be started: {report['error']}")
        self._pid = int(report["pid"])

    def _wait_until(self, healthy: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not healthy():
            if self._abandoned.is_set():
                raise AbandonedError(self.name)
            if not self.running:
                raise self._failed(f"ended with exit code {self._exit_code()} while starting")
            if time.monotonic() > deadline:
                raise self._failed(f"was not healthy after {timeout_seconds:g} s")
            time.sleep(_LOOK_EVERY_SECONDS)

    def _order(self, order: Order) -> None:
        if self._guardian is None:
            return
        stdin = _pipe(self._guardian.stdin)
        # The process may have ended by itself since the last look; then there is nobody left to obey.
        with suppress(BrokenPipeError, ValueError):
            stdin.write(order.value)
            stdin.flush()

    def _order_and_wait(self, order: Order) -> None:
        self._order(order)
        # Its guardian answers; if it has ended, the pipe does.
        if self._guardian is None or not self.running or not _pipe(self._guardian.stdout).readline():
            raise NotRunningError(self.name, "Start it first.")

    def _wait(self, timeout_seconds: float) -> None:
        if self._guardian is not None:
            self._guardian.wait(timeout_seconds)

    def _exit_code(self) -> int | None:
        return None if self._guardian is None else self._guardian.poll()

    def _close(self) -> None:
        if self._guardian is not None and self._guardian.poll() is not None:
            for pipe in (self._guardian.stdin, self._guardian.stdout):
                with suppress(BrokenPipeError):
                    _pipe(pipe).close()

    def _failed(self, reason: str) -> StartError:
        return StartError(self.name, reason, self.log, excerpt(self.log_text()))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:  # only for the type: both pipes are asked for
        raise NotRunningError("A guardian", "Its pipes were not made.")
    return pipe
