"""`sluice verify` and `sluice rebuild`: what they print, how they exit, and what they say where they can not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from schemas.loader import load
from schemas.settings import Settings
from streams.cli import app
from streams.commands import verify
from streams.graph import Graph
from streams.verify.private import private_key
from streams.verify.report import Difference, Verification
from tests.support import people, private
from tests.support.bronze import Feeder, change
from tests.support.people import person

Command = Callable[..., Result]
FOUND = Verification(
    "silver.people",
    3,
    {"bronze.people": 5},
    rows=4,
    rebuilt_rows=4,
    equal=2,
    found={"missing": 1, "extra": 1, "different": 1},
    differences=(Difference("different", {"id": "7"}, ("name", "city")), Difference("missing", {"id": "8"})),
)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process; what stands in `found` is what verifying gives."""
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = people.write(tmp_path / "pipeline")

    def invoke(*arguments: str, found: list[Verification] | None = None, pipeline: Path = folder) -> Result:
        asked: list[Any] = []

        def verified(*given: Any, **_: Any) -> list[Verification]:
            asked.extend(given[2])
            return [Verification(name, 1) for name in given[2]] if found is None else found

        monkeypatch.setattr(verify, "_verified", verified)
        given = ["--set", f"lake={tmp_path / 'lake'}", "--set", f"pipeline={pipeline}"]
        return CliRunner().invoke(app, [*arguments, *given])

    return invoke


@pytest.fixture
def in_spark(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the session of the tests, and leave it running."""

    class Shared:
        def __getattr__(self, name: str) -> Any:
            return (lambda: None) if name == "stop" else getattr(spark, name)

    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    monkeypatch.setattr("streams.session.build", lambda _: Shared())


def test_it_prints_each_table_and_what_differs_and_exits_with_1(command: Command) -> None:
    done = command("verify", found=[FOUND, Verification("gold.dim_person", problem="gold.dim_person is not there.")])

    assert done.exit_code == 1
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["table", "version", "rows", "rebuilt", "equal", "missing", "extra", "different"],
        ["silver.people", "3", "4", "4", "2", "1", "1", "1"],
        ["gold.dim_person", *"-------"],
    ]
    assert done.stderr.splitlines() == [
        "silver.people: id=7 differs in name, city.",
        "silver.people: id=8 is missing: a rebuild has it.",
        "silver.people: 1 more key like these; `--keys` names more.",
        "gold.dim_person is not there.",
        "3 differences found.",
    ]


def test_json_has_the_same_as_fields(command: Command) -> None:
    done = command("verify", "--json", found=[FOUND])

    [found] = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (found["table"], found["version"], found["bronze"]) == ("silver.people", 3, {"bronze.people": 5})
    assert (found["count"], found["found"]) == (3, {"missing": 1, "extra": 1, "different": 1})
    assert found["differences"][0] == {"kind": "different", "key": {"id": "7"}, "columns": ["name", "city"]}


@pytest.mark.parametrize(
    ("arguments", "tables"),
    [
        ([], ["silver.people", "silver.people_history", "gold.dim_person", "silver.visits"]),
        (["--table", "gold.fact_visits", "--table", "silver.visits"], ["silver.visits", "gold.fact_visits"]),
        (["--sample", "visit=1..9"], ["silver.visits", "gold.fact_visits"]),
    ],
)
def test_it_takes_the_tables_that_are_meant_and_exits_with_0_where_all_are_equal(
    arguments: list[str], tables: list[str], command: Command
) -> None:
    done = command("verify", *arguments)

    assert (done.exit_code, done.stderr) == (0, "")
    taken = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert set(tables) <= set(taken)
    assert not arguments or taken == tables


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verify", "--table", "silver.peple"], "There is no table `silver.peple`. Did you mean `silver.people`?"),
        (["verify", "--table", "bronze.people"], "bronze.people is made from a topic"),
        (["verify", "--sample", "2"], "--sample 2: a share is above 0 and at most 1."),
        (["verify", "--sample", "some"], "--sample some: that is neither."),
        (["verify", "--sample", "id=.."], "--sample id=..: the range has no end."),
        (["verify", "--sample", "age=1..2"], "no table has `age` in its key"),
        (["rebuild", "--as-of", "soon", "--to", "x"], "--as-of soon: that is no time."),
        (["rebuild", "--as-of", "2999-01-01", "--to", "x"], "--as-of 2999-01-01: that is in the future."),
        (["rebuild", "--as-of", "1h", "--to", str(Path(__file__).parent)], "there is something already"),
        (["rebuild", "--as-of", "1h", "--to", __file__], "that is a file"),
    ],
)
def test_what_can_not_be_done_is_told_in_a_sentence(arguments: list[str], sentence: str, command: Command) -> None:
    done = command(*arguments)

    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())


def test_a_rebuild_says_what_it_will_do_and_asks(command: Command, tmp_path: Path) -> None:
    done = command("rebuild", "--as-of", "2026-01-02", "--to", str(tmp_path / "then"))

    assert done.exit_code == 1
    assert f"will be made in {tmp_path / 'then'}, as known at 2026-01-02 00:00:00 UTC" in done.stdout
    assert not (tmp_path / "then").exists()


@pytest.mark.usefixtures("in_spark")
def test_the_commands_work_on_a_lake(feeder: Feeder, graph: Graph, settings: Settings, tmp_path: Path) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(7, "a"), 1))
    given = ["--set", f"lake={settings.lake}", "--set", f"pipeline={graph.pipeline.folder}"]

    done = CliRunner().invoke(app, ["verify", "--table", "gold.dim_person", "--keep", *given])
    assert done.exit_code == 0, done.output
    assert f"gold.dim_person: its rebuild is in {settings.lake}/_verify/" in done.stdout

    graph.tables["gold.dim_person"].writer().update(updates={"name": "'Z'"})
    done = CliRunner().invoke(app, ["verify", "--table", "gold.dim_person", *given])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].endswith("differs in name.")

    done = CliRunner().invoke(
        app, ["rebuild", "--as-of", "2026-01-02T00:00:00", "--to", str(tmp_path / "then"), "--yes", *given]
    )
    assert done.exit_code == 0, done.output
    made = [line.split() for line in done.stdout.splitlines()]
    assert ["gold.dim_person", "1", f"{tmp_path}/then/gold/dim_person"] in made

    done = CliRunner().invoke(app, ["verify", "--table", "silver.people", "--sample", "id=a..", *given])
    assert (done.exit_code, "`a` is no value of `id`" in " ".join(done.stderr.split())) == (2, True)


def test_a_lake_without_the_table_is_told(in_spark: None, people_folder: Path, tmp_path: Path) -> None:
    del in_spark
    given = ["--set", f"lake={tmp_path / 'none'}", "--set", f"pipeline={people_folder}"]

    done = CliRunner().invoke(app, ["verify", "--table", "silver.people", *given])

    assert done.exit_code == 1
    assert "silver.people is not in the lake yet. `sluice run` makes it." in done.stderr


def test_keys_that_are_personal_are_masked(tmp_path: Path) -> None:
    pipeline = load(private.write(tmp_path / "pipeline"))

    assert {name: private_key(pipeline, name) for name in pipeline.tables} == {
        "bronze.people": frozenset(),
        "silver.people": {"id"},
        "silver.people_history": {"id"},
        "gold.dim_person": {"id"},
        "gold.tiers": {"email"},
    }
