"""Which lanes the service lets go of what, and that one that can not be read does not keep the others."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checkpoints.lake import Lake
from schemas.loader import load
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from sinks.lanes.reader import LaneReader
from sinks.lanes.retention import Expiry, expired
from streams.retention import expire_lanes, retention_days
from streams.service import Service
from tests.support import people
from tests.support.lanes import TABLE, at, put, put_bronze, record

TODAY = datetime.now(UTC).date() + timedelta(days=30)  # the files of a test were written long before


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    folder = people.write(tmp_path / "pipeline", without_gold=True)
    spec = folder / "tables" / "silver.people.yml"
    spec.write_text(spec.read_text() + "lane_retention_days: 3\n")
    return load(folder)


def fill(lake: Lake, table: str, *days_ago: int) -> None:
    for ago in days_ago:
        day = TODAY - timedelta(days=ago)
        put(lake, f"r{ago}", [record(ago, clock=at(day))], day, table)


def ages(lake: Lake, table: str) -> list[int]:
    return [(TODAY - day).days for day in LaneReader(lake, table).days()]


def test_a_table_keeps_its_records_as_long_as_its_spec_says_else_the_setting(lake: Lake, pipeline: Pipeline) -> None:
    for table in (TABLE, "silver.people"):
        fill(lake, table, 0, 3, 4, 7, 8)
    put_bronze(lake, 8)

    gone = expire_lanes(lake, pipeline, Settings(lane_retention_days=7), TODAY)

    assert ages(lake, TABLE) == [7, 4, 3, 0]
    assert ages(lake, "silver.people") == [3, 0]
    assert [(one.table, one.records, one.open) for one in gone] == [(TABLE, 1, 0), ("silver.people", 3, 3)]
    assert expired(lake, TABLE) == {"r8": 1}


def test_what_a_rewind_has_moved_aside_is_let_go_as_well(lake: Lake, pipeline: Pipeline) -> None:
    fill(lake, TABLE, 3, 8)
    fill(lake, "silver.visits", 3)
    shutil.move(Path(lake.root, "_errors"), Path(lake.root, "_rewound", "act"))
    for _ in range(2):
        assert expire_lanes(lake, pipeline, Settings(lane_retention_days=7), TODAY) == []
        left = sorted(Path(lake.root, "_rewound").rglob("run_id=*"))
        assert [path.name for path in left] == ["run_id=r3", "run_id=r3"]
        assert expired(lake, TABLE) == {"r8": 1}


def test_without_a_setting_records_are_kept_for_ever(lake: Lake, pipeline: Pipeline) -> None:
    fill(lake, TABLE, 9000)
    assert expire_lanes(lake, pipeline, Settings(), TODAY) == []
    assert ages(lake, TABLE) == [9000]
    kept = {name: retention_days(spec, Settings()) for name, spec in pipeline.tables.items()}
    assert {name for name, days in kept.items() if days is not None} == {"silver.people"}


def test_a_lane_that_can_not_be_let_go_does_not_keep_the_others(lake: Lake, pipeline: Pipeline) -> None:
    fill(lake, TABLE, 8)
    fill(lake, "silver.people", 8)
    counts = Path(lake.errors(TABLE), "_expired", f"dt={TODAY - timedelta(days=8)}.json")
    counts.parent.mkdir()
    counts.write_text("torn")

    gone = expire_lanes(lake, pipeline, Settings(lane_retention_days=7), TODAY)

    assert [one.table for one in gone] == ["silver.people"]
    assert ages(lake, TABLE) == [8]


def test_a_batch_that_was_run_again_lately_under_an_old_clock_is_kept(lake: Lake, pipeline: Pipeline) -> None:
    today = datetime.now(UTC).date()
    day = today - timedelta(days=30)
    put(lake, "late", [record(1, clock=at(day))], day)
    settings = Settings(lane_retention_days=7)
    assert expire_lanes(lake, pipeline, settings, today) == []
    assert expire_lanes(lake, pipeline, settings, today + timedelta(days=9)) == [Expiry(TABLE, (day,), 1, 1)]


def test_the_service_lets_go_while_it_runs(lake: Lake, pipeline: Pipeline) -> None:
    for file in put(lake, "old", [record(1)], TODAY - timedelta(days=90)).iterdir():
        os.utime(file, (0, 0))
    settings = Settings(lake=lake.root, lane_retention_days=7, metrics_port=0)
    service = Service(settings, pipeline)
    service._every(3600.0, "retention", service._expire_lanes, at_once=True)
    deadline = time.monotonic() + 60
    while LaneReader(lake, TABLE).days():
        assert time.monotonic() < deadline, "the lane is still there"
        time.sleep(0.05)
    service.stop()
    assert expired(lake, TABLE) == {"old": 1}
