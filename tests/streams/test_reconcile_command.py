"""`sluice reconcile`: what it prints, how it exits, and what it says where it can not compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli import app
from streams.reconcile import run
from streams.reconcile.errors import SourceRefuses, SourceUnreachable
from streams.reconcile.report import Difference, Reconciliation
from tests.support import people
from tests.support.reconciled import TABLE, write_pipeline

Command = Callable[..., Result]
FOUND = Reconciliation(
    table=TABLE,
    source="town",
    source_table="public.things",
    columns=("id", "name"),
    source_rows=3,
    silver_rows=2,
    ranges=1,
    ranges_compared=1,
    ranges_differing=1,
    found={"missing_in_silver": 1, "differs": 1},
    in_flight=4,
    differences=(Difference("differs", {"id": "7"}, ("name",)),),
    source_position="0/1A",
    source_position_again="0/1B",
    silver_version=3,
    silver_position="0/19",
    silver_is_behind=True,
)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `sluice reconcile` in this process; what stands in `found` is what comparing gives, or raises."""
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = write_pipeline(tmp_path / "pipeline")

    def invoke(*arguments: str, found: Reconciliation | Exception | None = None, pipeline: Path = folder) -> Result:
        def compared(*_: object) -> Reconciliation:
            if isinstance(found, Exception):
                raise found
            assert found is not None
            return found

        if found is not None:
            monkeypatch.setattr(run, "reconcile", compared)
        given = ["--set", f"lake={tmp_path / 'lake'}", "--set", f"pipeline={pipeline}"]
        return CliRunner().invoke(app, ["reconcile", *arguments, *given])

    return invoke


def test_it_prints_each_table_its_position_and_what_differs_and_exits_with_1(command: Command) -> None:
    done = command(found=FOUND)

    assert done.exit_code == 1
    heading, line, position = done.stdout.splitlines()
    assert heading.split() == [
        *("table", "source", "in", "source", "in", "silver", "ranges"),
        *("differing", "missing", "surplus", "differ", "in", "flight"),
    ]
    assert line.split() == [TABLE, "town", "public.things", "3", "2", "1", "1", "1", "0", "1", "4"]
    assert position == (
        "public.things at 0/1A, and 0/1B when the keys that differed were last read; silver.things version 3, whose "
        "newest change is at 0/19. What the source has changed since may still be on its way."
    )
    assert done.stderr.splitlines() == [
        "silver.things: id=7 differs in name.",
        "silver.things: 1 more key like these; `--keys` names more.",
        "2 differences found.",
    ]


def test_it_exits_with_0_where_both_are_the_same(command: Command) -> None:
    done = command("--table", TABLE, found=Reconciliation(TABLE, "town", "things", source_rows=3, silver_rows=3))

    assert (done.exit_code, done.stderr) == (0, "")


def test_json_has_the_same_as_fields(command: Command) -> None:
    done = command("--json", found=FOUND)

    [found] = json.loads(done.stdout)
    assert done.exit_code == 1
    assert found["differences"] == [{"kind": "differs", "key": {"id": "7"}, "columns": ["name"]}]
    assert (found["count"], found["found"]) == (2, {"missing_in_silver": 1, "differs": 1})
    assert (found["source_position"], found["silver_version"], found["silver_is_behind"]) == ("0/1A", 3, True)


def test_ranges_that_were_left_are_told(command: Command) -> None:
    done = command(found=Reconciliation(TABLE, "town", "things", ranges_left=1))

    assert done.exit_code == 1
    assert "1 range of keys differs as well and was not looked into to the end." in done.stderr


def test_a_source_that_can_not_be_reached_is_told_and_exits_with_1(command: Command) -> None:
    done = command(found=SourceUnreachable("town", "db:5432/shop", "no route"))

    assert done.exit_code == 1
    assert "The source `town` at db:5432/shop can not be reached: no route." in done.stderr
    assert done.stdout.splitlines()[1].split()[-1] == "-"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--table", "silver.thing"], "There is no table `silver.thing`. Did you mean `silver.things`?"),
        (["--table", "bronze.things"], "The spec of bronze.things does not say where the rows of its table come from."),
    ],
)
def test_what_can_not_be_compared_is_told_in_a_sentence(arguments: list[str], sentence: str, command: Command) -> None:
    done = command(*arguments)

    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())


def test_a_pipeline_without_a_source_is_told(command: Command, tmp_path: Path) -> None:
    done = command(pipeline=people.write(tmp_path / "people", without_gold=True))

    assert done.exit_code == 2
    assert "No spec says where the rows of its table come from." in done.stderr


def test_a_spec_that_does_not_fit_the_source_exits_with_2(command: Command) -> None:
    done = command(found=SourceRefuses(TABLE, "town", "select.name", 'column "nmae" does not exist'))

    assert done.exit_code == 2
    assert 'refuses `reconcile.select.name`: column "nmae" does not exist. Correct the spec.' in done.stderr


def test_a_table_that_is_not_there_yet_exits_with_1(command: Command) -> None:
    done = command()

    assert done.exit_code == 1
    assert "silver.things is not in the lake yet." in done.stderr
