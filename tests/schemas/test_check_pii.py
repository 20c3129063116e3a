"""Personal columns need a decision, and nothing else may have one: a sentence for each mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InvalidPipeline
from schemas.loader import load
from schemas.spec import CurrentSpec, HistorySpec
from tests.schemas.folders import CONTRACT, write

SILVER = "tables/silver.customers.yml"
HISTORY = "tables/silver.customers_history.yml"
DIM = "tables/gold.dim_customer.yml"
CITIES = "tables/gold.cities.yml"

TAGGED: dict[str, Any] = json.loads(json.dumps(CONTRACT))
TAGGED["properties"]["customer_id"]["x-pii"] = True
TAGGED["properties"]["email"]["x-pii"] = True
TAGGED["properties"]["address"]["properties"]["city"]["x-pii"] = True
TAGGED["properties"]["born"] = {"type": "string", "x-pii": True}
TAGGED["properties"]["score"] = {"type": "integer"}

HEAD = """\
table: silver.customers
from: bronze.customers
keys: [customer_id]
sequence_by: [_source_position]
stored_as_scd_type: 1
"""


def current(select: str, pii: str | None = None, more: str = "") -> str:
    """A current table with this `select` beside its key, which is kept where `pii` does not say otherwise."""
    decisions = "{customer_id: keep}" if pii is None else pii
    return f"{HEAD}{more}select: {{customer_id: after.customer_id, {select}}}\npii: {decisions}\n"


def history(select: str, pii: str) -> str:
    text = current(select, pii).replace("silver.customers", "silver.customers_history")
    return text.replace("stored_as_scd_type: 1", "stored_as: history")


def files(**others: str | None) -> Mapping[str, str | None]:
    nothing = dict.fromkeys((SILVER, HISTORY, DIM, CITIES))
    return {**nothing, "contracts/customers.schema.json": json.dumps(TAGGED), **others}


def sentences(folder: Path, given: Mapping[str, str | None]) -> list[str]:
    with pytest.raises(InvalidPipeline) as raised:
        load(write(folder, given))
    return [str(problem).replace(f"{folder}/", "") for problem in raised.value.problems]


WITHOUT_DECISION = {
    # select -> what it is said to read
    "email: after.email": "`after.email`",
    "email: lower(trim(AFTER.Email))": "`AFTER.Email`",
    "domain: \"substring_index(after.email, '@', -1)\"": "`after.email`",
    "has_email: after.email IS NOT NULL": "`after.email`",
    "old_email: before.email": "`before.email`",
    "city: after.address.city": "`after.address.city`",
    "address: after.address": "`after.address`",
    "image: to_json(after)": "`after`",
    "key: CAST(_key AS STRING)": "`_key`",
    "rest: _rescued_data": "`_rescued_data`",
    "mixed: \"concat(after.score, after.labels['x'], after.email)\"": "`after.email`",
}


@pytest.mark.parametrize("select", WITHOUT_DECISION)
def test_what_reads_a_tagged_field_needs_a_decision(select: str, tmp_path: Path) -> None:
    name = select.partition(":")[0]
    [sentence] = sentences(tmp_path, files(**{SILVER: current(select)}))
    assert sentence == (
        f"{SILVER}:6 select.{name}: `{name}` reads {WITHOUT_DECISION[select]}, which the contract `customers` tags as "
        f"personal (`x-pii`). Write `pii: {{{name}: hash}}`, or `mask`, `drop` or `keep`."
    )


@pytest.mark.parametrize("select", ["all: to_json(struct(after.*))", "one: '(SELECT after.email)'"])
def test_and_so_does_what_can_not_be_told(select: str, tmp_path: Path) -> None:
    name = select.partition(":")[0]
    [sentence] = sentences(tmp_path, files(**{SILVER: current(select)}))
    assert sentence == (
        f"{SILVER}:6 select.{name}: What `{name}` reads can not be told, and the contract `customers` tags fields as "
        f"personal. Write `pii: {{{name}: hash}}`, or `mask`, `drop` or `keep`."
    )


MISTAKES: dict[str, tuple[Mapping[str, str | None], str]] = {
    "a decision for no column": (
        files(**{SILVER: current("email: after.email", "{customer_id: keep, emial: hash}")}),
        f"{SILVER}:7 pii.emial: There is no column `emial` in `select`. Did you mean `email`?",
    ),
    "a decision for what is not personal": (
        files(**{SILVER: current("score: after.score", "{customer_id: keep, score: hash}")}),
        f"{SILVER}:7 pii.score: `score` reads no field that the contract `customers` tags as personal (`x-pii`). "
        "Remove it, or tag the field in the contract.",
    ),
    "for a neighbour": (
        files(**{SILVER: current("mail: after.email, mails: after.score", "{customer_id: keep, mails: hash}")}),
        f"{SILVER}:7 pii.mails: `mails` reads no field that the contract `customers` tags as personal (`x-pii`). "
        "Did you mean `mail`?",
    ),
    "none of the four": (
        files(**{SILVER: current("email: after.email", "{customer_id: keep, email: encrypt}")}),
        f"{SILVER}:7 pii.email: `encrypt` is not a choice. Known: `drop`, `hash`, `keep`, `mask`.",
    ),
    "a masked key": (
        files(**{SILVER: current("score: after.score", "{customer_id: mask}")}),
        f"{SILVER}:7 pii.customer_id: `customer_id` is a key, and masked the keys of different rows would be one. "
        "Write `customer_id: hash`, or `keep`.",
    ),
    "a dropped key": (
        files(**{SILVER: current("score: after.score", "{customer_id: drop}")}),
        f"{SILVER}:7 pii.customer_id: `customer_id` is a key, and dropped the keys of different rows would be one. "
        "Write `customer_id: hash`, or `keep`.",
    ),
    "a hashed order": (
        files(
            **{
                SILVER: current("born: after.born", "{customer_id: keep, born: hash}").replace(
                    "_source_position", "born, _source_position"
                )
            }
        ),
        f"{SILVER}:7 pii.born: `born` is in `sequence_by`, and the order of changes is kept with every row as it is. "
        "Write `born: keep`, or order by another column.",
    ),
    "a masked partition": (
        files(**{SILVER: current("born: after.born", "{customer_id: keep, born: mask}", "partition_by: [born]\n")}),
        f"{SILVER}:8 pii.born: `born` is in `partition_by`, and masked all rows would lie in one partition. "
        "Partition by another column.",
    ),
    "a partition that is not there": (
        files(**{SILVER: current("born: after.born", "{customer_id: keep, born: drop}", "partition_by: [born]\n")}),
        f"{SILVER}:6 partition_by: There is no column `born` in `select`. Known: `customer_id`.",
    ),
    "a hash of several values": (
        files(**{SILVER: current("address: after.address", "{customer_id: keep, address: hash}")}),
        f"{SILVER}:7 pii.address: `address` is STRUCT<CITY:STRING>, of which there is no hash. "
        "Take single fields out of it in `select`, or write `mask`.",
    ),
    "a time that is hashed": (
        files(
            **{
                HISTORY: history("at: try_to_timestamp(after.born)", "{customer_id: keep, at: hash}"),
                DIM: "table: gold.dim_customer\nfrom: silver.customers_history\nkeys: [customer_id]\n"
                "stored_as_scd_type: 2\nsurrogate_key: sk\nvalid_from: at\n",
            }
        ),
        f"{DIM}:6 valid_from: `at` is no time in `silver.customers_history`: `pii` says `hash` there. "
        "Name another column, or write `keep` there.",
    ),
    "a query over what was dropped": (
        files(
            **{
                SILVER: current("email: after.email", "{customer_id: keep, email: drop}"),
                CITIES: "table: gold.cities\ngrain: [customer_id]\n"
                "query: SELECT customer_id, email FROM silver.customers\n"
                "affected_by: {silver.customers: customer_id}\n",
            }
        ),
        f"{CITIES}:3 query: No table of the query has a column `email`. Known: `customer_id`.",
    ),
    "a decision in a table that is no feed of changes": (
        files(
            **{
                SILVER: current("score: after.score"),
                CITIES: "table: gold.cities\ngrain: [customer_id]\nquery: SELECT customer_id FROM silver.customers\n"
                "affected_by: {silver.customers: customer_id}\npii: {customer_id: hash}\n",
            }
        ),
        f"{CITIES}:5 pii: A derived table has no key `pii`. It belongs to a current table or a history table. "
        "Remove it.",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_has_its_sentence(case: str, tmp_path: Path) -> None:
    given, sentence = MISTAKES[case]
    assert sentence in sentences(tmp_path, given)


def test_what_is_decided_is_loaded(tmp_path: Path) -> None:
    decided = "{customer_id: hash, email: hash, city: mask, born: drop, has_email: keep}"
    select = "email: after.email, city: after.address.city, born: after.born, has_email: after.email IS NOT NULL"
    pipeline = load(write(tmp_path, files(**{SILVER: current(f"{select}, score: after.score", decided)})))

    spec = pipeline.tables["silver.customers"]
    assert isinstance(spec, CurrentSpec)
    assert spec.columns == ("customer_id", "email", "city", "has_email", "score")
    assert spec.protections == {"customer_id": "hash", "email": "hash", "city": "mask", "born": "drop"}


def test_the_shop_keeps_no_name_and_no_address() -> None:
    pipeline = load(Path(__file__).parents[2] / "schemas")
    for name in ("silver.customers", "silver.customers_history"):
        spec = pipeline.tables[name]
        assert isinstance(spec, CurrentSpec | HistorySpec)
        assert spec.protections == {"email": "hash", "full_name": "mask", "address": "drop"}
