"""The embedded stack of the session, and what the tests of processes need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.embedded.stack import EmbeddedStack

WAIT_SECONDS = 60.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds; fail the test if it never does."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"never came true: {what}")
        time.sleep(0.05)


def alive(pids: Iterable[int]) -> set[int]:
    """Those of the processes that exist and are not just waiting to be reaped."""
    found = set()
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.add(pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="session", name="eventually")
def eventually_fixture() -> Callable[[Callable[[], bool], str], None]:
    return eventually


@pytest.fixture(scope="session", name="alive")
def alive_fixture() -> Callable[[Iterable[int]], set[int]]:
    return alive


@pytest.fixture(scope="session")
def listening() -> Callable[[int], set[str]]:
    """The addresses on which a process accepts connections."""

    def addresses(pid: int) -> set[str]:
        connections = psutil.Process(pid).net_connections("tcp")
        return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}

    return addresses


@pytest.fixture(scope="session")
def checkout() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    """Broker and PostgreSQL; a test that kills one starts it again."""
    with EmbeddedStack() as running:
        yield running
