"""What is personal goes no further than bronze: whole tables, every file and every command, with both engines."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from checkpoints.protections import ProtectionChanged
from schemas.errors import InvalidPipeline, InvalidSettings
from schemas.loader import load
from schemas.settings import PiiSettings, Settings
from sinks.errors import IncompatibleTable
from streams.cli import app
from streams.contract_watch import ContractWatch
from streams.explain import explain
from streams.graph import Graph
from streams.metrics import Metrics
from streams.queries import QuerySupervisor
from streams.silver import ChangeStep
from tests.support import private
from tests.support.bronze import Feeder, change
from tests.support.private import exposed, exposing, identity, person
from tests.support.tables import lane_records, rows_of

PEOPLE = ("id", "email", "name", "born", "street", "country", "tier")
Run = Callable[..., Result]


def hashed(text: str, key: str = private.KEY) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def with_key(settings: Settings, key: str = private.KEY, **more: Any) -> Settings:
    return settings.model_copy(update={"pii": PiiSettings(key=SecretStr(key)), **more})


def built(folder: Path, settings: Settings, spark: SparkSession) -> Graph:
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    return graph


def fed(folder: Path, settings: Settings, spark: SparkSession) -> Graph:
    """A lake with every kind of record, read from memory, and the last batch from the change feed."""
    graph = built(folder, settings, spark)
    feeder = Feeder(spark, graph, headers=[("trace", b"canary-header")])
    first, second, third = private.batches()
    feeder.feed_and_drive("bronze.people", *first)
    feeder.feed_and_drive("bronze.people", *second)
    feeder.feed("bronze.people", *third)
    feeder.drive()
    return graph


@pytest.fixture
def whole_folder(tmp_path: Path) -> Path:
    return private.write(tmp_path / "pipeline")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same without its gold tables, for what does not need them."""
    return private.write(tmp_path / "pipeline", without_gold=True)


@pytest.fixture
def run(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, without the key; the log of the test run is left as it is."""
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)

    def command(*arguments: str) -> Result:
        given = ["--set", f"lake={settings.lake}", "--set", f"pipeline={tmp_path / 'pipeline'}"]
        return CliRunner().invoke(app, [*arguments, *given])

    return command


@pytest.mark.parametrize("small_batch_rows", [0, 100_000], ids=["spark", "delta-rs"])
def test_no_file_and_no_command_shows_what_is_personal(
    small_batch_rows: int, whole_folder: Path, settings: Settings, spark: SparkSession, run: Run
) -> None:
    graph = fed(whole_folder, with_key(settings, small_batch_rows=small_batch_rows), spark)

    assert rows_of(graph.tables["silver.people"].path, *PEOPLE) == sorted(
        [
            (hashed(identity(1)), hashed("canary-email-1"), "***", None, None, "NO", "silver"),
            (hashed(identity(5)), hashed("canary-email-5"), "***", None, None, "NO", "gold"),
            (hashed(identity(6)), hashed("canary-email-6"), "***", None, None, "NO", "gold"),
        ],
        key=repr,
    )
    present = set(graph.tables["silver.people"].schema().names)
    assert {"age"} == {name for name in present if not name.startswith("_")} - set(PEOPLE)
    deleted = (hashed(identity(2)), None, None, True)
    history = rows_of(graph.tables["silver.people_history"].path, "id", "email", "name", "_deleted")
    assert history == sorted(
        [
            (hashed(identity(1)), hashed("canary-email-1"), "***", False),
            (hashed(identity(1)), hashed("canary-email-1"), "***", False),
            (hashed(identity(2)), hashed("canary-email-2"), "***", False),
            deleted,
            (hashed(identity(5)), hashed("canary-email-5"), "***", False),
            (hashed(identity(5)), hashed("canary-email-5"), "***", False),
            (hashed(identity(6)), hashed("canary-email-6"), "***", False),
        ],
        key=repr,
    )
    # Versions differ by what the table holds: of person 5 nothing has changed but the case of what is hashed in lower.
    versions = rows_of(graph.tables["gold.dim_person"].path, "id", "tier", "is_current")
    assert versions == sorted(
        [
            (hashed(identity(1)), "gold", False),
            (hashed(identity(1)), "silver", True),
            (hashed(identity(2)), "gold", False),
            (hashed(identity(5)), "gold", True),
            (hashed(identity(6)), "gold", True),
        ],
        key=repr,
    )
    assert rows_of(graph.tables["gold.tiers"].path, "email", "name", "tier") == sorted(
        [
            (hashed("canary-email-1"), "***", "silver"),
            (hashed("canary-email-5"), "***", "gold"),
            (hashed("canary-email-6"), "***", "gold"),
        ],
        key=repr,
    )
    # What a rule of silver refused is judged as it came, and kept as a place.
    for table in ("silver.people", "silver.people_history"):
        [reject] = lane_records(graph.lake.errors(table))
        assert (reject["offset"], reject["violations"][0]["pointer"]) == (2, "/email")
    assert [record["offset"] for record in lane_records(graph.lake.errors("bronze.people"))] == [3, 4, 10]

    lake = Path(graph.lake.root)
    assert list(exposing(lake)) == []
    assert not [file for file in lake.rglob("*") if file.is_file() and private.KEY.encode() in file.read_bytes()]
    for command in (
        ["errors", "list"],
        ["errors", "list", "--json"],
        *(["errors", "show", "--table", table, *more] for table in graph.tables for more in ([], ["--json"])),
        ["status"],
        ["status", "--json"],
        ["audit"],
        ["plan"],
    ):
        shown = run(*command)
        assert shown.exception is None or isinstance(shown.exception, SystemExit), command
        assert not exposed(shown.output), command


def test_the_search_finds_what_is_kept(tmp_path: Path, settings: Settings, spark: SparkSession) -> None:
    """So that the test above can fail: the same with nothing protected."""
    kept = "pii: {id: keep, email: keep, name: keep, phone: keep, born: keep, street: keep}\n"
    graph = fed(private.write(tmp_path / "kept", kept), settings, spark)

    found = {"/".join(path.split("/")[:2]) for path in exposing(Path(graph.lake.root))}
    assert found == {
        "silver/people",
        "silver/people_history",
        "_tombstones/silver",  # a key that is kept is kept there too
        "gold/dim_person",
        "gold/tiers",
    }
    assert exposed("Y2FuYXJ5LWVtYWls")
    assert not exposed("harmless")


def test_a_step_that_fails_says_no_value(folder: Path, settings: Settings, spark: SparkSession) -> None:
    graph = built(folder, with_key(settings), spark)
    feeder = Feeder(spark, graph)
    feeder.feed("bronze.people", change("c", person(1), 1))
    step = graph.below["silver.people"]
    assert isinstance(step, ChangeStep)
    spec = step.spec.model_copy(update={"select": {**step.spec.select, "email": "CAST(after.email AS INT)"}})
    broken = ChangeStep(spec, step.table, step.upstream, step.lake, 1, step.rules, step.privacy)

    with pytest.raises(Exception, match="CAST_INVALID_INPUT") as raised:
        broken.run(spark, None)
    assert exposed(str(raised.value))
    assert "CAST_INVALID_INPUT" in explain(raised.value)
    assert not exposed(explain(raised.value))


def test_the_service_does_not_start_without_a_key(folder: Path, settings: Settings, spark: SparkSession) -> None:
    with pytest.raises(InvalidSettings, match=r"pii\.key: It is not set"):
        built(folder, settings, spark)
    assert not Path(settings.lake, "silver").exists()


def test_a_table_never_holds_hashes_of_two_keys(whole_folder: Path, settings: Settings, spark: SparkSession) -> None:
    folder, other = whole_folder, with_key(settings, private.KEY[::-1])
    graph = built(folder, with_key(settings), spark)
    Feeder(spark, graph).feed_and_drive("bronze.people", change("c", person(1), 1))
    with pytest.raises(ProtectionChanged, match=r"silver\.people can not go on: `email`, `id` was hashed with the key"):
        built(folder, other, spark)

    for name in ("silver.people", "silver.people_history"):
        shutil.rmtree(graph.tables[name].path)
    anew = built(folder, other, spark)
    Feeder(spark, anew).drive()
    for name in ("silver.people", "silver.people_history", "gold.dim_person"):
        assert rows_of(anew.tables[name].path, "id") == [(hashed(identity(1), private.KEY[::-1]),)]
    with pytest.raises(ProtectionChanged):
        built(folder, with_key(settings), spark)


def test_a_table_never_holds_rows_of_two_decisions(
    folder: Path, settings: Settings, spark: SparkSession, run: Run
) -> None:
    settings = with_key(settings)
    graph = built(folder, settings, spark)
    file = folder / "tables" / "silver.people.yml"
    file.write_text(file.read_text().replace("email: hash", "email: mask"))

    with pytest.raises(
        ProtectionChanged, match=r"`pii` has changed for rows that are there: `email` was `hash`\. Stop"
    ):
        built(folder, settings, spark)
    shown = run("plan")
    assert shown.exit_code == 1
    assert "`pii` of `email` was hash and becomes mask" in shown.output
    assert "older rows hold `email` as `pii` said before" in shown.output
    shutil.rmtree(graph.tables["silver.people"].path)
    built(folder, settings, spark)


def test_a_column_that_is_new_may_be_decided_on(folder: Path, settings: Settings, spark: SparkSession) -> None:
    settings = with_key(settings)
    built(folder, settings, spark)
    for name in ("silver.people", "silver.people_history"):
        file = folder / "tables" / f"{name}.yml"
        text = file.read_text().replace("  tier: after.tier\n", "  tier: after.tier\n  note: after.note\n")
        file.write_text(text.replace("pii: {", "pii: {note: hash, "))
    graph = built(folder, settings, spark)
    Feeder(spark, graph).feed_and_drive("bronze.people", change("c", person(1), 1))
    assert rows_of(graph.tables["silver.people"].path, "note") == [(hashed("canary-note-1"),)]


def test_a_field_that_is_tagged_later_is_not_taken_along_any_more(
    folder: Path, settings: Settings, spark: SparkSession
) -> None:
    """What was learned untagged may lie in silver: the running service refuses the tag, and so does the next start."""
    settings = with_key(settings)
    graph = built(folder, settings, spark)
    feeder = Feeder(spark, graph)
    feeder.feed_and_drive("bronze.people", change("c", person(1, age=36), 1))
    query = QuerySupervisor(
        graph.bronze["bronze.people"],
        spark,
        settings,
        Metrics.create("test"),
        lambda *_: None,
        once=False,
        max_restarts=0,
    )
    watch = ContractWatch(graph.pipeline, graph.lake, lambda: {"bronze.people": query}, Metrics.create("test"))
    contract = json.loads(json.dumps(private.CONTRACT))
    contract["properties"]["age"] = {"type": ["integer", "null"], "x-pii": True}
    contract["properties"]["nick"] = {"type": ["string", "null"], "x-pii": True}
    file = folder / "contracts" / "people.schema.json"
    file.write_text(json.dumps(contract))
    watch.look()
    assert query._contract is None
    with pytest.raises(IncompatibleTable, match=r"column `age` of silver\.people is tagged as personal now"):
        built(folder, settings, spark)

    # One that no table holds yet is taken up, and its values stay in bronze.
    del contract["properties"]["age"]
    file.write_text(json.dumps(contract))
    watch.look()
    query._take_contract()
    feeder.feed_and_drive("bronze.people", change("c", person(2, nick="canary-nick"), 2))
    assert "nick" in graph.tables["bronze.people"].schema()["after"].dataType.names  # type: ignore[attr-defined]
    assert "nick" not in graph.tables["silver.people"].schema().names
    assert list(exposing(Path(graph.lake.root))) == []


def test_a_tag_without_a_decision_is_not_taken_up(folder: Path) -> None:
    contract = json.loads(json.dumps(private.CONTRACT))
    contract["properties"]["tier"]["x-pii"] = True
    (folder / "contracts" / "people.schema.json").write_text(json.dumps(contract))
    with pytest.raises(InvalidPipeline, match=r"`tier` reads `after\.tier`, which the contract `people` tags"):
        load(folder)
