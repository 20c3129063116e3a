"""Rows by the values of a column, whatever wrote their files."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from sinks.among import is_among

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

    dataset = DeltaTable(tmp_path).to_pyarrow_dataset()
    wanted = rows["key"].combine_chunks()[-1:]
    found = dataset.to_table(filter=is_among("key", wanted))
    assert found.to_pylist() == [{"key": keys[-1], "note": "x"}]
    assert dataset.to_table(filter=is_among("key", wanted) | ~is_among("key", wanted)).num_rows == len(keys) + 1
