"""Holding the lease of a lake for as long as something is written there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from checkpoints import exclusive
from checkpoints.errors import LeaseLost
from checkpoints.failpoints import reach
from checkpoints.lake import Lake
from checkpoints.lease import BEATS_PER_LEASE, Claim, Lease
from schemas.errors import SluiceError
from schemas.settings import Settings
from streams import logs
from streams.explain import explain

if TYPE_CHECKING:
    from streams.graph import Graph

log = logs.get(__name__)


class Tenure:
    """The time in which this process holds the lease; a thread says again and again that it lives.

    A beat that can not be written is tried again: as long as nobody else takes the lease, nothing is lost by it.
    """

    def __init__(self, lease: Lease, seconds: float, on_lost: Callable[[LeaseLost], None]) -> None:
        self.lease = lease
        self.is_lost = False
        self._wait_seconds = seconds / BEATS_PER_LEASE
        self._on_lost = on_lost
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def lake(self) -> Lake:
        """The lake as this tenure may write it."""
        return Lake(self.lease.lake.root, self.lease.token)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def raise_fences(self, graph: Graph, *, is_last: bool) -> None:
        """Keep holders before this one from committing, where that is owed; `is_last` says that all tables are there.

        To be done before anything is written, and again then: one that was paused may have made a table in between.
        """
        if not self.lease.is_clean:
            graph.raise_fences()
            self.lease.is_clean = is_last

    def end(self, *, release: bool) -> None:
        """Renew no more; with `release` the next holder need not ask whether this one still writes."""
        self._ended.set()
        self._thread.join()
        if release and not self.is_lost:
            self.lease.release()

    def _keep(self) -> None:
        while not self._ended.wait(self._wait_seconds):
            try:
                reach("lease.before_renewal")
                self.lease.renew()
            except LeaseLost as lost:
                self.is_lost = True
                log.error("lease lost", error=str(lost))  # noqa: TRY400 - a sentence, for whoever finds two services
                self._on_lost(lost)
                return
            except Exception as error:  # noqa: BLE001 - a store that does not answer now may do so in time
                log.warning("lease not renewed", error=explain(error))


def take(settings: Settings, purpose: str, on_lost: Callable[[LeaseLost], None] = lambda _: None) -> Tenure:
    """Take the lease of the lake, and begin to renew it; raises LeaseHeld, LakeNotWritable, NotExclusive."""

    def say(holder: Claim) -> None:
        log.info("asking whether the holder of the lease lives", holder=str(holder), seconds=settings.lease_seconds)

    lake = Lake.at(settings.lake)
    lake.ensure_writable()
    exclusive.ensure(lake.root)
    lease = Lease.take(lake, purpose, settings.lease_seconds, on_wait=say)
    if not lease.is_clean:
        log.info("lease taken from a holder that did not let it go", number=lease.token)
    tenure = Tenure(lease, settings.lease_seconds, on_lost)
    tenure.start()
    return tenure


@contextlib.contextmanager
def holding(settings: Settings, purpose: str) -> Iterator[Tenure]:
    """Hold the lease while a command writes; it is let go at the end, but not where the command breaks.

    What broke may have left something running: whoever comes next raises the tables' fences first. An error that is
    meant for a person is none of that.
    """
    tenure = take(settings, purpose)
    try:
        yield tenure
    except SluiceError:
        tenure.end(release=True)
        raise
    except BaseException:
        tenure.end(release=False)
        raise
    tenure.end(release=True)
