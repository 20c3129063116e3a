"""A lane lets go of whole days; what was in them stays counted, however often it is cut short."""

from __future__ import annotations

import functools
import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from checkpoints.lake import Lake
from sinks.errors import UnreadableLaneFile
from sinks.lanes import retention as lane_retention
from sinks.lanes.positions import held_in
from sinks.lanes.reader import LaneReader
from sinks.lanes.retention import Expiry, expire, expired
from tests.support.lanes import DAY, TABLE, at, put, put_bronze, put_verdicts, record, verdict

NEXT = DAY + timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


def in_lane(lake: Lake) -> list[str]:
    root = Path(lake.errors(TABLE))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.suffix == ".json" and path.is_file())


def test_days_before_the_limit_go_and_are_counted(lake: Lake) -> None:
    put(lake, "a", [record(1), record(2)])
    put(lake, "b", [record(3)])
    put(lake, "empty", [])
    put(lake, "c", [record(4, clock=at(NEXT))], NEXT)
    put_bronze(lake, 1, 4)

    gone = expire(lake, TABLE, NEXT, functools.partial(held_in, lake.table(TABLE)))

    assert gone == Expiry(TABLE, (DAY,), records=3, open=2)
    assert expired(lake, TABLE) == {"a": 2, "b": 1}
    reader = LaneReader(lake, TABLE)
    assert reader.days() == [NEXT]
    assert [batch["offset"].to_pylist() for batch in reader.records()] == [[4]]
    assert not Path(lake.errors(TABLE), f"dt={DAY}").exists()


def test_nothing_old_is_nothing_done(lake: Lake) -> None:
    assert expire(lake, TABLE, NEXT) == Expiry(TABLE)
    assert expired(lake, TABLE) == {}
    put(lake, "a", [record(1)])
    assert expire(lake, TABLE, DAY) == Expiry(TABLE)
    assert in_lane(lake) == [f"dt={DAY}/run_id=a/part-00000-x.json", f"dt={DAY}/run_id=a/part-00001-x.json"]


def test_a_day_without_records_goes_and_leaves_no_count(lake: Lake) -> None:
    put(lake, "a", [])
    assert expire(lake, TABLE, NEXT) == Expiry(TABLE, (DAY,))
    assert in_lane(lake) == []


@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_a_crash_while_a_day_is_removed_costs_no_count(
    removed: int, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, "a", [record(1), record(2)])
    put(lake, "b", [record(3)])
    (Path(lake.errors(TABLE)) / f"dt={DAY}" / "run_id=b" / "part-00002-x.json").write_text(json.dumps(record(4)))

    def cut_short(*_: object) -> None:
        files = sorted(Path(lake.errors(TABLE), f"dt={DAY}").rglob("part-0000[02]*.json"))
        assert len(files) == 3
        for file in files[:removed]:
            file.unlink()
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(lane_retention, "_remove", cut_short)
        with pytest.raises(OSError, match="killed"):
            expire(lake, TABLE, NEXT)
    expire(lake, TABLE, NEXT)

    assert expired(lake, TABLE) == {"a": 2, "b": 2}
    assert LaneReader(lake, TABLE).days() == []


def test_a_crash_before_the_counts_are_in_place_leaves_the_day(lake: Lake) -> None:
    put(lake, "a", [record(1)])
    half = Path(lake.errors(TABLE), "_expired", f"dt={DAY}.json.tmp")
    half.parent.mkdir()
    half.write_text('{"a"')

    assert expired(lake, TABLE) == {}
    expire(lake, TABLE, NEXT)
    assert expired(lake, TABLE) == {"a": 1}


def test_a_batch_that_comes_late_is_added_to_its_day(lake: Lake) -> None:
    put(lake, "a", [record(1), record(2)])
    expire(lake, TABLE, NEXT)
    put(lake, "late", [record(3)])
    put(lake, "a", [record(1)])

    expire(lake, TABLE, NEXT)

    assert expired(lake, TABLE) == {"a": 2, "late": 1}


def test_a_day_that_was_written_to_lately_is_left(lake: Lake) -> None:
    """A batch that was cut short long ago is run again under its old clock."""
    put(lake, "a", [record(1)])
    lately = datetime.now(UTC) - timedelta(minutes=1)
    assert expire(lake, TABLE, NEXT, written_before=lately) == Expiry(TABLE)
    assert expire(lake, TABLE, NEXT, written_before=lately + timedelta(days=1)).records == 1


def test_a_torn_file_is_counted_by_its_lines_and_keeps_nothing_from_going(lake: Lake) -> None:
    folder = put(lake, "a", [record(1)])
    (folder / "part-00002-x.json").write_text(json.dumps(record(2)) + '\n{"topic": "db.pe')

    expire(lake, TABLE, NEXT)

    assert expired(lake, TABLE) == {"a": 3}


def test_verdicts_go_after_the_records_that_they_are_on(lake: Lake) -> None:
    put(lake, "a", [record(1), record(2)])
    put(lake, "b", [record(3, clock=at(NEXT))], NEXT)
    put_verdicts(lake, "old", [verdict(1, clock=at(minutes=5))])
    put_verdicts(lake, "new", [verdict(2, "x", clock=at(NEXT)), verdict(3, "x", clock=at(NEXT, 9))])

    gone = expire(lake, TABLE, NEXT)

    assert (gone.records, gone.open) == (2, 1)
    assert [run_id for run_id, _ in LaneReader(lake, TABLE).verdicts()] == ["new"]


def test_counts_that_can_not_be_read_are_named(lake: Lake) -> None:
    put(lake, "a", [record(1)])
    file = Path(lake.errors(TABLE), "_expired", f"dt={DAY}.json")
    file.parent.mkdir()
    for text in ("", "[1]", '{"a": "x"}'):
        file.write_text(text)
        with pytest.raises(UnreadableLaneFile, match=r"dt=2026-01-02\.json can not be read: it is not a JSON object"):
            expired(lake, TABLE)
        with pytest.raises(UnreadableLaneFile):
            expire(lake, TABLE, NEXT)
    assert LaneReader(lake, TABLE).days() == [DAY]


def test_counts_of_many_days_add_up(lake: Lake) -> None:
    for number in range(3):
        day = date(2025, 12, 1) + timedelta(days=number)
        put(lake, f"r{number}", [record(offset, clock=at(day)) for offset in range(number + 1)], day)
    assert expire(lake, TABLE, DAY).days == (date(2025, 12, 1), date(2025, 12, 2), date(2025, 12, 3))
    assert expired(lake, TABLE) == {"r0": 1, "r1": 2, "r2": 3}
    shutil.rmtree(lake.errors(TABLE))
