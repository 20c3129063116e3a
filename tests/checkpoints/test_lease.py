"""The lease: one holder at a time, by whatever way the one before ended, on a file system and on S3."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from checkpoints import exclusive, generations, lease
from checkpoints.errors import LeaseHeld, LeaseLost, NotExclusive, UnknownStore
from checkpoints.lake import Lake
from checkpoints.lease import Claim, Lease, Process, Watch
from checkpoints.watermarks import FileWatermarks
from tests.support.moto import moto

SECONDS = 1.0

HOLDER = """
import sys, threading, time
from checkpoints.lake import Lake
from checkpoints.lease import Lease
held = Lease.take(Lake.at(sys.argv[1]), "sluice run", 1.0)
print(held.token, flush=True)
while True:
    time.sleep(0.2)
    held.renew()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with moto("leases") as served:
        yield f"s3://{served.bucket}"


@pytest.fixture(params=["files", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "files":
        return Lake.at(str(tmp_path / "lake"))
    return Lake.at(f"{request.getfixturevalue('bucket')}/{request.node.originalname}")


@pytest.fixture
def files(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


@pytest.fixture
def holder(files: Lake) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease and renews it."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, files.root], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    yield process
    process.kill()
    process.wait()


class Beats:
    """Renews a lease in a thread, as a holder elsewhere would."""

    def __init__(self, held: Lease) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(held,))
        self._thread.start()

    def _run(self, held: Lease) -> None:
        while not self._ended.wait(0.1):
            held.renew()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def elsewhere(lake: Lake, token: int) -> Lease:
    """A lease whose holder is on another machine: nothing is known of its process."""
    process = Process(host="far", machine="another boot", pid=1, start_tick=1)
    claim = Claim(token=token, owner="far", purpose="sluice run", process=process, at=datetime.now(UTC))
    assert exclusive.create(lease._file(lake, token, "json"), claim.model_dump_json().encode())
    held = Lease(lake, token, True, "far")
    held.renew()
    return held


def test_of_many_who_create_a_file_one_does(lake: Lake) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: exclusive.create(f"{lake.root}/x/one", b"%d" % n), range(16)))

    assert made.count(True) == 1
    assert lake.read(f"{lake.root}/x/one") == b"%d" % made.index(True)


def test_a_store_that_is_not_known_is_refused() -> None:
    for root in ("gs://bucket/lake", "abfss://lake@account/x", "s3://"):
        with pytest.raises(UnknownStore, match="of a file system and of S3"):
            Lake.at(root)


def test_a_lease_that_was_let_go_is_free_and_clean(lake: Lake) -> None:
    first = Lease.take(lake, "sluice run", SECONDS)
    first.release()
    second = Lease.take(lake, "sluice run", SECONDS)

    assert (first.token, first.is_clean) == (1, True)
    assert (second.token, second.is_clean) == (2, True)
    assert Watch(lake, SECONDS).holder() == lease.newest(lake)


def test_a_holder_elsewhere_that_lives_keeps_it_and_is_named(lake: Lake) -> None:
    beats = Beats(elsewhere(lake, 1))
    try:
        with pytest.raises(LeaseHeld, match=r"`sluice run`, process 1 on far"):
            Lease.take(lake, "sluice run", SECONDS * 5)
    finally:
        beats.end()


def test_a_holder_elsewhere_that_is_still_loses_it_and_learns_so(lake: Lake) -> None:
    lost = elsewhere(lake, 1)
    watch = Watch(lake, SECONDS)
    assert watch.holder() is not None

    taken = Lease.take(lake, "sluice run", SECONDS)

    assert (taken.token, taken.is_clean) == (2, False)
    with pytest.raises(LeaseLost, match="number 1"):
        lost.renew()
    taken.renew()


def test_a_holder_that_stands_still_is_seen_from_outside(lake: Lake) -> None:
    held = elsewhere(lake, 1)
    watch = Watch(lake, 0.3)
    assert watch.holder() is not None
    time.sleep(0.4)
    assert watch.holder() is None
    held.renew()
    assert watch.holder() is not None
    held.release()
    assert watch.holder() is None


def test_of_two_who_want_it_at_once_one_gets_it(lake: Lake) -> None:
    elsewhere(lake, 1)

    def take() -> Lease | None:
        try:
            return Lease.take(lake, "sluice run", 0.5)
        except LeaseHeld:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = [one for one in pool.map(lambda _: take(), range(4)) if one is not None]

    # The others find a holder in this very process, which lives but has not renewed within their wait: a later one of
    # them may follow, and then the one before has lost it.
    assert len({one.token for one in found}) == len(found) >= 1
    newest = max(found, key=lambda one: one.token)
    newest.renew()
    for one in found:
        if one is not newest:
            with pytest.raises(LeaseLost):
                one.renew()


def test_a_process_that_was_killed_holds_nothing(files: Lake, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(LeaseHeld, match=f"process {holder.pid}"):
        Lease.take(files, "sluice run", 30)
    holder.kill()
    holder.wait()

    taken = Lease.take(files, "sluice run", 600)  # nobody waits so long for a process that is known to be dead

    assert (taken.token, taken.is_clean) == (2, False)


def test_a_process_that_is_stopped_loses_it_in_time(files: Lake, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    taken = Lease.take(files, "sluice run", SECONDS)
    os.kill(holder.pid, signal.SIGCONT)

    assert taken.token == 2
    assert holder.wait(240) == 1  # it finds that it has lost it, and ends


def test_a_holder_lives_though_the_clock_was_set(
    files: Lake, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel's time of the boot moves with the clock, and with it the time of day at which a process began.
    boot_time = psutil._pslinux.boot_time
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot_time() - 3600)
    assert psutil.Process(holder.pid).create_time() < time.time() - 3000
    with pytest.raises(LeaseHeld, match=f"process {holder.pid}"):
        Lease.take(files, "sluice run", 30)


def test_another_process_with_the_number_of_the_holder_is_another(files: Lake) -> None:
    here = Process.here()  # as in a container that was started again: the same number in the same namespace
    before = here.model_copy(update={"start_tick": here.start_tick - 1})
    claim = Claim(token=1, owner="before", purpose="sluice run", process=before, at=datetime.now(UTC))
    assert exclusive.create(lease._file(files, 1, "json"), claim.model_dump_json().encode())

    taken = Lease.take(files, "sluice run", 600)

    assert (taken.token, taken.is_clean) == (2, False)


def test_who_lets_it_go_without_having_raised_the_fences_leaves_that_to_the_next(lake: Lake) -> None:
    elsewhere(lake, 1)  # it stands still, and may wake up
    second = Lease.take(lake, "sluice run", 0.3)
    second.release()  # it could not start
    third = Lease.take(lake, "sluice run", 600)  # which is told at once
    assert (third.token, third.is_clean) == (3, False)

    third.is_clean = True  # it raises the fences
    third.release()
    assert Lease.take(lake, "sluice run", 600).is_clean


def test_what_no_fence_is_in_the_way_of_is_looked_at_before(lake: Lake) -> None:
    lease.check(lake)
    first = Lake(lake.root, Lease.take(lake, "sluice run", SECONDS).token)
    lease.check(first)
    watermarks = FileWatermarks(first)
    watermarks.advance("items", datetime(2026, 1, 2, tzinfo=UTC))
    before = generations.Start(generation=1, kind="reset", at=datetime(2026, 1, 1, tzinfo=UTC), topic="t")
    elsewhere(lake, 2)

    with pytest.raises(LeaseLost, match="It is held by `sluice run`, process 1 on far"):
        watermarks.advance("items", datetime(2026, 1, 3, tzinfo=UTC))
    with pytest.raises(LeaseLost):
        generations.keep(first, "bronze.t", before)
    assert watermarks.get("items") == datetime(2026, 1, 2, tzinfo=UTC)
    assert lake.generation("bronze.t") == 0


def test_a_place_without_hard_links_is_refused(files: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as FAT and some network shares say

    exclusive.ensure(files.root)
    monkeypatch.setattr(os, "link", link)
    with pytest.raises(NotExclusive, match=r"hard link can not be made \(Operation not permitted\)"):
        exclusive.ensure(files.root)
    assert list(Path(files.root).iterdir()) == []


def test_a_link_whose_answer_was_lost_is_found(files: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(there: Path, name: Path) -> None:
        made(there, name)
        raise FileExistsError  # the client has asked a second time

    made = os.link
    monkeypatch.setattr(os, "link", link)
    assert exclusive.create(f"{files.root}/x/one", b"1")
    monkeypatch.undo()
    assert not exclusive.create(f"{files.root}/x/one", b"2")
    assert files.read(f"{files.root}/x/one") == b"1"


def test_a_claim_that_can_not_be_read_is_waited_for_and_passed(files: Lake) -> None:
    exclusive.create(lease._file(files, 7, "json"), b"{")

    taken = Lease.take(files, "sluice run", 0.3)

    assert (taken.token, taken.is_clean) == (8, False)


def test_old_claims_are_forgotten(files: Lake) -> None:
    for _ in range(25):
        Lease.take(files, "sluice run", SECONDS).release()

    assert lease._tokens(files) == list(range(6, 26))
