"""Spark's offset log as it is found on disk, whole or damaged."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from checkpoints.errors import UnreadableOffsets
from checkpoints.lake import Lake
from checkpoints.offsets import planned_batches, read_batch

METADATA = '{"batchWatermarkMs":0,"batchTimestampMs":1767312000123,"conf":{}}'


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "offsets").mkdir()
    (tmp_path / "sources/0").mkdir(parents=True)
    (tmp_path / "sources/0/0").write_bytes(b'\x00v1\n{"t":{"0":5,"1":0}}')
    (tmp_path / "offsets/0").write_text(f'v1\n{METADATA}\n{{"t":{{"0":7,"1":0}}}}')
    (tmp_path / "offsets/1").write_text(f'v1\n{METADATA}\n{{"t":{{"0":7,"1":3,"2":4}}}}')
    (tmp_path / "offsets/.1.crc").write_text("x")
    return tmp_path


def test_the_first_batch_starts_where_the_query_began(checkpoint: Path) -> None:
    batch = read_batch(Lake.at(str(checkpoint)), str(checkpoint), 0)

    assert batch.ranges == {"t": {0: (5, 7)}}
    assert batch.clock == datetime(2026, 1, 2, 0, 0, 0, 123000, tzinfo=UTC)


def test_a_later_one_where_the_one_before_it_ended_and_new_partitions_at_their_beginning(checkpoint: Path) -> None:
    batch = read_batch(Lake.at(str(checkpoint)), str(checkpoint), 1)

    assert batch.ranges == {"t": {1: (0, 3), 2: (0, 4)}}


def test_planned_batches_are_the_numbers(checkpoint: Path) -> None:
    lake = Lake.at(str(checkpoint))
    assert planned_batches(lake, str(checkpoint)) == [0, 1]
    assert planned_batches(lake, str(checkpoint / "none")) == []


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("offsets/1", None, "it is missing"),
        ("offsets/1", "", "cut short or damaged"),
        ("offsets/1", "v1\n{}\n{}", "cut short or damaged"),
        ("offsets/1", f"v1\n{METADATA}", "cut short or damaged"),
        ("offsets/1", f'v1\n{METADATA}\n{{"t":', "cut short or damaged"),
        ("offsets/0", "v1", "cut short or damaged"),
    ],
)
def test_damage_is_told_by_file(file: str, content: str | None, why: str, checkpoint: Path) -> None:
    if content is None:
        (checkpoint / file).unlink()
    else:
        (checkpoint / file).write_text(content)

    with pytest.raises(UnreadableOffsets) as error:
        read_batch(Lake.at(str(checkpoint)), str(checkpoint), 1)

    assert str(checkpoint / file) in str(error.value)
    assert why in str(error.value)


def test_a_damaged_beginning_is_told_too(checkpoint: Path) -> None:
    (checkpoint / "sources/0/0").write_text("v1\nx")

    with pytest.raises(UnreadableOffsets, match="sources/0/0"):
        read_batch(Lake.at(str(checkpoint)), str(checkpoint), 0)
