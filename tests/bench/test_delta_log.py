"""What a commit wrote, read from the log, is what is on the disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from tests.bench.delta_log import commits


def rows(*keys: int) -> pa.Table:
    return pa.table({"key": pa.array(keys, pa.int64()), "value": pa.array([f"value {key}" for key in keys])})


def bytes_in(table: Path) -> int:
    """All but the log."""
    return sum(file.stat().st_size for file in table.rglob("*.parquet") if "_delta_log" not in file.parts)


def test_bytes_are_those_of_data_files_and_change_files(tmp_path: Path) -> None:
    table = tmp_path / "table"
    write_deltalake(table, rows(1, 2, 3), configuration={"delta.enableChangeDataFeed": "true"})
    written = [bytes_in(table)]
    merge = DeltaTable(table).merge(rows(2, 4), "t.key = s.key", source_alias="s", target_alias="t")
    merge.when_matched_update({"value": "'new'"}).when_not_matched_insert_all().execute()
    written.append(bytes_in(table) - written[0])

    assert (table / "_change_data").is_dir()
    assert [commit.written_bytes for commit in commits(str(table))] == written
    assert [(commit.version, commit.adds > 0) for commit in commits(str(table))] == [(0, True), (1, True)]


def test_a_file_that_gets_a_deletion_vector_is_not_written_again(tmp_path: Path) -> None:
    log = tmp_path / "_delta_log"
    log.mkdir()
    vector = '{"storageType": "u", "pathOrInlineDv": "ab", "offset": 1, "sizeInBytes": 34, "cardinality": 2}'
    (log / "00000000000000000007.json").write_text(
        '{"commitInfo": {}}\n'
        '{"remove": {"path": "old.parquet", "size": 1000}}\n'
        f'{{"add": {{"path": "old.parquet", "size": 1000, "deletionVector": {vector}}}}}\n'
        '{"add": {"path": "new.parquet", "size": 20}}\n'
        '{"cdc": {"path": "_change_data/c.parquet", "size": 5}}\n'
    )

    [commit] = commits(str(tmp_path))

    assert (commit.version, commit.adds, commit.written_bytes) == (7, 2, 34 + 20 + 5)
