"""Who may write to a lake: one process at a time, by a lease with a number that only grows.

| path                                | what                                                                    |
|-------------------------------------|-------------------------------------------------------------------------|
| `<root>/_ops/lease/<token>.json`    | a claim: who took the lease, and for what; created once, never replaced |
| `<root>/_ops/lease/<token>.beat`    | written again and again by the holder while it lives                    |
| `<root>/_ops/lease/<token>.end`     | the holder has let it go, and writes no more; whether it owes fences    |

The newest claim holds. It is free for the next where it was let go, where its process is known to be dead, or where its
beat has not changed for `lease_seconds`, on the watch of the one who wants it: no clock is compared with another.

A holder that was only slow may wake up after it has lost the lease. What it would commit is refused by the tables: see
sinks/fence.py. Whoever takes the lease from a holder that did not let it go owes the tables their fences; one that lets
it go without having raised them leaves that to the next. After M. Kleppmann, "How to do distributed locking" (2016): a
lease alone protects nothing.
"""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, ValidationError

from checkpoints import exclusive
from checkpoints.errors import LeaseHeld, LeaseLost
from checkpoints.lake import Lake

BEATS_PER_LEASE: Final = 3.0
"""How often a holder says that it lives, within the time after which it is taken for dead."""

SERVICE: Final = "sluice run"
"""The purpose of a service, which carries out what others ask it for."""

_CLAIM = re.compile(r"^(\d{20})\.json$")
_OWING = "owes fences"
_LOOK_SECONDS = 0.2
_START_TICK = 18  # the 22nd field of /proc/<pid>/stat, counted after the 3rd
_KEPT = 20


class Process(BaseModel):
    """A process, so that it can be told from another one that got its number later.

    `machine` names the boot and the process namespace in which `pid` means something. `start_tick` counts from the boot
    as well: the wall clock may be set meanwhile, and a holder that lives would seem to be another process.
    """

    model_config = ConfigDict(frozen=True)

    host: str
    machine: str
    pid: int
    start_tick: int

    @classmethod
    def here(cls) -> Process:
        """This one."""
        pid = os.getpid()
        return cls(host=socket.gethostname(), machine=_machine(), pid=pid, start_tick=_start_tick(pid) or 0)

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended; of a process elsewhere nothing is known."""
        return self.machine == _machine() and _start_tick(self.pid) != self.start_tick


class Claim(BaseModel):
    """One tenure of the lease: its number, who has it, and what for."""

    model_config = ConfigDict(frozen=True)

    token: int
    owner: str
    purpose: str
    process: Process | None
    at: datetime

    def __str__(self) -> str:
        """For a sentence: the command, process and host."""
        if self.process is None:
            return f"an unreadable claim, number {self.token}"
        return f"`{self.purpose}`, process {self.process.pid} on {self.process.host}, since {self.at:%Y-%m-%d %H:%M:%S}"


@dataclass
class Lease:
    """The lease of one lake, held by this process from `take` to `release`.

    `token` is its number. `is_clean` says that nobody before can still be writing: the holder before had let it go, and
    owed no fences; or they have been raised since.
    """

    lake: Lake
    token: int
    is_clean: bool
    _owner: str
    _beats: int = field(default=0)

    @classmethod
    def take(
        cls, lake: Lake, purpose: str, lease_seconds: float, *, on_wait: Callable[[Claim], None] = lambda _: None
    ) -> Lease:
        """Take the lease; raises LeaseHeld where another process has it and lives.

        Whether a process on another machine lives is told by its beat, so that this may take `lease_seconds`;
        `on_wait` is told of whom that is asked.
        """
        while True:
            held = newest(lake)
            is_clean = held is None or _is_settled(lake, held.token)
            if held is not None and not _is_released(lake, held.token):
                if not (held.process and held.process.is_dead):
                    on_wait(held)
                if _lives(lake, held, lease_seconds):
                    raise LeaseHeld(lake.root, held)
            claim = Claim(
                token=held.token + 1 if held else 1,
                owner=uuid.uuid4().hex,
                purpose=purpose,
                process=Process.here(),
                at=datetime.now(UTC),
            )
            if exclusive.create(_file(lake, claim.token, "json"), claim.model_dump_json().encode()):
                lease = cls(lake, claim.token, is_clean, claim.owner)
                lease.renew()
                _forget(lake, claim.token - _KEPT)
                return lease

    def renew(self) -> None:
        """Say that this process lives; to be repeated. Raises LeaseLost where another one has the lease."""
        held = newest(self.lake)
        if held is None or held.token != self.token:
            raise LeaseLost(self.lake.root, self.token, held)
        self._beats += 1
        self.lake.write(_file(self.lake, self.token, "beat"), f"{self._owner} {self._beats}".encode())

    def release(self) -> None:
        """Let it go: this process writes no more. Where it has not raised the fences, the next holder has to."""
        text = self._owner if self.is_clean else f"{self._owner} {_OWING}"
        self.lake.write(_file(self.lake, self.token, "end"), text.encode())


def newest(lake: Lake) -> Claim | None:
    """The newest claim, whether its process lives or not; None where the lake was never written."""
    tokens = _tokens(lake)
    if not tokens:
        return None
    text = lake.read(_file(lake, tokens[-1], "json"))
    try:
        return Claim.model_validate_json(text or b"")
    except ValidationError:
        return Claim(token=tokens[-1], owner="", purpose="", process=None, at=datetime.fromtimestamp(0, UTC))


def check(lake: Lake) -> None:
    """See that nobody else has taken the lease meanwhile, before what no fence is in the way of; raises LeaseLost.

    Without a lease it may always be written. A pause after this look is not seen.
    """
    if lake.token is not None and (tokens := _tokens(lake)) and tokens[-1] > lake.token:
        raise LeaseLost(lake.root, lake.token, newest(lake))


class Watch:
    """Looks at a lease from outside: whether the process that has it still lives."""

    def __init__(self, lake: Lake, lease_seconds: float) -> None:
        self._lake = lake
        self._lease_seconds = lease_seconds
        self._seen: tuple[int, bytes | None] | None = None
        self._since = time.monotonic()

    def holder(self) -> Claim | None:
        """Who has the lease; None where nobody does, or where its beat has been still for long enough."""
        held = newest(self._lake)
        if held is None or _is_released(self._lake, held.token) or (held.process and held.process.is_dead):
            return None
        seen = (held.token, self._lake.read(_file(self._lake, held.token, "beat")))
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return held if time.monotonic() - self._since < self._lease_seconds else None


def _lives(lake: Lake, held: Claim, lease_seconds: float) -> bool:
    """Whether a holder lives: its beat changes within `lease_seconds`."""
    if held.process and held.process.is_dead:
        return False
    before = lake.read(_file(lake, held.token, "beat"))
    until = time.monotonic() + lease_seconds
    while time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        if _is_released(lake, held.token) or (held.process and held.process.is_dead):
            return False
        if lake.read(_file(lake, held.token, "beat")) != before:
            return True
    return False


def _is_released(lake: Lake, token: int) -> bool:
    return lake.read(_file(lake, token, "end")) is not None


def _is_settled(lake: Lake, token: int) -> bool:
    said = lake.read(_file(lake, token, "end"))
    return said is not None and not said.decode().endswith(_OWING)


def _tokens(lake: Lake) -> list[int]:
    filesystem, path = lake.filesystem(f"{lake.root}/_ops/lease")
    found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(int(match[1]) for info in found if (match := _CLAIM.match(info.base_name)))


def _forget(lake: Lake, up_to: int) -> None:
    """Remove claims that are long gone; the newest ones tell who was here."""
    for token in _tokens(lake):
        if token <= up_to:
            for kind in ("beat", "end", "json"):
                filesystem, path = lake.filesystem(_file(lake, token, kind))
                if filesystem.get_file_info(path).type == fs.FileType.File:
                    filesystem.delete_file(path)


def _file(lake: Lake, token: int, kind: str) -> str:
    return f"{lake.root}/_ops/lease/{token:020d}.{kind}"


def _machine() -> str:
    """The boot of this machine and the namespace of its process numbers: in another container they are others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time()}"


def _start_tick(pid: int) -> int | None:
    """When a process started; None where it has ended, or is only waited for by its parent."""
    try:
        # After the name, which is in brackets and may have blanks: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _started_at(pid)
    return None if state in (b"Z", b"X") else int(fields[_START_TICK])


def _started_at(pid: int) -> int | None:
    """The same where there is no /proc: by the wall clock, in milliseconds."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 1000)
    except psutil.NoSuchProcess:
        return None
