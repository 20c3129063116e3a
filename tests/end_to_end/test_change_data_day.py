"""A scripted day of PostgreSQL, Debezium and the service: in the end silver and the versions are the database.

A snapshot, changes of every kind, a TRUNCATE, an incremental snapshot amid traffic, Connect killed and its events
repeated, and a connector that lost its slot and takes a snapshot anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable

from checkpoints import ledger
from checkpoints.lake import Lake
from deploy.embedded.connect import SLOT, Capture
from deploy.embedded.stack import EmbeddedStack
from schemas.debezium import LAST_OF_TABLE
from schemas.loader import load
from schemas.settings import KafkaSettings
from schemas.spec import Scd2Spec
from sinks.table import Table
from streams.compute import InDriver
from streams.scd2 import broken_keys
from streams.sources import Brokers
from tests.support import kinds
from tests.support.record_debezium import FULL
from tests.support.scripted_day import ACCOUNT, LARGE, TABLES, Key, Source, Span, Values, states_of, write_pipeline
from tests.support.service import ServiceProcess, is_drained
from tests.support.tables import lane_records

pytestmark = pytest.mark.stack

CAPTURE = Capture(
    TABLES,
    partitions=2,
    connector={
        "decimal.handling.mode": "precise",
        "signal.data.collection": "public.signal",
        "incremental.snapshot.chunk.size": 5,
    },
)
FEEDS = {"bronze.account": "shop.public.account", "bronze.kinds": "shop.public.kinds"}


@dataclass
class Day:
    """The whole of it: source, stack, service and lake; `lost` is what the log has of the time without a slot."""

    stack: EmbeddedStack
    source: Source
    service: ServiceProcess
    lake: Lake
    lost: range = range(0)

    def rows(self, table: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = DeltaTable(self.lake.table(table)).to_pyarrow_table().to_pylist()
        return found

    def accounts(self) -> dict[Key, Values]:
        return by_key(self.rows("silver.account"))

    def all_kinds(self) -> dict[int, dict[str, Any]]:
        rows = self.rows("silver.kinds")
        found = {row["id"]: {name: row[name] for name in kinds.PROPERTIES} for row in rows}
        assert len(found) == len(rows)
        return found

    def versions(self) -> dict[Key, list[Span]]:
        found: dict[Key, list[Span]] = {}
        for row in self.rows("gold.dim_account"):
            span = (tuple(row[name] for name in ACCOUNT[2:]), row["valid_from"], row["valid_to"])
            found.setdefault((row["region"], row["number"]), []).append(span)
        return found

    def is_like_the_database(self, status: dict[str, dict[str, Any]]) -> bool:
        return (
            is_drained(status)
            and self.accounts() == self.source.accounts()
            and self.all_kinds() == self.source.all_kinds()
        )

    def wait(self, what: str) -> None:
        self.service.wait_for(self.is_like_the_database, what)


def by_key(rows: list[dict[str, Any]]) -> dict[Key, Values]:
    found = {(row["region"], row["number"]): tuple(row[name] for name in ACCOUNT[2:]) for row in rows}
    assert len(found) == len(rows)
    return found


def change(source: Source) -> None:
    """Every kind of change, one after the other."""
    source.run(
        # What is large is not sent while it stays as it is, and is when it changes.
        "UPDATE account SET balance = 11 WHERE number = 1",
        "UPDATE account SET owner = 'Anna' WHERE number = 1",
        f"UPDATE account SET terms = '{LARGE}changed' WHERE number = 1",
        "UPDATE account SET balance = 12 WHERE number = 1",
        "UPDATE account SET balance = 12 WHERE number = 1",
        "UPDATE account SET terms = NULL WHERE number = 1",
        FULL.format(id=3),
        "UPDATE kinds SET note = 'without the long ones' WHERE id = 3",
        "UPDATE kinds SET long_text = long_text || 'x', counts = '{4}', day = '2024-03-01' WHERE id = 1",
        "UPDATE kinds SET note = 'again' WHERE id = 1",
        # Keys that change; what is large then only comes along with a full image of what was before.
        "UPDATE account SET number = 4 WHERE number = 2",
        "UPDATE kinds SET id = 20 WHERE id = 2",
        "ALTER TABLE kinds REPLICA IDENTITY FULL",
        "UPDATE kinds SET id = 30 WHERE id = 3",
        "ALTER TABLE kinds REPLICA IDENTITY DEFAULT",
        "UPDATE kinds SET note = 'under another key' WHERE id = 30",
        # Gone, and there again: with the same values, and with others.
        "DELETE FROM account WHERE number = 1",
        "INSERT INTO account VALUES ('eu', 1, 'Anna', 12, NULL)",
        "DELETE FROM account WHERE number = 3",
        f"INSERT INTO account VALUES ('eu', 3, NULL, NULL, '{LARGE}anew')",
        "DELETE FROM kinds WHERE id = 1",
        "INSERT INTO kinds (id, note) VALUES (1, 'with less')",
    )
    # The transaction that began first commits last: its change has the lower LSN, and is sent later.
    with psycopg.connect(source.dsn) as early, psycopg.connect(source.dsn) as late:
        early.execute("UPDATE account SET owner = 'early' WHERE number = 4")
        late.execute("UPDATE account SET owner = 'late' WHERE number = 3")
        late.commit()
        early.commit()


def lose_the_slot(day: Day) -> None:
    """Stop the connector, change rows while nothing is kept for it, and begin anew with a snapshot."""
    day.stack.connect.stop()
    day.stack.postgres.drop_slot(SLOT)
    first = day.source.logged() + 1
    day.source.traffic(60)
    day.source.run(
        "DELETE FROM account WHERE number = 3",
        "UPDATE account SET owner = 'unseen' WHERE number = 1",
        "UPDATE account SET owner = 'Anne' WHERE number = 1",
        "INSERT INTO account VALUES ('eu', 7, 'came unseen', 7, 'brief')",
        "DELETE FROM kinds WHERE id = 41",
        "UPDATE kinds SET note = 'unseen', long_text = NULL WHERE id = 40",
        FULL.format(id=43),
    )
    day.lost = range(first, day.source.logged() + 1)
    (day.stack.folder / "connect" / "offsets").unlink()
    day.stack.start_connect()


def play(day: Day) -> None:
    """The whole script; in the end all is in every table, and the service is down."""
    source, stack = day.source, day.stack
    source.create()
    source.put(1, "Ann", "10", LARGE)
    source.put(2, "Bob", "20", "brief")
    source.put(3, "Cy", "30", LARGE)
    for number in range(10, 30):
        source.put(number, "first", "1.50", LARGE if number % 2 else "brief")
    source.run(FULL.format(id=1), "INSERT INTO kinds (id) VALUES (2)")
    day.service.start()
    stack.start_connect(CAPTURE)
    day.wait("the snapshot is in silver")

    change(source)
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    producer.produce(FEEDS["bronze.kinds"], key=b"x", value=b"\x00garbage")
    assert producer.flush(30) == 0

    source.traffic(20)
    day.wait("changes of every kind are in silver")  # before a snapshot could tell what they did not
    source.traffic_beside_a_snapshot()
    day.wait("the incremental snapshot, and what changed meanwhile, is in silver")

    source.run("TRUNCATE account, kinds")
    source.put(1, "Anna", "12", LARGE)
    source.put(3, "Cy", "31", LARGE)
    source.run(FULL.format(id=40), FULL.format(id=41), "INSERT INTO kinds (id) VALUES (42)")
    source.traffic(150)
    stack.connect.kill()
    source.traffic(100)
    source.run("UPDATE kinds SET note = 'while it was down' WHERE id = 40")
    stack.connect.start()
    source.traffic(60)
    day.wait("what Connect repeated, and all after it, is in silver")

    lose_the_slot(day)
    day.wait("what the snapshot does not contain is gone")
    source.run("UPDATE account SET balance = 13 WHERE number = 1")
    source.traffic(40)
    day.wait("changes after the snapshot are in silver")
    stack.connect.stop()
    day.service.wait_for(is_drained, "everything is in every table")
    assert day.service.terminate() == 0


@pytest.fixture(scope="module")
def day(service_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """The day, at its end: all that was captured is in every table, and the service is down."""
    folder = tmp_path_factory.mktemp("day")
    with EmbeddedStack(tables=TABLES) as stack:
        settings = {
            "lake": str(folder / "lake"),
            "pipeline": str(write_pipeline(folder / "pipeline")),
            "kafka.bootstrap_servers": stack.kafka.bootstrap,
            "jars_dir": str(service_jars),
            "metrics_port": "0",
            "trigger_seconds": "0.5",
        }
        source = Source(stack.postgres.dsn)
        day = Day(stack, source, ServiceProcess(settings, folder / "service.log"), Lake.at(settings["lake"]))
        try:
            play(day)
            yield day
        finally:
            if day.service.process is not None and day.service.process.poll() is None:
                day.service.kill()


def test_the_day_had_what_it_is_about(day: Day) -> None:
    bronze = {name: day.rows(name) for name in FEEDS}
    for rows in bronze.values():
        assert {row["op"] for row in rows} == {"r", "c", "u", "d", "t"}
        kinds_of_read = [row["source"]["snapshot"] for row in rows]
        assert "incremental" in kinds_of_read
        # A completed snapshot in the morning, and one after the slot was lost.
        assert sum(kind in LAST_OF_TABLE for kind in kinds_of_read) == 2
        assert any(row["_unavailable"] for row in rows)
        assert len({row["_partition"] for row in rows}) == 2
    assert len(day.lost) > 20


def test_silver_is_the_database(day: Day) -> None:
    assert day.accounts() == day.source.accounts()
    expected, found = day.source.all_kinds(), day.all_kinds()
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert found[key] == row
    assert {40, 42, 43} == found.keys()


def test_one_version_of_each_row_is_current_and_it_is_the_row(day: Day) -> None:
    assert by_key([row for row in day.rows("gold.dim_account") if row["is_current"]]) == day.source.accounts()


def test_every_version_that_the_database_had_is_there_and_no_other(day: Day) -> None:
    expected = day.source.states(day.lost)
    assert {key: states_of(spans) for key, spans in day.versions().items()} == expected


def test_the_versions_of_a_scripted_key(day: Day) -> None:
    spans = sorted(day.versions()["eu", 1], key=lambda span: span[1])
    rows = [
        (owner, balance and str(balance), terms and terms.removeprefix(LARGE)) for (owner, balance, terms), *_ in spans
    ]
    assert rows == [
        ("Ann", "10.00", ""),
        ("Ann", "11.00", ""),
        ("Anna", "11.00", ""),
        ("Anna", "11.00", "changed"),
        ("Anna", "12.00", "changed"),
        ("Anna", "12.00", None),
        ("Anna", "12.00", None),  # deleted in between
        ("Anna", "12.00", ""),  # after the TRUNCATE
        ("Anne", "12.00", ""),  # by the second snapshot
        ("Anne", "13.00", ""),
    ]
    assert [states for states in states_of(spans) if states is None] == [None, None]


def test_no_versions_of_a_key_overlap(day: Day) -> None:
    spec = load(Path(day.service.settings["pipeline"])).tables["gold.dim_account"]
    assert isinstance(spec, Scd2Spec)
    rows = DeltaTable(day.lake.table(spec.table)).to_pyarrow_table()
    assert broken_keys(InDriver(), rows, spec) == 0
    assert len(set(rows[spec.surrogate_key].to_pylist())) == rows.num_rows


def test_every_record_is_accounted_for(day: Day) -> None:
    brokers = Brokers(KafkaSettings(bootstrap_servers=day.stack.kafka.bootstrap))
    try:
        for table, topic in FEEDS.items():
            held = [(row["_partition"], row["_offset"]) for row in day.rows(table)]
            lane = [(record["partition"], record["offset"]) for record in lane_records(day.lake.errors(table))]
            entries = [entry for _, entry in ledger.entries(Table(table, day.lake).handle())]
            dropped = sum(sum(entry.dropped.values()) for entry in entries)
            assert len({*held, *lane}) == len(held) + len(lane)
            assert len(held) + len(lane) + dropped == sum(brokers.end_offsets(topic, {}).values())
            assert len(lane) == (table == "bronze.kinds")
    finally:
        brokers.close()
    audit = day.service.command("audit")
    assert (audit.returncode, audit.stderr) == (0, ""), audit.stdout
    for table in ("silver.account", "silver.account_history", "silver.kinds"):
        assert lane_records(day.lake.errors(table)) == []


def test_a_run_from_where_it_was_changes_nothing(day: Day) -> None:
    before = {name: one["version"] for name, one in day.service.status().items()}
    assert day.service.run_to_end("--once") == 0
    assert {name: one["version"] for name, one in day.service.status().items()} == before
