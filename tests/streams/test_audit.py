"""The audit beside tables and lanes that were changed by hand: each change is found, with its exact range.

Most cases write the table without Spark, just as the bronze step does; the last ones take the step itself. Each is
looked at by an audit that goes on from an earlier one, and by one that looks at everything.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from checkpoints import audit_state, ledger
from checkpoints.lake import Lake
from checkpoints.ledger import PartitionCounts
from streams.audit.table import TableAudit, audit
from streams.audit.watch import audit_tables
from streams.graph import Graph
from streams.metrics import Metrics
from tests.support.bronze import Feeder, change, plan_batch
from tests.support.ledgered import CLOCK, TABLE, TOPIC, Ledgered, rows
from tests.support.people import person

FIRST, SECOND, THIRD, FOURTH = (
    f"bronze.t batch {number} (run {ledger.run_id(TABLE, 0, number)[:8]})" for number in range(4)
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


@pytest.fixture
def table(lake: Lake) -> Ledgered:
    """Three batches over two partitions, with rejects, a drop and an offset without a record."""
    made = Ledgered(lake)
    made.batch({0: "aardaa-a", 1: "ar"})
    made.batch({0: "aaar"})
    made.batch({1: "rd"})
    return made


@pytest.fixture(params=["incremental", "full"])
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "full")


def texts(found: TableAudit) -> list[str]:
    """The sentences, without the times of commits by hand."""
    return [re.sub(r", \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "", one.text) for one in found.differences]


def audited(lake: Lake, *, full: bool) -> TableAudit:
    """An audit, and again: the second one says the same."""
    found = audit(lake, TABLE, full=full)
    again = audit(lake, TABLE)
    assert (again.differences, again.totals, again.version) == (found.differences, found.totals, found.version)
    assert again.files_read == 0
    return found


def test_a_lake_that_nobody_touched_has_no_differences(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.batch({0: "aa", 1: "aara"})
    table.batch({0: "d"})

    found = audited(lake, full=full)

    assert texts(found) == []
    assert found.totals.model_dump() == {
        "batches": 5,
        "read": 22,
        "accepted": 14,
        "rejected": 5,
        "dropped": 3,
        "without_record": 1,
        "redriven": 0,
    }


def test_an_audit_goes_on_where_the_one_before_ended_and_reads_nothing_again(lake: Lake, table: Ledgered) -> None:
    assert audit(lake, TABLE).files_read == 2  # the third batch has no rows
    assert audit(lake, TABLE).files_read == 0
    table.batch({0: "a"})
    assert audit(lake, TABLE).files_read == 1
    assert audit(lake, TABLE, full=True).files_read == 3


def test_a_row_deleted_by_hand(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.delta().delete("_partition = 0 AND _offset IN (1, 4, 5)")

    found = audited(lake, full=full)

    assert texts(found) == [
        f"{FIRST}: shop[0]@0-8: 3 accepted rows are not in the table: offsets 1, 4-5",
        f"bronze.t version 4 (DELETE) is no step of Sluice: it took away 3 rows: {FIRST[9:]} shop[0] offsets 1, 4-5",
    ]
    one = found.differences[0]
    assert (one.batch_id, one.topic, one.partition, one.start, one.end, one.offsets) == (0, TOPIC, 0, 0, 8, "1, 4-5")


def test_a_row_deleted_by_hand_whose_file_is_gone_is_told_as_exactly_as_it_can_be(lake: Lake, table: Ledgered) -> None:
    """Of the offsets that nothing holds, one was dropped and one had no record: which ones, the ledger does not say."""
    audit(lake, TABLE)
    table.delta().delete("_partition = 0 AND _offset = 1 OR _batch_id != '' AND _offset = 10")
    table.delta().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    found = audit(lake, TABLE)

    assert texts(found)[:2] == [
        f"{FIRST}: shop[0]@0-8: 1 accepted row is not in the table, out of offsets 1, 3, 6",
        f"{SECOND}: shop[0]@8-12: 1 accepted row is not in the table: offset 10",
    ]
    assert "some of the files that it took away or added are missing or damaged" in texts(found)[2]
    assert texts(audit(lake, TABLE, full=True)) == texts(found)


def test_an_offset_updated_by_hand(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.delta().update(updates={"_offset": "100"}, predicate="_partition = 0 AND _offset = 8")

    assert texts(audited(lake, full=full)) == [
        f"{SECOND}: shop[0]@8-12: 1 accepted row is not in the table: offset 8",
        f"{SECOND}: shop[0]@8-12: 1 row lies outside of its range: offset 100",
        f"bronze.t version 4 (UPDATE) is no step of Sluice: it took away 1 row: {SECOND[9:]} shop[0] offset 8, "
        f"and brought 1 row: {SECOND[9:]} shop[0] offset 100",
    ]


def test_an_offset_updated_by_hand_to_one_that_is_there_already(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.delta().update(updates={"_offset": "9"}, predicate="_partition = 0 AND _offset = 8")
    table.delta().update(updates={"_offset": "2"}, predicate="_partition = 0 AND _offset = 1")

    assert texts(audited(lake, full=full))[:4] == [
        f"{FIRST}: shop[0]@0-8: 1 accepted row is not in the table: offset 1",
        f"{FIRST}: shop[0]@0-8: 1 offset is in the table and in the lane: offset 2",
        f"{SECOND}: shop[0]@8-12: 1 accepted row is not in the table: offset 8",
        f"{SECOND}: shop[0]@8-12: 1 offset is in the table more than once: offset 9",
    ]


def test_another_column_updated_by_hand_is_a_difference_too(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.delta().update(updates={"name": "'x'"}, predicate="_offset = 8")

    assert texts(audited(lake, full=full)) == [
        "bronze.t version 4 (UPDATE) is no step of Sluice: "
        "it rewrote rows; by their offsets none is gone and none is new"
    ]


def test_what_is_taken_back_is_no_difference_once_everything_was_looked_at(lake: Lake, table: Ledgered) -> None:
    audit(lake, TABLE)
    table.delta().delete("_offset = 9")
    table.delta().optimize.compact()
    assert len(audit(lake, TABLE).differences) == 2
    table.delta().restore(3)
    assert len(audit(lake, TABLE).differences) == 3  # remembered, and the RESTORE

    assert texts(audited(lake, full=True)) == []


def test_a_restore_that_drops_batches(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.delta().restore(1)

    assert texts(audited(lake, full=full)) == [
        f"{SECOND}: shop[0]@8-12: 3 accepted rows are not in the table: offsets 8-10",
        f"bronze.t version 4 (RESTORE) is no step of Sluice: it took away 3 rows: {SECOND[9:]} shop[0] offsets 8-10",
    ]


def test_rows_appended_by_hand_again(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    write_deltalake(table.table.path, rows(ledger.run_id(TABLE, 0, 1), {0: [8, 9]}), mode="append")

    assert texts(audited(lake, full=full)) == [
        f"{SECOND}: shop[0]@8-12: 2 offsets are in the table more than once: offsets 8-9",
        f"bronze.t version 4 (WRITE) is no step of Sluice: it brought 2 rows: {SECOND[9:]} shop[0] offsets 8-9",
    ]


def test_rows_appended_by_hand_that_are_of_no_batch(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    unnamed = rows("mine", {0: [8, 9]}).append_column("more", [["x", "y"]]).drop_columns(["more", "_batch_id"])
    write_deltalake(table.table.path, rows("mine", {0: [8, 9]}), mode="append")
    write_deltalake(table.table.path, unnamed, mode="append", schema_mode="merge")

    found = texts(audited(lake, full=full))

    assert "bronze.t: 2 rows have the _batch_id mine, of no batch in the ledger: shop[0] offsets 8-9" in found
    assert "bronze.t: 2 rows have no _batch_id, of no batch in the ledger: shop[0] offsets 8-9" in found
    assert "bronze.t version 4 (WRITE) is no step of Sluice: it brought 2 rows: run mine shop[0] offsets 8-9" in found


def test_a_batch_appended_again_with_its_entry(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    entry = ledger_entry(table, 1)
    table.append(entry, {0: [8, 9, 10]})

    assert texts(audited(lake, full=full)) == [
        f"{SECOND}: it is in the ledger again, in version 4, after batch 2",
        f"{SECOND}: shop[0]@8-12: offsets 8-11 were read before: the batch before it ends at 12",
    ]


def ledger_entry(table: Ledgered, batch_id: int) -> ledger.LedgerEntry:
    return next(entry for _, entry in ledger.entries(table.delta()) if entry.batch_id == batch_id)


def test_a_range_that_was_skipped(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.at = {0: 15, 1: 3}
    table.batch({0: "aa", 1: "a"})

    found = audited(lake, full=full)

    assert texts(found) == [
        f"{FOURTH}: shop[0]@15-17: offsets 12-14 before it were skipped: no batch read them",
        f"{FOURTH}: shop[1]@3-4: offset 3 was read before: the batch before it ends at 4",
    ]
    assert found.differences[0].offsets == "12-14"


def test_batches_that_are_not_in_the_ledger(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.next_batch = 5
    table.batch({0: "a"})

    name = f"bronze.t batch 5 (run {ledger.run_id(TABLE, 0, 5)[:8]})"
    assert texts(audited(lake, full=full)) == [f"{name}: batches 3-4 before it are not in the ledger"]


def test_a_ledger_that_does_not_add_up(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    entry = table.entry({0: "aad"})
    wrong = entry.model_copy(
        update={"read": 4, "partitions": {TOPIC: {0: PartitionCounts(read=3, accepted=2, dropped=0)}}}
    )
    table.append(wrong, {0: [12, 13]})

    assert texts(audited(lake, full=full)) == [
        f"{FOURTH}: 4 read is not 2 accepted + 0 rejected + 1 dropped = 3 (shop[0]@12-15)",
        f"{FOURTH}: shop[0]@12-15: 3 read is not 2 accepted + 0 rejected + 0 dropped = 2",
        f"{FOURTH}: the ledger has 1 dropped, but 0 by partition (shop[0]@12-15)",
        f"{FOURTH}: the ledger has 4 read, but 3 by partition (shop[0]@12-15)",
    ]


def test_a_file_of_the_table_removed_from_disk(lake: Lake, table: Ledgered) -> None:
    audit(lake, TABLE)
    table.batch({0: "ada"})
    [file] = [Path(uri) for uri in table.delta().file_uris() if uri not in DeltaTable(table.table.path, 3).file_uris()]
    file.unlink()
    sentence = f"{FOURTH}: shop[0]@12-15: 2 accepted rows are not in the table, out of offsets 12-14"

    assert texts(audited(lake, full=False)) == [f"{sentence}; {file.name} is missing or damaged"]

    # One of an older batch is found when everything is looked at.
    [older] = DeltaTable(table.table.path, 2).file_uris()[:1]
    Path(older).unlink()
    assert len(texts(audited(lake, full=True))) == 2


def test_a_compacted_file_removed_from_disk(lake: Lake, table: Ledgered) -> None:
    table.delta().optimize.compact()
    [file] = table.delta().file_uris()
    Path(file).unlink()

    assert texts(audit(lake, TABLE)) == [
        f"{FIRST}: shop[0]@0-8: 5 accepted rows are not in the table: offsets 0-1, 4-5, 7",
        f"{FIRST}: shop[1]@0-2: 1 accepted row is not in the table: offset 0",
        f"{SECOND}: shop[0]@8-12: 3 accepted rows are not in the table: offsets 8-10",
        f"bronze.t: file {Path(file).name}, which held 9 rows of several batches, is missing or damaged",
    ]


@pytest.mark.parametrize("damage", ["empty", "cut short", "overwritten"])
def test_a_damaged_file_of_the_table(damage: str, lake: Lake, table: Ledgered) -> None:
    first, second = (set(DeltaTable(table.table.path, version).file_uris()) for version in (1, 2))
    [file] = [Path(uri) for uri in second - first]
    held = file.read_bytes()
    overwritten = held[:8] + b"\xff" * (len(held) - 16) + held[-8:]
    file.write_bytes({"empty": b"", "cut short": held[:-9], "overwritten": overwritten}[damage])

    [one] = texts(audit(lake, TABLE))

    assert one.startswith(
        f"{SECOND}: shop[0]@8-12: 3 accepted rows are not in the table: offsets 8-10; {file.name} is "
    )


def test_optimize_and_vacuum_are_no_differences(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.batch({0: "aaa"})
    table.delta().optimize.compact()
    table.batch({1: "aaa"})
    assert texts(audited(lake, full=full)) == []
    table.batch({0: "aaa"})
    table.delta().optimize.compact()
    table.delta().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    assert texts(audited(lake, full=full)) == []


def test_a_row_that_was_lost_in_an_optimize_is_found_when_everything_is_looked_at(lake: Lake, table: Ledgered) -> None:
    audit(lake, TABLE)
    table.delta().delete("_offset = 9")
    log = Path(table.table.path, "_delta_log", f"{4:020d}.json")
    log.write_text(log.read_text().replace('"dataChange":true', '"dataChange":false'))

    assert texts(audit(lake, TABLE, full=True)) == [
        f"{SECOND}: shop[0]@8-12: 1 accepted row is not in the table: offset 9"
    ]


def test_a_lane_file_removed_by_hand(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    (table.lane_of(ledger_entry(table, 0)) / "part-1.json").unlink()

    found = audited(lake, full=full)

    assert texts(found) == [f"{FIRST}: shop[1]@0-2: 1 rejected record is not in the lane: offset 1"]
    assert found.differences[0].kind == "lane"


def test_a_lane_folder_removed_by_hand(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    shutil.rmtree(table.lane_of(ledger_entry(table, 1)))

    assert texts(audited(lake, full=full)) == [
        f"{SECOND}: shop[0]@8-12: 1 rejected record is not in the lane: offset 11"
    ]


def test_a_lane_line_removed_doubled_or_cut_short(lake: Lake, table: Ledgered, full: bool) -> None:
    table.batch({0: "rrrra"})
    audit(lake, TABLE)
    file = table.lane_of(ledger_entry(table, 3)) / "part-0.json"
    first, second = file.read_text().splitlines()

    file.write_text(f"{second}\n")
    assert texts(audited(lake, full=full)) == [
        f"{FOURTH}: shop[0]@12-17: 1 rejected record is not in the lane: offset 12"
    ]
    file.write_text(f"{first}\n{second}\n{first}\n")
    assert texts(audit(lake, TABLE, full=True)) == [
        f"{FOURTH}: shop[0]@12-17: 1 offset is in the lane more than once: offset 12"
    ]
    file.write_text(f"{first}\n{second[:-4]}")
    [damaged, missing] = texts(audit(lake, TABLE, full=True))
    assert damaged.startswith(f"{FOURTH}: lane: part-0.json can not be read: ")
    assert missing == f"{FOURTH}: shop[0]@12-17: 1 rejected record is not in the lane: offset 13"


def test_a_lane_line_of_another_range(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    file = table.lane_of(ledger_entry(table, 1)) / "part-0.json"
    file.write_text(json.dumps({"topic": TOPIC, "partition": 0, "offset": 77}) + "\n")

    assert texts(audited(lake, full=full)) == [
        f"{SECOND}: shop[0]@8-12: 1 lane record lies outside of its range: offset 77",
        f"{SECOND}: shop[0]@8-12: 1 rejected record is not in the lane: offset 11",
    ]


def test_a_lane_folder_added_by_hand(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    folder = Path(lake.errors(TABLE), "dt=2026-01-05", "run_id=mine")
    folder.mkdir(parents=True)
    (folder / "part-0.json").write_text(json.dumps({"topic": TOPIC, "partition": 0, "offset": 3}) + "\n")

    assert texts(audited(lake, full=full)) == [
        "bronze.t lane folder dt=2026-01-05/run_id=mine is of no batch in the ledger; "
        "it holds 1 record: shop[0] offset 3"
    ]


def test_a_lane_added_to_a_batch_that_rejected_nothing(lake: Lake, table: Ledgered, full: bool) -> None:
    table.batch({0: "ada"})
    audit(lake, TABLE)
    table.write_lane(ledger_entry(table, 3), {0: [13]})

    assert texts(audited(lake, full=full)) == [
        f"{FOURTH}: shop[0]@12-15: 1 record is in the lane, where 0 were rejected"
    ]


def test_what_is_no_lane_is_passed_over(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    for name in ("_verdicts/run_id=x/part-0.json", "dt=2026-01-02/_tmp/part-0.json"):
        file = Path(lake.errors(TABLE), name)
        file.parent.mkdir(parents=True)
        file.write_text("{}\n")

    assert texts(audited(lake, full=full)) == []


def test_an_expired_lane_counts_as_it_was(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    counts = {ledger_entry(table, batch).run_id: count for batch, count in ((0, 2), (1, 1), (2, 2))}
    expired = Path(lake.errors(TABLE), "_expired", "dt=2026-01-02.json")
    expired.parent.mkdir()
    expired.write_text(json.dumps(counts))
    shutil.rmtree(Path(lake.errors(TABLE), "dt=2026-01-02"))

    assert texts(audited(lake, full=full)) == [
        f"{THIRD}: 2 records were in the lane when it expired, where 1 was rejected (shop[1]@2-4)"
    ]


def test_a_batch_between_lane_and_bronze_is_in_flight(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    entry = table.entry({0: "ra"})
    table.plan(3)
    table.write_lane(entry, {0: [12]})

    found = audited(lake, full=full)
    assert texts(found) == []
    assert found.in_flight == (f"bronze.t batch 3 (run {entry.run_id[:8]})",)

    table.append(entry, {0: [13]})
    found = audit(lake, TABLE)
    assert (texts(found), found.in_flight, found.totals.rejected) == ([], (), 5)


def test_differences_are_remembered_until_a_full_audit_finds_them_gone(lake: Lake, table: Ledgered) -> None:
    audit(lake, TABLE)
    file = table.lane_of(ledger_entry(table, 1)) / "part-0.json"
    text = file.read_text()
    file.unlink()
    found = texts(audit(lake, TABLE))
    assert len(found) == 1
    file.write_text(text)

    assert texts(audit(lake, TABLE)) == found
    assert texts(audit(lake, TABLE, full=True)) == []
    assert texts(audit(lake, TABLE)) == []


def test_a_redrive_adds_rows_of_lane_records_and_of_nothing_else(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.redrive({0: [2], 1: [1]})
    found = audited(lake, full=full)
    assert (texts(found), found.totals.redriven, found.totals.accepted) == ([], 2, 9)

    second = table.redrive({0: [2, 3, 8]})
    name = f"bronze.t redrive (run {second.run_id[:8]})"
    first = f"redrive (run {ledger.run_id(TABLE, 'redrive', str(sorted({0: [2], 1: [1]}.items())))[:8]})"
    found = audited(lake, full=full)
    assert f"{name}: shop[0]: 2 re-driven rows are of no record in the lane: offsets 3, 8" in texts(found)
    others = f"{SECOND[9:]}, {first}"
    assert f"{name}: shop[0]: 2 offsets are in the table as rows of {others} too: offsets 2, 8" in texts(found)
    assert len(found.differences) == 2


def test_a_re_driven_row_that_was_deleted(lake: Lake, table: Ledgered, full: bool) -> None:
    entry = table.redrive({0: [2], 1: [1]})
    audit(lake, TABLE)
    table.delta().delete("_partition = 0 AND _offset = 2")

    name = f"redrive (run {entry.run_id[:8]})"
    assert texts(audited(lake, full=full)) == [
        f"bronze.t {name}: shop[0]: 1 re-driven row is in the table, where 2 were accepted: offset 2",
        f"bronze.t version 5 (DELETE) is no step of Sluice: it took away 1 row: {name} shop[0] offset 2",
    ]


def test_a_new_generation_may_read_again_but_not_append_again(lake: Lake, table: Ledgered, full: bool) -> None:
    audit(lake, TABLE)
    table.generation, table.next_batch, table.at = 1, 0, {0: 6, 1: 4}
    table.batch({0: "dadddda", 1: "a"})  # 7 had a row already
    table.generation, table.next_batch, table.at = 2, 0, {0: 20}
    table.batch({0: "a"})

    [one] = audited(lake, full=full).differences

    assert one.text.endswith(f"shop[0]: 1 offset is in the table as rows of {FIRST[9:]} too: offset 7")
    assert one.text.startswith("bronze.t batch 0 of generation 1 (run ")


def test_an_entry_without_counts_by_partition_is_held_against_its_sums(lake: Lake, full: bool) -> None:
    table = Ledgered(lake, by_partition=False)
    table.batch({0: "aara", 1: "ara"})
    table.batch({0: "aad", 1: "aa"})
    assert texts(audit(lake, TABLE)) == []
    table.delta().delete("_partition = 0 AND _offset IN (3, 4)")
    table.delta().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    assert texts(audited(lake, full=full))[:2] == [
        f"{FIRST}: shop[0]@0-4: 1 accepted row is not in the table: offset 3",
        f"{SECOND}: shop[0]@4-7: 1 accepted row is not in the table, out of offsets 4, 6",
    ]


def test_a_table_partitioned_by_what_the_audit_reads(lake: Lake, full: bool) -> None:
    table = Ledgered(lake, partition_by=("_topic", "_partition"))
    table.batch({0: "aara", 1: "ara"})
    audit(lake, TABLE)
    table.delta().delete("_partition = 1 AND _offset = 2")

    assert texts(audited(lake, full=full))[0] == (f"{FIRST}: shop[1]@0-3: 1 accepted row is not in the table: offset 2")


def test_since_looks_only_at_batches_with_a_later_clock(lake: Lake, table: Ledgered) -> None:
    shutil.rmtree(table.lane_of(ledger_entry(table, 0)))
    shutil.rmtree(table.lane_of(ledger_entry(table, 2)))

    found = audit(lake, TABLE, since=CLOCK + timedelta(minutes=1))

    assert (found.totals.batches, len(found.differences)) == (2, 1)
    assert "batch 2" in found.differences[0].text
    assert audit_state.load(lake, TABLE) is None
    assert audit(lake, TABLE, since=CLOCK + timedelta(days=400_000)).totals.batches == 0


def test_without_a_table_there_is_nothing_to_audit(lake: Lake) -> None:
    assert audit(lake, TABLE) == TableAudit(TABLE)


@pytest.mark.parametrize("damage", ["gone", "cut short", "days gone", "other table"])
def test_a_state_that_can_not_be_used_is_made_anew(damage: str, lake: Lake, table: Ledgered) -> None:
    expected = audit(lake, TABLE)
    file = Path(lake.root, "_ops", "audit", f"{TABLE}.json")
    if damage == "gone":
        file.unlink()
    elif damage == "cut short":
        file.write_text(file.read_text()[:-9])
    elif damage == "days gone":
        shutil.rmtree(file.parent / TABLE)
        table.batch({1: "r"})
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), "table_id": "other", "version": 1}))

    found = audit(lake, TABLE)

    assert found.differences == ()
    assert found.totals.batches == expected.totals.batches + (damage == "days gone")
    assert found.files_read == expected.files_read


def test_a_log_that_no_longer_reaches_back_tells_nothing_of_older_batches(lake: Lake, table: Ledgered) -> None:
    table.delta().create_checkpoint()
    for version in range(3):
        Path(table.table.path, "_delta_log", f"{version:020d}.json").unlink()
    table.batch({0: "ar"})

    found = audited(lake, full=True)

    assert (texts(found), found.totals.batches) == ([], 2)
    table.delta().delete("_offset = 12")
    assert texts(audit(lake, TABLE))[0] == f"{FOURTH}: shop[0]@12-14: 1 accepted row is not in the table: offset 12"


def test_a_table_made_anew_is_audited_anew(lake: Lake, table: Ledgered) -> None:
    audit(lake, TABLE)
    shutil.rmtree(lake.root + "/bronze")
    shutil.rmtree(lake.errors(TABLE))
    again = Ledgered(lake)
    again.batch({0: "aa"})

    found = audit(lake, TABLE)

    assert (texts(found), found.totals.batches) == ([], 1)


def test_an_audit_without_news_writes_nothing(lake: Lake, table: Ledgered) -> None:
    audit(lake, TABLE)
    before = audit_state.load(lake, TABLE)
    audit(lake, TABLE)

    assert audit_state.load(lake, TABLE) == before


def test_another_audit_that_ends_meanwhile_is_not_overwritten(lake: Lake, table: Ledgered) -> None:
    audit(lake, TABLE)
    state = audit_state.load(lake, TABLE)
    assert state is not None
    assert audit_state.save(lake, TABLE, state.model_copy(update={"revision": state.revision + 1}), {})

    assert not audit_state.save(lake, TABLE, state.model_copy(update={"revision": state.revision + 1}), {})


def test_the_service_counts_the_differences_of_each_table(lake: Lake, table: Ledgered) -> None:
    other = Ledgered(lake, name="bronze.u")
    other.batch({0: "aa"})
    metrics = Metrics.create("1")
    audit_tables(lake, [TABLE, "bronze.u", "bronze.none"], metrics)
    table.delta().delete("_offset = 9")
    Path(other.table.path, "_delta_log", f"{1:020d}.json").write_text("{")

    audit_tables(lake, [TABLE, "bronze.u"], metrics)

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value("sluice_audit_differences", {"table": name})

    assert (value(TABLE), value("bronze.u"), value("bronze.none")) == (2, 0, 0)


RECORDS = (change("c", person(1), 1), b"{", None, change("c", person(2), 2), change("c", person(3), 3))


@pytest.mark.parametrize("small_batch_rows", [0, 100])
def test_what_the_bronze_step_writes_has_no_differences(
    small_batch_rows: int, silver_feeder: Feeder, silver_graph: Graph
) -> None:
    step = silver_graph.bronze["bronze.people"]
    object.__setattr__(step, "small_batch_rows", small_batch_rows)
    silver_feeder.feed("bronze.people", *RECORDS)
    silver_feeder.feed("bronze.people", None, b"{")
    found = audit(silver_graph.lake, "bronze.people")
    silver_feeder.feed("bronze.people", *RECORDS)

    again = audit(silver_graph.lake, "bronze.people")

    assert (texts(found), texts(again)) == ([], [])
    assert again.totals.model_dump(exclude_defaults=True) == {
        "batches": 3,
        "read": 12,
        "accepted": 6,
        "rejected": 3,
        "dropped": 3,
    }
    assert audit(silver_graph.lake, "bronze.people", full=True).totals == again.totals


def test_a_range_that_the_query_skipped(full: bool, silver_feeder: Feeder, silver_graph: Graph) -> None:
    """The offset log was edited, or the checkpoint put back from another lake: the ledger shows the hole."""
    step = silver_graph.bronze["bronze.people"]
    silver_feeder.feed("bronze.people", *RECORDS)
    audit(silver_graph.lake, "bronze.people")
    plan_batch(step, 0, 8)
    plan_batch(step, 1, 9)
    step.run(silver_feeder.records("bronze.people", RECORDS[:1], 8), 1)

    [one] = audit(silver_graph.lake, "bronze.people", full=full).differences

    assert one.text.endswith("db.people[0]@8-9: offsets 5-7 before it were skipped: no batch read them")


def test_rows_hidden_by_a_deletion_vector(
    full: bool, silver_feeder: Feeder, silver_graph: Graph, spark: SparkSession
) -> None:
    silver_feeder.feed("bronze.people", *RECORDS)
    audit(silver_graph.lake, "bronze.people")
    path = silver_graph.lake.table("bronze.people")
    spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    spark.sql(f"DELETE FROM delta.`{path}` WHERE _offset = 3")

    first, second = texts(audit(silver_graph.lake, "bronze.people", full=full))

    assert first.endswith("db.people[0]@0-5: 1 accepted row is not in the table: offset 3")
    assert "(DELETE) is no step of Sluice: it took away 1 row: batch 0" in second
    assert second.endswith("db.people[0] offset 3")
