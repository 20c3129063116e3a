"""The short form of the torture; the oracle finds what it is made to find; every place dies and comes back."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from checkpoints import failpoints
from deploy import jars
from deploy.embedded.stack import EmbeddedStack
from tests.support.moto import moto
from tests.support.service import get, is_drained
from tests.support.town import Town
from tests.torture.__main__ import text_of
from tests.torture.faults import FAULTS, PLACES
from tests.torture.run import Torture

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


def test_a_few_rounds_lose_and_double_nothing(stack: EmbeddedStack, service_jars: Path, tmp_path: Path) -> None:
    faults = ["take over", "kill Connect", "rewind cut short", "lose a checkpoint", "kill", "full disk"]
    report = Torture(stack, tmp_path, service_jars, seed=11).run(len(faults), faults)

    text = text_of(report)
    assert report.is_clean, text
    assert report.rounds + len(report.skipped) == len(faults), text
    assert set(report.skipped) <= {"full disk"}
    assert report.records > 200
    assert "| lost | 0 |" in text


def test_a_few_rounds_on_s3_lose_and_double_nothing(stack: EmbeddedStack, service_jars: Path, tmp_path: Path) -> None:
    jars.resolve("s3")
    faults = ["bad S3", "take over", "bad S3"]
    with moto() as store:
        report = Torture(stack, tmp_path, service_jars, seed=12, store=store).run(len(faults), faults)
        met = store.weather()

    assert report.is_clean, text_of(report)
    assert report.rounds == len(faults)
    assert set(met) == {"late", "refused", "lost"}


def test_it_dies_between_any_two_effects_and_comes_back(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    """Each run finds what the one before left, and dies at another place."""
    town = Town(stack, tmp_path, service_jars, "places")
    for place in PLACES:
        town.live(25)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(failpoints.VARIABLE, f"{place}=kill")
            assert town.service.run_to_end("--once") == -9, f"{place} was not reached"
    assert town.service.run_to_end("--once") == 0, town.service.log.read_text()[-2000:]
    town.check()
    town.sluice("audit")
    town.sluice("verify")

    # The oracle finds one row that is lost, one that is there twice, and one that is wrong.
    copy = tmp_path / "copy"
    shutil.copytree(town.lake.root, copy)
    visits = DeltaTable(town.lake.table("bronze.visits"))
    first = visits.to_pyarrow_table().slice(0, 1)
    write_deltalake(visits, first, mode="append")
    assert len(town.look().doubled) == 1
    place = first.to_pylist()[0]
    visits.delete(f"_partition = {place['_partition']} AND _offset = {place['_offset']}")
    assert len(town.look().lost) == 1
    DeltaTable(town.lake.table("silver.visits")).update({"person": "99"}, predicate=f"visit = {min(town.visits)}")
    assert [one.split(":")[0] for one in town.look().wrong] == ["silver.visits"]


def test_a_wedged_batch_fails_the_watchdog_and_sigterm_waits_for_it_or_aborts_it(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    town = Town(stack, tmp_path, service_jars, "wedged")
    town.live(20)
    town.set("stall_seconds", "1.5")
    place = "bronze.before_append[bronze.visits]"

    def is_seen(_: object) -> bool:
        return get(town.service, "/livez")[0] == 503

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(failpoints.VARIABLE, f"{place}=sleep:9@1;{place}=sleep:9@2")
        town.service.start()
    town.service.wait_for(is_seen, "the watchdog sees it")
    assert "bronze.visits" in get(town.service, "/livez")[1]
    town.service.wait_for(lambda status: is_drained(status) and get(town.service, "/livez")[0] == 200, "it goes on")

    # In the middle of a batch: what is in hand is brought to its end.
    town.live(20)
    town.service.wait_for(is_seen, "the watchdog sees the next one")
    assert town.service.terminate() == 0
    said = [(one["event"], one.get("table")) for one in town.service.events()]
    assert ("batch committed", "bronze.visits") in said[said.index(("stopping", None)) :]

    # Where that takes too long, it is left, and the exit code says so.
    town.live(20)
    town.set("drain_seconds", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(failpoints.VARIABLE, f"{place}=sleep:600")
        town.service.start()
    town.service.wait_for(is_seen, "a batch is in hand")
    assert town.service.terminate() == 1
    stopped = [one for one in town.service.events() if one["event"] == "stopped"]  # Spark's JVM may go on to speak
    assert "bronze.visits" in stopped[-1]["interrupted"]
    assert town.service.run_to_end("--once") == 0
    town.check()


def test_every_place_is_used_by_a_test() -> None:
    """Those that the service dies at, one after the other, and the others where there is what they are about."""
    tests = "".join(file.read_text() for file in Path("tests").rglob("test_*.py") if file.name != Path(__file__).name)
    for place in set(failpoints.PLACES) - set(PLACES):
        assert re.search(rf'"{place}["=]', tests), place


def test_every_place_is_reached_by_the_code_and_told_in_the_runbook() -> None:
    code = "".join(
        file.read_text() for folder in ("checkpoints", "sinks", "streams") for file in Path(folder).rglob("*.py")
    )
    runbook = Path("runbooks/operations/failpoints.md").read_text()
    for place in failpoints.PLACES:
        assert f'reach("{place}"' in code, place
        assert f"`{place}`" in runbook, place


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("bronze.before_apend=kill", "Did you mean `bronze.before_append`?"),
        ("bronze.before_append", "Write <place>"),
        ("bronze.before_append=explode", "Write <place>"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: str, why: str) -> None:
    with pytest.raises(failpoints.WrongFailpoint) as found:
        failpoints.from_environment({failpoints.VARIABLE: rule})
    assert why in str(found.value)


def test_without_rules_nothing_is_reached() -> None:
    assert failpoints.from_environment({}) is failpoints._nothing
    assert failpoints.VARIABLE not in os.environ
    assert failpoints.reach is failpoints._nothing


def test_rules_hold_for_their_table_their_time_and_their_chance() -> None:
    def hits(rule: str, table: str = "t.a") -> list[int]:
        reach = failpoints.from_environment({failpoints.VARIABLE: rule, failpoints.SEED: "3"})
        found = []
        for number in range(1, 21):
            try:
                reach("table.after_commit", table)
            except failpoints.Failpoint:
                found.append(number)
        return found

    assert hits("table.after_commit=raise@3") == [3]
    assert hits("table.after_commit[t.b]=raise@3") == []
    assert hits("table.before_commit=raise") == []
    assert hits("table.after_commit=raise@2;table.after_commit=raise@3") == [2, 3]
    some = hits("table.after_commit=raise@0.5")
    assert 0 < len(some) < 20
    assert some == hits("table.after_commit=raise@0.5")
    assert json.dumps(sorted(FAULTS))
