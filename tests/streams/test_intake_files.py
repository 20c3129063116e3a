"""What a backfill reads next, of files and topics, and what is said of what it can not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from checkpoints.requests import Backfill
from schemas.settings import Settings
from streams.intake import files
from streams.intake.errors import FilesChanged, RangeGone, UnknownFile, UnknownFolder
from streams.intake.files import FileSource
from streams.intake.kafka import TopicSource
from streams.intake.make import batch_rows
from streams.intake.source import Planned
from tests.support.moto import moto


def batches(source: FileSource) -> Iterator[Planned]:
    found = source.next(None)
    while found is not None:
        yield found
        found = source.next(found)


def lines_of(source: FileSource) -> list[list[bytes]]:
    return [
        files._lines(source.files[one.reads["file"]].path, one.reads["from"], one.reads["rows"])[0]
        for one in batches(source)
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", []),
        (b"1\n2\n3\n", [[b"1", b"2"], [b"3"]]),
        (b"1\n2\n3", [[b"1", b"2"], [b"3"]]),
        (b"1\n2", [[b"1", b"2"]]),
        (b"1\n\n2", [[b"1", b""], [b"2"]]),
        (b"\xef\xbb\xbf1\n\xef\xbb\xbf2\n", [[b"1", b"\xef\xbb\xbf2"]]),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_each_line_of_a_file_is_in_one_batch(
    content: bytes, found: list[list[bytes]], block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", block)
    monkeypatch.setattr(files, "_BATCH_BYTES", 20)
    (tmp_path / "with a space.jsonl").write_bytes(content)

    assert lines_of(FileSource.of(str(tmp_path / "with a space.jsonl"), "t", 2)) == found


def test_long_lines_make_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 10)
    monkeypatch.setattr(files, "_BATCH_BYTES", 20)
    (tmp_path / "old.jsonl").write_bytes(b"a" * 50 + b"\n" + b"b" * 70 + b"\n" + b"c")

    assert lines_of(FileSource.of(str(tmp_path), "t", 100)) == [[b"a" * 50], [b"b" * 70], [b"c"]]


def test_files_of_a_bucket_come_to_an_end_where_the_last_line_has_none() -> None:
    with moto("old-visits") as store:
        for name, content in (("a.jsonl", b"1\n2"), ("b.jsonl", b"3")):
            boto3.client("s3").put_object(Bucket=store.bucket, Key=f"some/{name}", Body=content)

        assert lines_of(FileSource.of(f"s3://{store.bucket}/some/*.jsonl", "t", 2)) == [[b"1", b"2"], [b"3"]]


def test_wide_rows_make_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.parquet"
    rows = pa.table({"n": list(range(1000)), "text": ["x" * 1000] * 1000})
    pq.write_table(rows, path, row_group_size=300, compression="none", use_dictionary=False)
    monkeypatch.setattr(files, "_BATCH_BYTES", 100_000)
    monkeypatch.setattr(files, "_PIECE_ROWS", 70)

    found = [
        files._rows_of(str(path), one.reads["from"], one.reads["rows"])["n"].to_pylist()
        for one in batches(FileSource.of(str(path), "t", 400))
    ]
    assert [n for batch in found for n in batch] == list(range(1000))
    assert len(found) > 10
    assert max(len(batch) for batch in found) <= 100


def test_a_file_that_grows_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text("1\n2\n3\n")
    source = FileSource.of(str(tmp_path), "t", 2)
    first = source.next(None)
    assert first is not None
    path.write_text("1\n2\n3\n4\n")

    with pytest.raises(FilesChanged, match=r"old\.jsonl"):
        source.next(first)


def test_a_range_that_the_topic_has_lost_is_told() -> None:
    source = TopicSource(Settings(), "archive", {0: 12, 1: 0}, {0: 20, 1: 5}, 10)
    with pytest.raises(RangeGone, match=r"passed what this backfill was to bring next: archive\[0\] offsets 7 to 11\."):
        source.next(Planned({}, {0: 7, 1: 2}))
    following = source.next(Planned({}, {0: 12, 1: 2}))
    assert following is not None
    assert following.end == {0: 17, 1: 5}


def test_slow_backfills_have_small_batches() -> None:
    request = Backfill(table="bronze.visits", source="files", batch_rows=1000)
    found = [batch_rows(request.model_copy(update={"rate": rate})) for rate in (None, 5000, 3, 0.01)]
    assert found == [1000, 1000, 30, 1]


def test_what_can_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").touch()
    with pytest.raises(UnknownFile, match="compressed files are not read"):
        FileSource.of(str(tmp_path), "t", 2)
    (tmp_path / "table/_delta_log").mkdir(parents=True)
    with pytest.raises(UnknownFolder, match="is a Delta table"):
        FileSource.of(str(tmp_path / "table"), "t", 2)
    (tmp_path / "old/2025").mkdir(parents=True)
    (tmp_path / "old/a.jsonl").touch()
    assert FileSource.of(str(tmp_path / "old"), "t", 2).describe()[1:] == ["none of what is in the folders there: 2025"]
