"""Ctrl-C and SIGTERM end the demo in order; whatever it started and still runs then is ended too."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import psutil

_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The user, or the system, asked for the end."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(self.name)


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first SIGINT or SIGTERM within the block; later ones change nothing."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        # What follows is the clean-up, which is bounded: a second signal would only cut it short.
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_children(spared: set[int]) -> None:
    """Ask the children that are not spared to end; kill what is left of them and theirs after a grace."""
    started = [child for child in psutil.Process().children() if child.pid not in spared]
    family = [*started, *(each for child in started for each in _descendants(child))]
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(map(_runs, family)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for process in filter(_runs, family):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    """Whether it has not ended. One that is not yet waited for has: its exit code is left to who started it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
