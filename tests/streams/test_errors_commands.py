"""`sluice errors` over lanes that the bronze step made: what it says, how it exits, and what it never shows."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from checkpoints.lake import Lake
from schemas.loader import load
from schemas.settings import Settings
from streams.cli import app
from streams.commands.since import NotATime, parse_since
from streams.graph import Graph
from tests.support import people
from tests.support.bronze import Feeder, change
from tests.support.lanes import put, put_verdicts, record, verdict
from tests.support.people import person
from tests.support.service import ServiceProcess

CANARY = "canary-5e1f"
PERSON = person(7, CANARY + "-longer-than-allowed", "Oslo", hobby=CANARY)
VISIT = {"visit": 1, "person": "nobody", "at": CANARY, "note": CANARY}

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def made(
    spark: SparkSession, service_jars: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lake, Path, list[dict[str, Any]]]:
    """A lake with rejected records of two tables, one of them re-driven since, and the folder of its pipeline."""
    root = tmp_path_factory.mktemp("errors")
    folder = people.write(root / "pipeline", without_gold=True)
    contract = json.loads(json.dumps(people.CONTRACT))
    contract["properties"]["name"]["x-pii"] = True
    (folder / "contracts" / "people.schema.json").write_text(json.dumps(contract))
    for spec in (folder / "tables").glob("silver.people*.yml"):
        spec.write_text(spec.read_text() + "pii: {name: keep}\n")
    graph = Graph.build(load(folder), Settings(lake=str(root / "lake"), jars_dir=service_jars))
    graph.prepare(spark)
    feeder = Feeder(spark, graph)
    feeder.feed("bronze.people", change("c", person(1, "Ada"), 1), b"{" + CANARY.encode(), change("c", PERSON, 2))
    feeder.feed("bronze.people", change("u", PERSON, 3), change("x", PERSON, 4), b'\xff{"' + CANARY.encode())
    feeder.feed("bronze.visits", {"visit": 0, "person": 1, "at": "2026"}, VISIT)
    silver = record(0, "key.null")
    fields = ("table", "topic", "partition", "offset", "violations", "ingest_ts")
    put(graph.lake, "a", [{name: silver[name] for name in fields}], table="silver.people")
    # As a redrive leaves it: the record at offset 3 has become a row.
    rows = DeltaTable(graph.lake.table("bronze.people")).to_pyarrow_table()
    moved = rows.set_column(rows.schema.get_field_index("_offset"), "_offset", pa.array([3], pa.int64()))
    write_deltalake(graph.lake.table("bronze.people"), moved, mode="append")
    return graph.lake, folder, []


@pytest.fixture
def errors(made: tuple[Lake, Path, Any], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `sluice errors` in this process; the log of the test run is left as it is."""
    lake, folder, _ = made
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)

    def run(*arguments: str, lake_root: str = lake.root) -> Result:
        given = ["--set", f"lake={lake_root}", "--set", f"pipeline={folder}"]
        return CliRunner().invoke(app, ["errors", *arguments, *given])

    return run


COHORTS = [
    # table, rule, count, open
    ("bronze.people", "json.syntax", 1, 1),
    ("bronze.people", "schema.maxLength", 2, 1),
    ("bronze.people", "debezium.envelope", 1, 1),
    ("bronze.people", "json.utf8", 1, 1),
    ("bronze.visits", "schema.type", 1, 1),
    ("silver.people", "key.null", 1, 1),
]


def test_list_has_a_line_for_each_cohort(errors: Command) -> None:
    shown = errors("list", "--json")

    assert shown.exit_code == 0
    found = json.loads(shown.stdout)
    assert sorted((one["table"], one["rule"], one["count"], one["open"]) for one in found) == sorted(COHORTS)
    [over] = [one for one in found if one["rule"] == "schema.maxLength"]
    assert over == {
        "table": "bronze.people",
        "rule": "schema.maxLength",
        "contract_version": "3",
        "first_seen": "2026-01-02T00:00:00+00:00",
        "last_seen": "2026-01-02T00:00:01+00:00",
        "count": 2,
        "open": 1,
        "redriven": 1,
    }
    lines = errors("list").stdout.splitlines()
    assert lines[0].split() == [
        "table",
        "rule",
        "contract",
        "first",
        "seen",
        "last",
        "seen",
        "count",
        "open",
        "re-driven",
    ]
    [line] = [one for one in lines if "schema.maxLength" in one]
    assert line.split() == [
        *("bronze.people", "schema.maxLength", "3", "2026-01-02", "00:00:00", "2026-01-02", "00:00:01"),
        *("2", "1", "1"),
    ]
    assert len(lines) == len(COHORTS) + 1


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        (["--table", "bronze.visits"], [1]),
        (["--rule", "schema.maxLength"], [2]),
        (["--since", "2026-01-02T00:00:01"], [1, 1, 1]),
        (["--since", "2026-01-02T00:00:01", "--table", "bronze.people", "--rule", "schema.maxLength"], [1]),
        (["--since", "1h"], []),
        (["--table", "silver.people_history"], []),
    ],
)
def test_list_is_narrowed(errors: Command, arguments: list[str], counts: list[int]) -> None:
    shown = errors("list", "--json", *arguments)
    assert shown.exit_code == 0
    assert sorted(one["count"] for one in json.loads(shown.stdout)) == counts
    assert bool(counts) == ("No rejected records." not in errors("list", *arguments).stdout)


def test_show_says_where_a_record_stood_what_it_broke_and_what_may_be_seen_of_it(errors: Command) -> None:
    shown = errors("show", "--table", "bronze.people", "--rule", "schema.maxLength", "--json")

    assert shown.exit_code == 0
    newest, oldest = json.loads(shown.stdout)
    assert (newest["topic"], newest["partition"], newest["offset"], newest["redriven"]) == ("db.people", 0, 3, True)
    assert (oldest["offset"], oldest["redriven"], oldest["contract_version"]) == (2, False, "3")
    assert oldest["violations"] == [
        {"rule": "schema.maxLength", "pointer": "/after/name", "schema_path": "/properties/name/maxLength"}
    ]
    assert oldest["value"]["after"] == {"id": 7, "name": "***", "home": {"city": "Oslo"}, "hobby": "***"}
    assert oldest["value"]["source"]["lsn"] == 2
    assert oldest["key"] == "1 byte, sha256 8254c329a928"
    assert "raw_value" not in oldest
    text = errors("show", "--table", "bronze.people", "--rule", "schema.maxLength").stdout
    assert "db.people[0]@3  re-driven\n" in text
    assert "db.people[0]@2  open\n  rejected 2026-01-02 00:00:00 UTC; contract people 3\n" in text
    assert "\n  schema.maxLength at /after/name, by /properties/name/maxLength\n" in text
    assert '"city": "Oslo"' in text


def test_show_limits_how_many_and_how_much(errors: Command, made: tuple[Lake, Path, Any]) -> None:
    limited = json.loads(errors("show", "--table", "bronze.people", "--limit", "2", "--json").stdout)
    assert [one["offset"] for one in limited] == [3, 4]
    lake, _, _ = made
    long = json.dumps({"op": "x", "after": {"id": 1, "home": {"city": "x" * 9000}}}).encode()
    put(lake, "long", [record(50, "schema.long", value=long)])
    shown = errors("show", "--table", "bronze.people", "--rule", "schema.long")
    assert "characters in all)" in shown.stdout
    assert len(shown.stdout) < 5000
    assert "x" * 9000 in errors("show", "--table", "bronze.people", "--rule", "schema.long", "--json").stdout
    for file in Path(lake.errors("bronze.people")).glob("dt=*/run_id=long/*"):
        file.unlink()


def test_raw_bytes_are_shown_when_they_are_asked_for(errors: Command) -> None:
    utf8 = json.loads(errors("show", "--table", "bronze.people", "--rule", "json.syntax", "--raw", "--json").stdout)
    assert (utf8[0]["raw_value"], utf8[0]["raw_value_encoding"], utf8[0]["raw_key"]) == ("{" + CANARY, "utf-8", "k")
    assert utf8[0]["value"].startswith("12 bytes, sha256 ")
    other = json.loads(errors("show", "--table", "bronze.people", "--rule", "json.utf8", "--raw", "--json").stdout)
    raw = b'\xff{"' + CANARY.encode()
    assert (base64.b64decode(other[0]["raw_value"]), other[0]["raw_value_encoding"]) == (raw, "base64")
    text = errors("show", "--table", "bronze.people", "--raw").stdout
    assert "raw value (utf-8)\n{" + CANARY + "\n" in text
    assert "raw value (base64)\n" + base64.b64encode(raw).decode() in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        *(
            ["show", "--table", table, *form]
            for table in ("bronze.people", "bronze.visits", "silver.people")
            for form in ([], ["--json"])
        ),
    ],
    ids=" ".join,
)
def test_what_is_personal_is_never_shown_unasked(errors: Command, arguments: list[str]) -> None:
    shown = errors(*arguments)
    assert shown.exit_code == 0
    assert shown.stdout
    # At a field marked as personal, at one that nobody declared, and in bytes that can not be read.
    hidden = shown.output.replace(f'"at": "{CANARY}"', "")
    assert CANARY not in hidden
    assert base64.b64encode(CANARY.encode()).decode()[:12] not in hidden


def test_the_canary_is_there_to_be_seen(errors: Command) -> None:
    assert errors("show", "--table", "bronze.people", "--raw").stdout.count(CANARY) >= 3
    [visit] = json.loads(errors("show", "--table", "bronze.visits", "--json").stdout)
    # The contract names `at`, and does not say that it is personal.
    assert visit["value"] == {"visit": 1, "person": "nobody", "at": CANARY, "note": "***"}


def test_the_newest_verdict_is_what_is_told(errors: Command, made: tuple[Lake, Path, Any]) -> None:
    lake, _, _ = made
    clock = datetime(2026, 1, 5, tzinfo=UTC)
    folder = put_verdicts(lake, "r", [verdict(1, "schema.required", clock=clock)])
    silver = put_verdicts(lake, "s", [verdict(0, clock=clock)], table="silver.people")
    try:
        [again] = json.loads(errors("list", "--rule", "schema.required", "--json").stdout)
        assert (again["contract_version"], again["open"], again["last_seen"][:10]) == ("4", 1, "2026-01-02")
        [gone] = json.loads(errors("list", "--table", "silver.people", "--json").stdout)
        assert (gone["open"], gone["redriven"]) == (0, 1)
    finally:
        for file in (*folder.iterdir(), *silver.iterdir()):
            file.unlink()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "--table", "bronze.peple"], "There is no table `bronze.peple`. Did you mean `bronze.people`?"),
        (["list", "--table", "x"], "There is no table `x`. Known: `bronze.people`, `bronze.visits`, `silver.people`"),
        (
            ["list", "--rule", "schema.maxlenght"],
            "No record in any lane was rejected by `schema.maxlenght`. Did you mean `schema.maxLength`?",
        ),
        (
            ["show", "--table", "bronze.visits", "--rule", "zzz", "--since", "1h"],
            "No record in the lane of bronze.visits was rejected by `zzz`. Known: `schema.type`.",
        ),
        (["list", "--since", "soon"], "--since soon: that is no time. Write a date or time in UTC"),
    ],
)
def test_a_wrong_name_or_time_is_a_sentence_and_exit_code_2(
    errors: Command, arguments: list[str], sentence: str
) -> None:
    shown = errors(*arguments)
    assert shown.exit_code == 2
    assert sentence in shown.stderr
    assert shown.stdout == ""


def test_a_rule_that_nothing_broke_lately_is_no_mistake(errors: Command) -> None:
    shown = errors("list", "--rule", "json.syntax", "--since", "1h")
    assert (shown.exit_code, shown.stdout) == (0, "No rejected records.\n")


def test_a_lake_without_lanes_has_no_rejected_records(errors: Command, tmp_path: Path) -> None:
    for arguments in (["list"], ["list", "--rule", "x"], ["show", "--table", "bronze.people"]):
        shown = errors(*arguments, lake_root=str(tmp_path / "none"))
        assert (shown.exit_code, shown.stdout) == (0, "No rejected records.\n")
    assert not (tmp_path / "none").exists()


def test_a_file_that_can_not_be_read_is_named_and_the_rest_is_shown(errors: Command, tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    folder = put(lake, "a", [record(1)])
    (folder / "torn.json").write_text('{"topic": "' + CANARY)
    for arguments in (["list"], ["show", "--table", "bronze.people"]):
        shown = errors(*arguments, lake_root=lake.root)
        assert shown.exit_code == 1
        assert "json.syntax" in shown.stdout
        assert shown.stderr.count("torn.json can not be read") == 1
        assert CANARY not in shown.output


def test_a_lane_of_a_table_that_the_pipeline_no_longer_has_shows_nothing_of_its_records(
    errors: Command, tmp_path: Path
) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    value = json.dumps({"id": 1}).encode()
    violations = [{"rule": "schema.type", "pointer": f"/{CANARY}", "schema_path": "/properties"}]
    put(lake, "a", [record(1, value=value, violations=violations)], table="bronze.gone")

    shown = errors("show", "--table", "bronze.gone", lake_root=lake.root)

    assert shown.exit_code == 0
    assert "  value  9 bytes, sha256 " in shown.stdout
    assert "schema.type at /***, by /properties" in shown.stdout


def test_what_a_terminal_would_obey_is_shown_as_an_escape(errors: Command, tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    value = json.dumps({"visit": 1, "at": "\x1b[2J\x9b2J\u202e"}, ensure_ascii=False).encode()
    put(lake, "a", [record(1, "[red]x", value=b"\x1b[2J")], table="bronze.visits")
    put(lake, "b", [record(2, value=value.replace(b"\x1b", b"\\u001b"))], table="bronze.visits")

    shown = errors("show", "--table", "bronze.visits", "--raw", lake_root=lake.root).stdout

    assert not any(sign in shown for sign in "\x1b\x9b\u202e")
    assert '"at": "\\u001b[2J\\u009b2J\\u202e"' in shown
    assert "[red]x" in shown
    assert "[red]x" in errors("list", lake_root=lake.root).stdout


def test_the_command_itself_says_the_same(made: tuple[Lake, Path, Any], tmp_path: Path) -> None:
    lake, folder, _ = made
    process = ServiceProcess({"lake": lake.root, "pipeline": str(folder)}, tmp_path / "log")
    listed = process.command("errors", "list", "--table", "bronze.visits")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[1].split()[:2] == ["bronze.visits", "schema.type"]
    wrong = process.command("errors", "show", "--table", "bronze.visit")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "There is no table `bronze.visit`. Did you mean `bronze.visits`?\n"


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T08:30", datetime(2026, 1, 31, 8, 30, tzinfo=UTC)),
        ("2026-01-31 08:30:05", datetime(2026, 1, 31, 8, 30, 5, tzinfo=UTC)),
        ("2026-01-31T08:30+02:00", datetime(2026, 1, 31, 6, 30, tzinfo=UTC)),
        ("2026-01-31T08:30Z", datetime(2026, 1, 31, 8, 30, tzinfo=UTC)),
        ("45s", NOW - timedelta(seconds=45)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_since_is_a_time_in_utc_or_how_long_ago(text: str, expected: datetime) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "2h30m", "-2h", "2 hours", "999999w", "2026-13-01", "0001-01-01T00:00+14:00"]
)
def test_since_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(NotATime):
        parse_since(text, NOW)
