"""What the broker, PostgreSQL and Connect have in common: a folder, ports, one supervised process."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.embedded.errors import NotRunningError, StartError
from deploy.embedded.ports import free_ports
from deploy.embedded.process import Account, ManagedProcess

TIMEOUT_SECONDS = 60.0


class Component(ABC):
    """A part of the embedded stack. It keeps its ports and its data over `stop`, `kill` and `start`.

    `folder` is for its data, `logs` for its log (default: `logs` in the folder).
    """

    name: str
    port_count = 1
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        *,
        logs: Path | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.folder = folder.resolve()
        self.log = (logs or self.folder / "logs") / f"{self.name}.log"
        self.ports: tuple[int, ...] = ()
        self._timeout_seconds = timeout_seconds
        self._process = ManagedProcess(
            self.name,
            self.log,
            stop_signal=self.stop_signal,
            account=self._account(),
            env=self._env(),
        )

    @property
    def running(self) -> bool:
        """Whether its process, paused or not, is there."""
        return self._process.running

    @property
    def pids(self) -> tuple[int, ...]:
        """The process and its guardian; nothing when it does not run."""
        return self._process.pids

    def start(self) -> None:
        """Start it and return when it is healthy; nothing happens if it runs.

        A free port can be taken between the choice and its use. The first start then tries once more with
        other ports; later ones need the same ports again, and fail with `StartError`.
        """
        if self.running:
            return
        if self.ports:
            self._start()
            return
        try:
            self._start_on(free_ports(self.port_count))
        except StartError:
            if "address already in use" not in self._process.log_text().lower():
                raise
            self._start_on(free_ports(self.port_count))

    def stop(self) -> None:
        """Stop it in order."""
        self._process.stop()

    def kill(self) -> None:
        """Crash it: SIGKILL to its process and all that it started."""
        self._process.kill()

    def restart(self) -> None:
        """Stop it if it runs, then start it with the same ports and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it is there, and does not answer."""
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._process.resume()

    def abandon(self) -> None:
        """Call off a start that another thread is waiting for."""
        self._process.abandon()

    def _start_on(self, ports: Sequence[int]) -> None:
        self.ports = tuple(ports)
        try:
            self._start()
        except BaseException:
            self.ports = ()
            raise

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._prepare()
        self._process.start(command, cwd=self._cwd(), healthy=self._healthy, timeout_seconds=self._timeout_seconds)
        self._after_start()

    def _run_tool(self, tool: str, command: Sequence[str]) -> None:
        self._process.run(tool, command, cwd=self._cwd(), timeout_seconds=self._timeout_seconds)

    def _port(self, index: int = 0) -> int:
        if not self.ports:
            raise NotRunningError(self.name, "It has no address before its first start.")
        return self.ports[index]

    def _account(self) -> Account | None:
        """The account to run as; None for the user's own."""
        return None

    def _env(self) -> Mapping[str, str] | None:
        """The environment of the process; None for this program's own."""
        return None

    def _cwd(self) -> Path:
        return self.folder

    def _after_start(self) -> None:
        """What is to be done once it is healthy; it must be harmless on a second start."""
        return

    @abstractmethod
    def _prepare(self) -> Sequence[str]:
        """Write its configuration, format its data folder if that is new, and give the command to run."""

    @abstractmethod
    def _healthy(self) -> bool:
        """Whether it serves."""
