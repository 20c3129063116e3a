"""Holding the lease: a holder that is late, killed or can not begin, and the tables of the one before it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from checkpoints import exclusive, failpoints, lease
from checkpoints.errors import LeaseLost
from checkpoints.lake import Lake
from checkpoints.lease import Claim, Lease, Process
from schemas.errors import WrongUsage
from schemas.loader import load
from schemas.settings import Settings
from streams import tenure
from streams.graph import Graph
from tests.support.people import SPECS

HOLDER = """
import sys, time
from schemas.settings import Settings
from streams import tenure
tenure.take(Settings(lake=sys.argv[1], lease_seconds=1.0), "sluice run")
time.sleep(60)
"""


@pytest.fixture
def given(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_seconds": 1.0})


def paused_elsewhere(lake: Lake) -> None:
    """A holder on another machine, of which nobody can tell that it will never wake up."""
    process = Process(host="far", machine="another boot", pid=1, start_tick=1)
    claim = Claim(token=1, owner="far", purpose="sluice run", process=process, at=datetime.now(UTC))
    assert exclusive.create(lease._file(lake, 1, "json"), claim.model_dump_json().encode())


def test_who_renews_too_late_learns_that_another_has_it(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(tenure, "reach", lambda _: goes_on.wait(60))
    lost: list[LeaseLost] = []
    first = tenure.take(given, "sluice run", lost.append)

    second = Lease.take(Lake.at(given.lake), "sluice replay", 1.0)
    goes_on.set()
    first.end(release=True)

    assert first.is_lost
    assert [(one.token, one.holder.purpose if one.holder else "") for one in lost] == [(1, "sluice replay")]
    second.renew()
    assert not lease._is_released(second.lake, 1)


def test_who_is_killed_as_it_renews_leaves_it_to_the_next(given: Settings) -> None:
    environment = {**os.environ, failpoints.VARIABLE: "lease.before_renewal=kill@2"}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, given.lake], env=environment, start_new_session=True)
    assert holder.wait(240) == -9

    taken = Lease.take(Lake.at(given.lake), "sluice run", 600)

    assert (taken.token, taken.is_clean) == (2, False)


def test_a_command_that_can_not_begin_leaves_the_fences_to_the_next(given: Settings) -> None:
    paused_elsewhere(Lake.at(given.lake))
    with pytest.raises(WrongUsage), tenure.holding(given, "sluice replay"):
        raise WrongUsage("no such table")

    with tenure.holding(given, "sluice replay") as held:
        assert (held.lease.token, held.lease.is_clean) == (3, False)


def test_whatever_the_one_before_made_meanwhile_is_fenced(
    given: Settings, silver_folder: Path, spark: SparkSession
) -> None:
    pipeline = load(silver_folder)
    names = [name for name in SPECS if not name.startswith("gold.")]
    old = Graph.build(pipeline, given, lake=Lake.at(given.lake, 1))
    paused_elsewhere(old.lake)
    with tenure.holding(given, "sluice run") as held:
        graph = Graph.build(pipeline, given, lake=held.lake)
        held.raise_fences(graph, is_last=False)
        old.prepare(spark)  # it had looked before the fences were raised, and there were no tables
        graph.prepare(spark)
        held.raise_fences(graph, is_last=True)

    for name in names:
        with pytest.raises(LeaseLost):
            old.tables[name].writer()
    with tenure.holding(given, "sluice run") as after:
        assert after.lease.is_clean
