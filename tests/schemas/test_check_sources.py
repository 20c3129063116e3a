"""A sentence for each way in which a spec can be wrong about the bytes of its topic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from schemas.errors import InvalidPipeline
from schemas.loader import load
from schemas.spec import KafkaSource
from tests.schemas.folders import FILES, changed, write

Files = Mapping[str, str | bytes | None]

BRONZE = "tables/bronze.customers.yml"
RATES = "tables/bronze.rates.yml"
AVSC = "contracts/rates.avsc"
SCHEMA = json.dumps({"type": "record", "name": "Rate", "fields": [{"name": "currency", "type": "string"}]})


def pulled(jdbc: str) -> dict[str, str]:
    """Rates that are pulled, in place of a topic."""
    named = "source: w, table: r, watermark_column: at, watermark_state_key: r"
    return changed(RATES, "{topic: rates, format: json}", f"{{jdbc: {{{jdbc.format(named)}}}}}")


def rates(source: str) -> dict[str, str]:
    return changed(RATES, "format: json", source)


PLAIN = rates("format: avro, encoding: plain, writer_schema: rates.avsc")

CASES: dict[str, tuple[Files, str]] = {
    "a pull without a relation": (
        pulled("source: w, watermark_column: at, watermark_state_key: r"),
        f"{RATES}:2 source.jdbc: It is read from a `table` or by a `query`: from one of them. Write one of the two.",
    ),
    "several connections by nothing": (
        pulled("{}, partitions: 3"),
        f"{RATES}:2 source.jdbc.partitions: Several connections part the rows by a number. "
        "Name it as `partition_column`.",
    ),
    "a watermark that is another table's": (
        {
            **pulled("source: w, table: r, watermark_column: at, watermark_state_key: shop/r"),
            "tables/bronze.prices.yml": FILES[RATES]
            .replace("bronze.rates", "bronze.prices")
            .replace(
                "{topic: rates, format: json}",
                "{jdbc: {source: w, table: p, watermark_column: at, watermark_state_key: shop.r}}",
            ),
        },
        f"{RATES}:2 source.jdbc.watermark_state_key: The watermark of bronze.prices is kept under this key: one table "
        "would leave out rows of the other. Name another.",
    ),
    "a relation that is none": (
        pulled("source: w, table: 'a b', watermark_column: at, watermark_state_key: r"),
        f"{RATES}:2 source.jdbc.table: `a b` is not the name of a table, as `items` or `public.items`. Change it.",
    ),
    "a pull without a watermark": (
        pulled("source: w, table: r, watermark_state_key: r"),
        f"{RATES}:2 source.jdbc.watermark_column: A bronze table needs `watermark_column`. Add it.",
    ),
    "an unknown format": (
        rates("format: debezium_avro"),
        f"{RATES}:2 source.format: `debezium_avro` is not a choice. Did you mean `debezium-avro`?",
    ),
    "an unknown encoding": (
        rates("format: avro, encoding: apicurio"),
        f"{RATES}:2 source.encoding: `apicurio` is not a choice. Known: `confluent`, `plain`.",
    ),
    "an encoding of JSON": (
        rates("format: json, encoding: confluent"),
        f"{RATES}:2 source.encoding: Only Avro has `encoding`, and the format is `json`. "
        "Remove it, or write `format: avro`.",
    ),
    "a schema file of Debezium's JSON": (
        changed(BRONZE, "format: debezium-json", "format: debezium-json\n          writer_schema: a.avsc"),
        f"{BRONZE}:5 source.writer_schema: Only Avro has `writer_schema`, and the format is `debezium-json`. "
        "Remove it, or write `format: debezium-avro`.",
    ),
    "plain Avro without its schema": (
        rates("format: avro, encoding: plain"),
        f"{RATES}:2 source.encoding: Plain Avro does not tell the schema that it was written with. "
        "Name it with `writer_schema`, a file in `contracts/`.",
    ),
    "a schema file of Confluent's format": (
        {**rates("format: avro, writer_schema: rates.avsc"), AVSC: SCHEMA},
        f"{RATES}:2 source.writer_schema: Each record in Confluent's format names its schema, so that no file is asked "
        "for it. Remove it, or write `encoding: plain`.",
    ),
    "a schema file that is in a folder": (
        rates("format: avro, encoding: plain, writer_schema: ../rates.avsc"),
        f"{RATES}:2 source.writer_schema: `../rates.avsc` is not the name of a file that ends in `.avsc`, without a "
        "folder. Change it.",
    ),
    "a schema file that is missing": (
        PLAIN,
        f"{RATES}:2 source.writer_schema: There is no file `contracts/rates.avsc`. Add `contracts/rates.avsc`.",
    ),
    "a schema file that is misspelt": (
        {**PLAIN, "contracts/rate.avsc": SCHEMA},
        f"{RATES}:2 source.writer_schema: There is no file `contracts/rates.avsc`. Did you mean `rate.avsc`?",
    ),
    "a schema file that is not JSON": (
        {**PLAIN, AVSC: '{"type":\n'},
        f"{AVSC}:2: The file is not JSON: Expecting value. Correct it.",
    ),
    "a schema file that is not UTF-8": (
        {**PLAIN, AVSC: b'"\xff"'},
        f"{AVSC}: The file is not UTF-8. Save it as UTF-8.",
    ),
    "a schema file that is no Avro": (
        {**PLAIN, AVSC: '{"type": "object", "properties": {}}'},
        f"{AVSC}: The file is JSON, but no Avro schema: a type is unknown, or lacks `fields`, `items`, `values` or a "
        "name. Correct it; https://avro.apache.org/docs/1.12.0/specification/ says how.",
    ),
    "a schema file of no record": (
        {**PLAIN, AVSC: '"string"'},
        f"{AVSC}: The schema is not of a record, and a row of a table is one. Describe the record.",
    ),
    "an envelope of Avro without Debezium": (
        changed(
            RATES,
            "source: {topic: rates, format: json}",
            "source: {topic: rates, format: avro}\n        contract_describes: envelope",
        ),
        f"{RATES}:3 contract_describes: Only a Debezium record has an envelope, and the format is `avro`. "
        "Remove it, or write `format: debezium-avro`.",
    ),
}


@pytest.mark.parametrize(("files", "sentence"), CASES.values(), ids=CASES)
def test_a_source_that_is_wrong_has_its_sentence(tmp_path: Path, files: Files, sentence: str) -> None:
    with pytest.raises(InvalidPipeline) as raised:
        load(write(tmp_path, files))
    assert [str(one).replace(f"{tmp_path}/", "") for one in raised.value.problems] == [sentence]


def test_a_pipeline_carries_the_schemas_that_its_specs_name_and_no_others(tmp_path: Path) -> None:
    pipeline = load(write(tmp_path, {**PLAIN, AVSC: SCHEMA, "contracts/unused.avsc": "not even JSON"}))
    assert pipeline.writer_schemas == {"rates.avsc": SCHEMA}
    customers, plain = pipeline.bronze
    assert pipeline.writer_schema_of(plain) == SCHEMA
    assert pipeline.writer_schema_of(customers) is None


def test_confluents_format_asks_for_no_file(tmp_path: Path) -> None:
    (_, spec) = load(write(tmp_path, rates("format: avro"))).bronze
    assert spec.source.encoding == "confluent"
    assert spec.source.asks_registry


def test_a_debezium_feed_in_avro_has_the_columns_that_the_json_one_has(tmp_path: Path) -> None:
    as_json = load(write(tmp_path / "json", {}))
    as_avro = load(write(tmp_path / "avro", changed(BRONZE, "format: debezium-json", "format: debezium-avro")))
    assert list(as_avro.tables) == list(as_json.tables)


@pytest.mark.parametrize(
    ("format_", "is_avro", "is_debezium", "asks"),
    [
        ("json", False, False, False),
        ("debezium-json", False, True, False),
        ("avro", True, False, True),
        ("debezium-avro", True, True, True),
    ],
)
def test_a_format_says_what_its_records_are(format_: str, is_avro: bool, is_debezium: bool, asks: bool) -> None:
    source = KafkaSource.model_validate({"topic": "t", "format": format_})
    assert (source.is_avro, source.is_debezium, source.asks_registry) == (is_avro, is_debezium, asks)
    plain = {"topic": "t", "format": format_, "encoding": "plain", "writer_schema": "t.avsc"}
    assert not KafkaSource.model_validate(plain).asks_registry
