"""What a round may bring: each does its harm while the town lives on; the service may be dead after it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from checkpoints import failpoints
from tests.support.town import Town
from tests.torture import acts

PLACES = [place for place in failpoints.PLACES if place.startswith(("bronze.", "silver.", "table."))]
_PAUSE_SECONDS = 9.0  # longer than the lease of the town's services


class Skipped(Exception):
    """A fault that can not be had here; says why."""


def kill(town: Town, chance: random.Random) -> str:
    """SIGKILL to the service's whole process group, at any moment."""
    time.sleep(chance.uniform(0, 3))
    town.service.kill()
    return "killed"


def kill_at_a_place(town: Town, chance: random.Random) -> str:
    """The service starts with a failpoint, and dies between two effects."""
    place = chance.choice(PLACES)
    town.service.terminate()
    rule = f"{place}=kill@{chance.randrange(1, 4)}"
    process_environment = {failpoints.VARIABLE: rule}
    os.environ.update(process_environment)
    try:
        town.service.start()
    finally:
        for name in process_environment:
            del os.environ[name]
    deadline = time.monotonic() + 60
    while town.service.process is not None and town.service.process.poll() is None and time.monotonic() < deadline:
        town.live(3)
        time.sleep(0.3)
    return rule


def kill_jvm(town: Town, chance: random.Random) -> str:
    """Spark's JVM dies alone, as from a lack of memory."""
    assert town.service.process is not None
    time.sleep(chance.uniform(0, 2))
    for child in psutil.Process(town.service.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a worker of the JVM that was killed just now
            if child.name() == "java":
                child.kill()
    town.service.process.wait(240)
    return "its JVM was killed"


def pause(town: Town, chance: random.Random) -> str:
    """SIGSTOP for longer than the lease, and nobody takes it: the service goes on."""
    assert town.service.process is not None
    time.sleep(chance.uniform(0, 2))
    os.killpg(town.service.process.pid, signal.SIGSTOP)
    town.live(10)
    time.sleep(_PAUSE_SECONDS)
    os.killpg(town.service.process.pid, signal.SIGCONT)
    return f"stood still for {_PAUSE_SECONDS:g} s"


def take_over(town: Town, chance: random.Random) -> str:
    """The service stands still, another takes its place, and the first one wakes up."""
    old = town.service
    assert old.process is not None
    time.sleep(chance.uniform(0, 2))
    os.killpg(old.process.pid, signal.SIGSTOP)
    town.live(10)
    number = len(list(town.folder.glob("service*.log")))
    town.service = town.new_service(f"service{number}.log")
    town.service.start()
    town.service.wait_for(lambda _: b"service started" in town.service.log.read_bytes(), "the second one starts")
    os.killpg(old.process.pid, signal.SIGCONT)
    code = old.process.wait(240)
    if code != 1:
        raise AssertionError(f"a service that had lost its lease ended with {code}")
    return "another took over, the first woke up"


def second(town: Town, chance: random.Random) -> str:
    """A second service is started beside the first: it refuses."""
    del chance
    done = town.new_service("second.log").command("run", "--once")
    if done.returncode != 1 or "is written by another process" not in " ".join(done.stderr.split()):
        raise AssertionError(f"a second service was not refused: {done.returncode} {done.stderr[-300:]}")
    return "a second service was refused"


def broker(town: Town, chance: random.Random) -> str:
    """The broker goes away and comes back."""
    time.sleep(chance.uniform(0, 2))
    town.stack.kafka.stop()
    time.sleep(chance.uniform(0, 3))
    town.stack.kafka.start()
    return "the broker was away"


def kill_connect(town: Town, chance: random.Random) -> str:
    """Connect is killed while the database lives on, and repeats what it had not noted."""
    time.sleep(chance.uniform(0, 1))
    town.stack.connect.kill()
    town.live(20)
    time.sleep(chance.uniform(0, 2))
    town.stack.connect.start()
    return "Connect was killed"


def drain(town: Town, chance: random.Random) -> str:
    """SIGTERM in the middle of the work."""
    time.sleep(chance.uniform(0, 3))
    return f"drained with exit code {town.service.terminate()}"


def full_disk(town: Town, chance: random.Random) -> str:
    """The disk of the lake is full for a while."""
    lake = Path(town.lake.root)
    if town.store is not None or not os.path.ismount(lake):
        raise Skipped("the lake is on no disk of its own")
    ballast = lake / "ballast"
    time.sleep(chance.uniform(0, 1))
    try:
        with ballast.open("wb") as file:
            while True:
                file.write(b"\0" * (1 << 20))
                file.flush()
    except OSError:
        pass  # it is full
    town.live(20)
    time.sleep(chance.uniform(3, 6))
    ballast.unlink()
    return "the disk was full"


def bad_store(town: Town, chance: random.Random) -> str:
    """S3 is slow, refuses, and loses answers, for a while."""
    if town.store is None:
        raise Skipped("the lake is not on S3 (`--store s3`)")
    before = town.store.weather(late=0.2, refused=0.15, lost=0.05)
    town.live(20)
    time.sleep(chance.uniform(5, 9))
    met = Counter(town.store.weather())
    met.subtract(before)
    return f"S3 met {', '.join(f'{times} requests {kind}' for kind, times in sorted(met.items()))}"


FAULTS: dict[str, tuple[int, Callable[[Town, random.Random], str]]] = {
    "kill": (4, kill),
    "kill at a failpoint": (6, kill_at_a_place),
    "kill the JVM": (2, kill_jvm),
    "pause": (1, pause),
    "take over": (2, take_over),
    "second service": (1, second),
    "broker restart": (2, broker),
    "kill Connect": (2, kill_connect),
    "drain": (1, drain),
    "full disk": (2, full_disk),
    "bad S3": (3, bad_store),
    "reset": (2, acts.reset),
    "backfill cut short": (2, acts.backfill_cut_short),
    "replay": (1, acts.replay),
    "rewind": (2, acts.rewind),
    "rewind cut short": (2, acts.rewind_cut_short),
    "lose a checkpoint": (2, acts.lose_checkpoint),
}
"""Name -> how often, compared with the others, and what it does."""
