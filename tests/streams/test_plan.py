"""`sluice plan` on a lake that was really made: what a change would break, bring, or ask for; nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from checkpoints.lake import Lake
from schemas.loader import load
from schemas.settings import RegistrySettings, Settings
from schemas.unavailable import PLACEHOLDER
from sinks.errors import IncompatibleTable
from streams.cli import app
from streams.contract_watch import ContractWatch
from streams.graph import Graph
from streams.metrics import Metrics
from streams.plan.tables import same_sql
from streams.queries import QuerySupervisor
from tests.support import avro, avro_pipeline, people
from tests.support.bronze import Feeder, change
from tests.support.lanes import put, record
from tests.support.people import person
from tests.support.tables import rows_of

CANARY = "canary-77aa"
LONG = "x" * 21
CLICK = {"click_id": 1, "url": CANARY, "customer_id": None, "channel": "web", "experiment": None, "score": 1.0}


@pytest.fixture(scope="module")
def made(spark: SparkSession, service_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    """A lake with rows and rejects of the people pipeline, and the folder that is deployed."""
    root = tmp_path_factory.mktemp("plan")
    folder = people.write(root / "pipeline")
    graph = Graph.build(load(folder), Settings(lake=str(root / "lake"), jars_dir=service_jars))
    graph.prepare(spark)
    feeder = Feeder(spark, graph)
    feeder.feed(
        "bronze.people",
        change("c", person(1, "Ada", "Rome"), 1),
        change("c", person(2, "Bartholomew", "Oslo"), 2),
        change("c", person(3, LONG), 3),  # rejected: schema.maxLength
        b"{" + CANARY.encode(),  # rejected: json.syntax
        change("c", person(None, CANARY), 4),  # rejected: schema.type
    )
    feeder.feed(
        "bronze.people",
        change("u", {"id": 1, "name": None}, 5, before=person(1, "Ada")),
        change("d", None, 6, before=person(2, "Bartholomew")),
        change("t", None, 7),
        change("c", person(4, "Maximiliana", hobby=CANARY), 8),
        None,
    )
    feeder.feed("bronze.visits", {"visit": 1, "person": 1, "at": "2026-01-01 10:00:00"}, {"visit": 2, "at": "soon"})
    return graph.lake, folder


Plan = Callable[..., Result]


@pytest.fixture
def folder(made: tuple[Lake, Path], tmp_path: Path) -> Path:
    """A copy of what is deployed, to be changed."""
    return Path(shutil.copytree(made[1], tmp_path / "changed"))


@pytest.fixture
def plan(made: tuple[Lake, Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Runs `sluice plan` in this process, for the changed folder; the log of the test run is left as it is."""
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    return runner(made[0].root, folder)


def runner(lake: str, folder: Path) -> Plan:
    def run(*arguments: str, code: int | None = None) -> Result:
        given = [str(folder), *arguments, "--set", f"lake={lake}", "--set", f"pipeline={folder}"]
        found = CliRunner().invoke(app, ["plan", *given])
        assert code is None or found.exit_code == code, found.output
        assert CANARY not in found.output
        return found

    return run


def planned(plan: Plan, code: int, *arguments: str) -> dict[str, dict[str, Any]]:
    """The tables of a plan, by name."""
    found = plan("--json", *arguments, code=code)
    return {one["table"]: one for one in json.loads(found.stdout)["tables"]}


def edit_contract(folder: Path, name: str, **changes: Any) -> None:
    file = folder / "contracts" / f"{name}.schema.json"
    contract = json.loads(file.read_text())
    contract["properties"].update(changes.pop("properties", {}))
    for gone in changes.pop("without", ()):
        del contract["properties"][gone]
    file.write_text(json.dumps(contract | changes))


def edit_spec(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / "tables" / f"{name}.yml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def snapshot(root: str) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in Path(root).rglob("*") if file.is_file()}


def test_nothing_changes(plan: Plan, made: tuple[Lake, Path]) -> None:
    before = snapshot(made[0].root)
    assert plan(code=0).stdout == "Nothing changes.\n"
    assert snapshot(made[0].root) == before


def test_a_tightened_contract_names_what_would_newly_fail(plan: Plan, folder: Path, made: tuple[Lake, Path]) -> None:
    name = {"type": ["string", "null"], "maxLength": 10}
    edit_contract(folder, "people", **{"properties": {"name": name}, "x-version": "4"})
    before = snapshot(made[0].root)
    found = planned(plan, 1)
    assert list(found) == ["bronze.people"]
    people = found["bronze.people"]
    assert people["changes"] == ["its contract people was 3 and becomes 4"]
    assert people["action"] == "none"
    assert people["below"] == ["silver.people", "silver.people_history", "gold.dim_person", "gold.fact_visits"]
    records = people["records"]
    assert (records["rows"], records["rows_not_judged"]) == (6, 0)
    # A deletion's row is gone, and only its key is looked at.
    assert records["failing"] == [
        {
            "rule": "schema.maxLength",
            "surely": 2,
            "perhaps": 0,
            "examples": ["db.people[0]@8", "db.people[0]@1"],
        }
    ]
    assert (records["open"], records["passing"], records["passing_already"]) == (3, [], 0)
    assert records["still_failing"] == [
        {"was": rule, "rule": rule, "count": 1} for rule in ("json.syntax", "schema.maxLength", "schema.type")
    ]
    assert snapshot(made[0].root) == before


def test_a_loosened_contract_names_what_would_newly_pass(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", properties={"name": {"type": ["string", "null"], "maxLength": 50}})
    records = planned(plan, 0)["bronze.people"]["records"]
    assert records["failing"] == []
    assert records["passing"] == [{"rule": "schema.maxLength", "count": 1, "examples": ["db.people[0]@2"]}]
    text = plan().stdout
    assert "sluice errors redrive --table bronze.people" in text
    assert "its contract people changes and stays 3" in text


def test_a_record_that_fails_otherwise_is_told_by_both_rules(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", properties={"id": {"type": ["integer", "null"]}})
    records = planned(plan, 0)["bronze.people"]["records"]
    assert {"was": "schema.type", "rule": "key.null", "count": 1} in records["still_failing"]


def test_an_added_optional_field_is_additive_and_fails_nothing(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", properties={"age": {"type": ["integer", "null"]}})
    people = planned(plan, 0)["bronze.people"]
    assert people["changes"][1:] == ["1 column is added: `after.age` bigint"]
    assert (people["action"], people["records"]["failing"]) == ("none", [])


def test_a_field_that_was_only_rescued_is_judged_as_it_came(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", properties={"hobby": {"type": ["integer", "null"]}})
    [failing] = planned(plan, 1)["bronze.people"]["records"]["failing"]
    assert failing == {"rule": "schema.type", "surely": 1, "perhaps": 0, "examples": ["db.people[0]@8"]}


def test_a_null_that_may_have_been_no_field_fails_perhaps(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", required=["id", "home"])
    [failing] = planned(plan, 1)["bronze.people"]["records"]["failing"]
    assert failing == {"rule": "schema.required", "surely": 0, "perhaps": 1, "examples": ["db.people[0]@5"]}
    assert "1 perhaps (the table does not tell a null from no field" in plan().stdout


def test_a_null_of_what_was_required_is_sure(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "visits", properties={"person": {"type": "integer"}}, required=["visit", "at"])
    [failing] = planned(plan, 0)["bronze.visits"]["records"]["failing"] or [None]
    assert failing is None


def test_a_type_that_changes_breaks_the_table_and_names_what_is_made_from_it(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", properties={"id": {"type": "string"}})
    found = planned(plan, 1)
    users = "`silver.people.id`, `silver.people_history.id`"
    people = found["bronze.people"]
    assert people["breaks"] == [f"column `after.id` is bigint and would be string, which breaks {users}"]
    assert people["action"] == "rebuild"
    assert people["records"]["failing"][0]["rule"] == "schema.type"
    for below in ("silver.people", "silver.people_history", "gold.dim_person"):
        assert found[below]["breaks"] == ["column `id` is bigint and would be string"]


CHANGES: list[tuple[str, str, str, dict[str, Any]]] = [
    # table, what it says, what it is to say, what becomes of it
    ("silver.people", "upper(after.name)", "initcap(after.name)", {"action": "rebuild", "breaks": []}),
    ("silver.people", "upper(after.name)", "UPPER( after.name )", {}),
    ("silver.people", "keys: [id]", "keys: [id, city]", {"action": "rebuild", "breaks": []}),
    ("silver.people", "op = 'd'", "op IN ('d', 'x')", {"action": "rebuild", "breaks": []}),
    ("silver.people", "keys: [id]", "keys: [id]\ndescription: Everybody.", {"action": "none", "breaks": []}),
    (
        "silver.people",
        "city: after.home.city}",
        "city: after.home.city, op: op}",
        {"action": "backfill", "breaks": ["column `op` is new"]},
    ),
    (
        "silver.people",
        "name: upper(after.name), city",
        "city",
        {"action": "rebuild", "breaks": ["column `name` is no longer asked for"]},
    ),
    (
        "silver.people",
        "id: after.id",
        "id: CAST(after.id AS STRING)",
        {"action": "rebuild", "breaks": ["column `id` is bigint and would be string"]},
    ),
    (
        "silver.people",
        "keys: [id]",
        "keys: [id]\npartition_by: [city]",
        {"action": "rebuild", "breaks": ["it is partitioned by [] and would be by ['city']"]},
    ),
    (
        "silver.visits",
        "[_source_position]",
        "[visit, _source_position]",
        {"action": "rebuild", "breaks": ["column `_sequence` would have other fields"]},
    ),
    ("gold.fact_visits", "LEFT JOIN", "JOIN", {"action": "rebuild", "breaks": []}),
    (
        "gold.fact_visits",
        "v.at\n",
        "v.at, p.is_current\n",
        {"action": "rebuild", "breaks": ["column `is_current` is new"]},
    ),
    (
        "gold.fact_visits",
        "{silver.visits: visit, gold.dim_person: id}",
        "{silver.visits: [visit], gold.dim_person: {id: id}}",
        {"action": "none", "breaks": []},
    ),
    (
        "gold.dim_person",
        "valid_from: at",
        "valid_from: at\nfirst_version: valid_from",
        {"action": "rebuild", "breaks": []},
    ),
    (
        "bronze.people",
        "topic: db.people",
        "topic: db.persons",
        {"action": "rebuild", "breaks": ["its query has read db.people, and can not go on with db.persons"]},
    ),
    ("bronze.people", "source_system: town", "source_system: village", {"action": "none", "breaks": []}),
]


@pytest.mark.parametrize(("table", "old", "new", "expected"), CHANGES, ids=lambda value: str(value)[:30])
def test_a_changed_spec_asks_for_what_the_table_needs(
    table: str, old: str, new: str, expected: dict[str, Any], plan: Plan, folder: Path
) -> None:
    edit_spec(folder, table, old, new)
    found = planned(plan, 1 if expected.get("breaks") else 0)
    assert found.get(table, {}).items() >= expected.items()
    if not expected:
        assert table not in found


REFUSED = [(*one[:3], one[3]["breaks"]) for one in CHANGES if one[3].get("breaks") and not one[0].startswith("bronze.")]


@pytest.mark.parametrize(("table", "old", "new", "breaks"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_is_said_to_break_the_service_refuses(
    table: str,
    old: str,
    new: str,
    breaks: list[str],
    folder: Path,
    made: tuple[Lake, Path],
    settings: Settings,
    spark: SparkSession,
) -> None:
    shutil.copytree(made[0].root, settings.lake)
    edit_spec(folder, table, old, new)
    with pytest.raises(IncompatibleTable) as error:
        Graph.build(load(folder), settings).prepare(spark)
    assert error.value.table == table
    assert error.value.differences == tuple(breaks) or "_sequence" in breaks[0]


def test_what_is_not_said_to_break_the_service_takes(
    folder: Path, made: tuple[Lake, Path], settings: Settings, spark: SparkSession
) -> None:
    shutil.copytree(made[0].root, settings.lake)
    for table, old, new, expected in CHANGES:
        if not expected.get("breaks") and old in (folder / "tables" / f"{table}.yml").read_text():
            edit_spec(folder, table, old, new)
    Graph.build(load(folder), settings).prepare(spark)


def test_what_is_to_be_done_does_it(
    folder: Path, made: tuple[Lake, Path], settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    shutil.copytree(made[0].root, settings.lake)
    before = Graph.build(load(made[1]), settings)
    before.prepare(spark)
    Feeder(spark, before).drive()
    edit_spec(folder, "silver.people_history", "upper(after.name)", "lower(after.name)")
    plan = runner(before.lake.root, folder)
    assert "silver/people_history aside and start" in plan(code=0).stdout
    shutil.rmtree(before.tables["silver.people_history"].path)
    after = Graph.build(load(folder), settings)
    after.prepare(spark)
    Feeder(spark, after).drive()
    names = {row[0] for row in rows_of(after.tables["gold.dim_person"].path, "name")}
    assert names == {"ada", "bartholomew", "maximiliana", None}
    assert plan(code=0).stdout == "Nothing changes.\n"


def test_a_table_that_is_made_anew_is_followed_by_those_below_it(plan: Plan, folder: Path) -> None:
    edit_spec(folder, "silver.people_history", "upper(after.name)", "lower(after.name)")
    found = planned(plan, 0)
    assert list(found) == ["silver.people_history", "gold.dim_person"]
    assert found["gold.dim_person"]["state"] == "follows"
    assert "made anew from bronze.people" in found["silver.people_history"]["remedy"]


def test_tables_that_come_and_go(plan: Plan, folder: Path) -> None:
    file = folder / "tables" / "gold.visits_per_person.yml"
    moved = file.read_text().replace("gold.visits_per_person", "gold.visits_by_person")
    (folder / "tables" / "gold.visits_by_person.yml").write_text(moved)
    file.unlink()
    found = planned(plan, 0)
    assert {name: one["state"] for name, one in found.items()} == {
        "gold.visits_by_person": "new",
        "gold.visits_per_person": "removed",
    }


def test_rules_hold_for_new_rows(plan: Plan, folder: Path) -> None:
    rule = "{type: expect_column_values_to_not_be_null, column: city, severity: critical}"
    (folder / "dq.yml").write_text(f"silver.people: [{rule}]\n")
    people = planned(plan, 0)["silver.people"]
    assert people["changes"] == ["its rules in dq.yml change: they hold for new rows; older ones are not judged again"]
    assert people["action"] == "none"


def test_a_frozen_table_takes_no_new_field(plan: Plan, folder: Path) -> None:
    edit_spec(folder, "bronze.people", "keys: [id]", "keys: [id]\nschema_change: freeze")
    edit_contract(folder, "people", properties={"age": {"type": "integer"}})
    people = planned(plan, 1)["bronze.people"]
    assert people["breaks"] == ["column `after.age` is new, and `schema_change` is freeze"]
    # And of a field that no contract names its query would stop.
    assert [one["rule"] for one in people["records"]["failing"]] == ["schema_change.freeze"]


def test_fewer_rows_are_the_newest_ones(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", properties={"name": {"type": ["string", "null"], "maxLength": 10}})
    records = planned(plan, 1, "--rows", "4")["bronze.people"]["records"]
    assert (records["rows"], records["open"]) == (4, 3)
    assert records["failing"][0]["examples"] == ["db.people[0]@8"]
    records = planned(plan, 0, "--rows", "0")["bronze.people"]["records"]
    assert (records["rows"], records["open"]) == (0, 0)


def test_one_table_alone(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", properties={"age": {"type": "integer"}})
    edit_spec(folder, "silver.people", "upper(after.name)", "lower(after.name)")
    assert list(planned(plan, 0, "--table", "silver.people")) == ["silver.people"]
    assert plan("--table", "gold.fact_visits", code=0).stdout == "Nothing changes.\n"
    wrong = plan("--table", "silver.peple", code=2)
    assert "There is no table `silver.peple`. Did you mean `silver.people`?" in wrong.stderr


def test_an_invalid_folder_is_refused_with_the_loaders_sentences(plan: Plan, folder: Path) -> None:
    edit_contract(folder, "people", without=["home"])
    refused = plan(code=2)
    assert "`after` has no field `home` in `bronze.people`" in refused.stderr


def test_nothing_is_deployed_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    plan = runner(str(tmp_path / "lake"), people.write(tmp_path / "pipeline"))
    shown = plan(code=0).stdout
    assert shown.endswith("Nothing is deployed in this lake yet: everything is new.\n")
    assert "it reads the topic db.people from its beginning" in shown
    assert {one["state"] for one in planned(plan, 0).values()} == {"new"}
    assert not (tmp_path / "lake").exists()


def test_every_value_passes_again_under_the_contract_that_it_came_under(
    tmp_path: Path, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = people.write(tmp_path / "pipeline", without_gold=True)
    exact = {
        "big": {"type": "integer", "minimum": 2**62},
        "price": {"type": "string", "x-type": "decimal(38,10)", "pattern": "^[0-9.]+$"},
        "amount": {"type": "number", "x-type": "decimal(30,10)", "exclusiveMinimum": 1},
        "since": {"type": "string", "format": "date-time", "x-type": "timestamp"},
        "day": {"type": "string", "format": "date", "x-type": "date"},
        "raw": {"type": "string", "x-type": "binary", "minLength": 4},
        "ratio": {"type": "number", "x-type": "float", "multipleOf": 0.5},
        "tags": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
        "any": {"anyOf": [{"type": "integer"}, {"type": "array"}]},
    }
    edit_contract(folder, "visits", properties=exact, required=["visit", "at"])
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    values = {
        "big": 2**63 - 1,
        "price": "1234567890123456789012345678.0123456789",
        "since": "0001-01-01T00:00:00Z",
        "day": "9999-12-31",
        "raw": "AAEC",
        "ratio": 0.5,
        "tags": [{"k": "1", "z": {"deep": [1.10]}}, {}],
        "any": [1, "2"],
        "unknown": {"a": None},
    }
    records = [{"visit": n, "at": "x", name: value} for n, (name, value) in enumerate(values.items())]
    digits = b'{"visit": 20, "at": "y", "amount": 12345678901234567.0123456789, "unknown": 12345678901234567890.12}'
    Feeder(spark, graph).feed("bronze.visits", *records, digits, {"visit": 21, "at": "z", "person": None})
    edit_contract(folder, "visits", description="Only this is new.")
    records = planned(runner(graph.lake.root, folder), 0)["bronze.visits"]["records"]
    assert (records["rows"], records["rows_not_judged"], records["failing"]) == (11, 0, [])


def test_avro_is_judged_with_its_schemas_and_rows_without(
    tmp_path: Path, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = avro_pipeline.write(tmp_path / "pipeline", "bronze.plain_orders")
    edit_contract(folder, "order", properties={"order_id": {"type": "integer", "maximum": 9}})
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    orders = [avro.body(avro_pipeline.ORDER, {"order_id": number, "note": None}) for number in (1, 2, 10)]
    Feeder(spark, graph).feed("bronze.plain_orders", *orders, b"\x80")
    added = {"order_id": {"type": "integer", "minimum": 2}, "kind": {"type": "string", "default": "web"}}
    edit_contract(folder, "order", properties=added, required=["order_id", "kind"])
    records = planned(runner(graph.lake.root, folder), 1)["bronze.plain_orders"]["records"]
    assert records["failing"] == [
        {"rule": "schema.minimum", "surely": 1, "perhaps": 0, "examples": ["plain_orders[0]@0"]}
    ]
    assert records["passing"] == [{"rule": "schema.maximum", "count": 1, "examples": ["plain_orders[0]@2"]}]
    assert [one["was"] for one in records["still_failing"]] == ["avro.truncated"]


def test_records_whose_schemas_can_not_be_fetched_are_not_judged(
    tmp_path: Path, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = avro_pipeline.write(tmp_path / "pipeline", "bronze.clicks")
    nowhere = RegistrySettings(url="http://127.0.0.1:9", timeout_seconds=1)
    graph = Graph.build(load(folder), settings.model_copy(update={"registry": nowhere}))
    graph.prepare(spark)
    value = avro.confluent(7, avro_pipeline.CLICK_V3, CLICK)
    put(graph.lake, "a", [record(offset, "schema.type", value=value) for offset in range(600)], table="bronze.clicks")
    edit_contract(folder, "clicks", title="Clicks of today")
    plan = runner(graph.lake.root, folder)
    for more, why in ((["--set", "registry.url=http://127.0.0.1:9"], "http://127.0.0.1:9"), ([], "registry.url")):
        records = planned(plan, 0, *more)["bronze.clicks"]["records"]
        assert (records["open"], records["open_not_judged"]) == (0, 600)
        assert why in records["why_not_judged"]
    assert "600 open records. The schema registry at http://127.0.0.1:9" in plan(*more, code=0).stdout or more == []


def test_columns_that_are_taken_along_are_told(
    tmp_path: Path, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = people.write(tmp_path / "pipeline", without_gold=True)
    edit_spec(folder, "silver.people", "keys: [id]", "keys: [id]\nschema_change: evolve")
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    edit_contract(folder, "people", properties={"age": {"type": "integer"}})
    plan = runner(graph.lake.root, folder)
    found = planned(plan, 0)
    assert list(found) == ["bronze.people", "silver.people"]
    assert found["silver.people"]["changes"] == ["it takes along `age` from bronze.people; older rows have none"]
    edit_spec(folder, "silver.people", "city: after.home.city", "city: after.home.city, years: after.age")
    people_ = planned(plan, 0)["silver.people"]
    assert (people_["action"], people_["breaks"]) == ("backfill", [])
    Graph.build(load(folder), settings).prepare(spark)
    assert plan(code=0).stdout == "Nothing changes.\n"


def test_a_lake_of_before_plans_were_made_says_so(
    plan: Plan, folder: Path, made: tuple[Lake, Path], tmp_path: Path
) -> None:
    lake = Path(shutil.copytree(made[0].root, tmp_path / "lake"))
    shutil.rmtree(lake / "_ops" / "deployed")
    shown = runner(str(lake), folder)(code=0).stdout
    assert "start the service once as it is, and plan again." in shown


def test_a_contract_that_was_taken_up_is_deployed_and_the_specs_beside_it_are_not(
    tmp_path: Path, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = people.write(tmp_path / "pipeline", without_gold=True)
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    metrics = Metrics.create("test")
    queries = {
        name: QuerySupervisor(step, spark, settings, metrics, lambda *_: None, once=False, max_restarts=0)
        for name, step in graph.bronze.items()
    }
    watch = ContractWatch(graph.pipeline, graph.lake, lambda: queries, metrics)
    plan = runner(graph.lake.root, folder)

    edit_contract(folder, "people", properties={"id": {"type": "string"}})
    watch.look()  # refused
    assert "bronze.people" in planned(plan, 1)

    edit_contract(folder, "people", properties={"id": {"type": "integer"}, "age": {"type": "integer"}})
    edit_spec(folder, "silver.people", "city: after.home.city", "city: after.home.city, age: after.age")
    watch.look()
    # The older specs would not do with every newer contract: what is deployed is read all the same.
    assert list(planned(plan, 1)) == ["bronze.people", "silver.people"]
    assert planned(plan, 1)["bronze.people"]["changes"] == ["1 column is added: `after.age` bigint"]
    edit_contract(folder, "people", without=["home"])
    edit_spec(folder, "silver.people", "city: after.home.city", "city: after.name")
    watch.look()
    assert list(planned(plan, 1)) == ["bronze.people", "silver.people"]


def test_a_value_that_debezium_did_not_send_fails_under_no_contract(
    tmp_path: Path, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = people.write(tmp_path / "pipeline", without_gold=True)
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    sent, unsent = person(1, None, "Oslo"), {"id": 2, "name": PLACEHOLDER, "home": PLACEHOLDER}
    Feeder(spark, graph).feed("bronze.people", change("u", sent, 1), change("u", unsent, 2))
    tighter = {"name": {"type": "string", "minLength": 3, "maxLength": 5}, "home": {"type": "object"}}
    edit_contract(folder, "people", properties=tighter, required=["id", "name", "home"])
    records = planned(runner(graph.lake.root, folder), 1)["bronze.people"]["records"]
    assert (records["rows"], records["rows_not_judged"]) == (2, 0)
    assert [(one["surely"] + one["perhaps"], one["examples"]) for one in records["failing"]] == [
        (1, ["db.people[0]@0"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("after.email", "after.`email`", True), ("`a b`", "`a`", False), ("'a'", "a", False)],
)
def test_quotes_around_a_name_are_no_change(one: str, other: str, same: bool) -> None:
    """A column that moves from `select` into `column_list` stays what it is."""
    assert same_sql(one, other) is same
