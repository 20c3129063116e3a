"""Where things lie, and whether they can lie there."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkpoints.errors import LakeNotWritable
from checkpoints.lake import Lake


def test_the_layout(tmp_path: Path) -> None:
    lake = Lake.at(f"{tmp_path}/lake/")

    assert lake.root == f"{tmp_path}/lake"
    assert lake.table("silver.orders") == f"{tmp_path}/lake/silver/orders"
    assert lake.errors("bronze.orders") == f"{tmp_path}/lake/_errors/bronze/orders"
    assert lake.checkpoint("bronze.orders", 2) == f"{tmp_path}/lake/_checkpoints/bronze.orders/g2"


def test_a_relative_lake_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Lake.at("./lake").root == str(tmp_path / "lake")


def test_the_newest_generation_by_number(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path))
    assert lake.generation("bronze.orders") == 0
    for name in ("g0", "g2", "g10", "gx", "old"):
        (tmp_path / "_checkpoints/bronze.orders" / name).mkdir(parents=True)
    assert lake.generation("bronze.orders") == 10


def test_a_writable_lake_is_made_and_left_empty(tmp_path: Path) -> None:
    Lake.at(f"{tmp_path}/a/lake").ensure_writable()
    assert list((tmp_path / "a/lake").iterdir()) == []


def test_a_lake_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LakeNotWritable, match=r"The lake at .*/file/lake can not be written: .* setting `lake`"):
        Lake.at(f"{tmp_path}/file/lake").ensure_writable()
