"""Rows by the values of a column, whatever wrote their files."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from sinks import lookup

KEYS: dict[str, list[Any]] = {
    "texts": ["a", "b", "longer than a view holds within itself"],
    "bytes": [b"a", b"b", b"longer than a view holds within itself"],
    "numbers": [1, 2, 3],
    "days": [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)],
    "truths": [True, False],
}


@pytest.mark.parametrize("kind", KEYS)
def test_rows_that_a_merge_wrote_are_found_by_their_keys(kind: str, tmp_path: Path) -> None:
    keys = KEYS[kind]
    rows = pa.table({"key": keys, "note": ["x"] * len(keys)})
    write_deltalake(tmp_path, rows.slice(0, 1))
    merge = DeltaTable(tmp_path).merge(rows, "t.key = s.key", "s", "t")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    write_deltalake(tmp_path, pa.table({"key": pa.nulls(1, rows["key"].type), "note": ["no key"]}), mode="append")
    table, wanted = DeltaTable(tmp_path), rows["key"].combine_chunks()[-1:]

    found = lookup.of_keys(table, ["key", "note"], "key", wanted).to_pylist()
    assert found == [{"key": keys[-1], "note": "x"}]
    assert lookup.of_keys(table, ["note"], "key", wanted, or_null=True).num_rows == 2
    assert lookup.without_key(table, ["note"], "key").to_pylist() == [{"note": "no key"}]
    assert lookup.read(table, ["key"]).num_rows == len(keys) + 1


def test_a_range_reads_the_files_that_may_have_it(tmp_path: Path) -> None:
    for first in (0, 10, 20):
        places = pa.array([{"major": first}, {"major": first + 5}])
        write_deltalake(tmp_path, pa.table({"id": [first, first + 5], "place": places}), mode="append")

    found = lookup.between(DeltaTable(tmp_path), ["id"], "place.major", 12, 21)
    assert sorted(found["id"].to_pylist()) == [10, 15, 20, 25]
    assert lookup.between(DeltaTable(tmp_path), ["id"], "place.major", 26, 99).num_rows == 0
