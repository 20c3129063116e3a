"""A sentence for each way in which a folder can be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import schemas
from schemas.errors import InvalidPipeline
from schemas.loader import load
from tests.schemas.folders import changed, write

Files = Mapping[str, str | bytes | None]

BRONZE = "tables/bronze.customers.yml"
RATES = "tables/bronze.rates.yml"
SILVER = "tables/silver.customers.yml"
HISTORY = "tables/silver.customers_history.yml"
DIM = "tables/gold.dim_customer.yml"
CITIES = "tables/gold.cities.yml"
CONTRACT = "contracts/rates.schema.json"


def sentences(folder: Path) -> list[str]:
    """What is said about a folder, paths being relative to it."""
    with pytest.raises(InvalidPipeline) as raised:
        load(folder)
    return [str(problem).replace(f"{folder}/", "").replace(f"{folder}", ".") for problem in raised.value.problems]


def contract(text: str) -> Files:
    return {CONTRACT: text}


FILES_AND_YAML: dict[str, tuple[Files, str]] = {
    "not YAML": (
        changed(SILVER, "stored_as_scd_type: 1", "stored_as_scd_type: 1: 2"),
        f"{SILVER}:6: The file is not YAML: mapping values are not allowed in this context. Correct it.",
    ),
    "not a mapping": ({SILVER: "- a\n"}, f"{SILVER}:1: The file is not a mapping. Write `key: value` lines."),
    "empty": ({SILVER: ""}, f"{SILVER}: The file is not a mapping. Write `key: value` lines."),
    "not UTF-8": ({SILVER: b"table: \xff"}, f"{SILVER}: The file is not UTF-8. Save it as UTF-8."),
    "a duplicate key": (
        changed(SILVER, "  city: after.address.city", "  email: after.email"),
        f"{SILVER}:10 select.email: The key `email` stands here for the second time; "
        "it was first set in line 9. Remove it.",
    ),
    "a tag": (
        changed(SILVER, "table: silver.customers", "table: !name silver.customers"),
        f"{SILVER}:1 table: The tag `!name` means nothing here. Remove it.",
    ),
    "an alias inside its own anchor": (
        changed(SILVER, "keys: [customer_id]", "keys: &k [*k]"),
        f"{SILVER}:3 keys: An alias stands inside its own anchor. Remove it.",
    ),
    "a spec that ends in .yaml": (
        {"tables/silver.other.yaml": "table: silver.other"},
        "tables/silver.other.yaml: The file is not read: specs end in `.yml`. Name it `silver.other.yml`.",
    ),
    "a contract that ends in .json": (
        {"contracts/other.json": "{}"},
        "contracts/other.json: The file is not read: contracts end in `.schema.json`. Name it `other.schema.json`.",
    ),
    "dq.yml not YAML": (
        {"dq.yml": "a: [1\n"},
        "dq.yml:2: The file is not YAML: did not find expected ',' or ']'. Correct it.",
    ),
}

KEYS_AND_VALUES: dict[str, tuple[Files, str]] = {
    "an unknown key": (
        changed(SILVER, "apply_as_deletes:", "apply_as_delete:"),
        f"{SILVER}:5 apply_as_delete: A current table has no key `apply_as_delete`. Did you mean `apply_as_deletes`?",
    ),
    "an unknown key of the source": (
        changed(BRONZE, "  topic:", "  topik:"),
        f"{BRONZE}:3 source.topik: A bronze table has no key `source.topik`. Did you mean `topic`?",
    ),
    "a key of another kind": (
        changed(SILVER, "keys: [customer_id]", "keys: [customer_id]\n        grain: [customer_id]"),
        f"{SILVER}:4 grain: A current table has no key `grain`. It belongs to a derived table. Remove it.",
    ),
    "a key that is Sluice's own": (
        changed(SILVER, "keys: [customer_id]", "keys: [customer_id]\n        file: x"),
        f"{SILVER}:4 file: A current table has no key `file`. Known: `apply_as_truncates`, `column_list`, "
        "`description`, `except_column_list`, `ignore_null_updates`, `lane_retention_days`, `partition_by`, "
        "`pii`, `reconcile`, `schema_change`.",
    ),
    "a lane that keeps nothing": (
        changed(SILVER, "keys: [customer_id]", "keys: [customer_id]\n        lane_retention_days: 0"),
        f"{SILVER}:4 lane_retention_days: `0` is not above 0. Change it.",
    ),
    "a missing key": (
        changed(SILVER, "keys: [customer_id]\n", "\n"),
        f"{SILVER}:1 keys: A current table needs `keys`. Add it.",
    ),
    "a missing key of the source": (
        changed(BRONZE, "  topic: shop.public.customers\n", "\n"),
        f"{BRONZE}:2 source.topic: A bronze table needs `topic`. Add it.",
    ),
    "text for a list": (
        changed(SILVER, "keys: [customer_id]", "keys: customer_id"),
        f"{SILVER}:3 keys: `customer_id` is not a list. Write `[customer_id]`.",
    ),
    "text for a mapping": (
        changed(RATES, "source: {topic: rates, format: json}", "source: rates"),
        f"{RATES}:2 source: `rates` is not a mapping. Write a mapping.",
    ),
    "a number for text": (
        changed(SILVER, "from: bronze.customers", "from: 5"),
        f"{SILVER}:2 from: `5` is not text. Write text.",
    ),
    "nothing for a value": (
        changed(BRONZE, "contract: customers", "contract:"),
        f"{BRONZE}:5 contract: Nothing is not text. Write text.",
    ),
    "a wrong choice": (
        changed(BRONZE, "format: debezium-json", "format: debezium_json"),
        f"{BRONZE}:4 source.format: `debezium_json` is not a choice. Did you mean `debezium-json`?",
    ),
    "an empty list": (
        changed(SILVER, "keys: [customer_id]", "keys: []"),
        f"{SILVER}:3 keys: It is empty. Name at least one.",
    ),
    "an empty expression": (
        changed(SILVER, "lower(after.email)", "''"),
        f"{SILVER}:9 select.email: It is empty. Write it, or remove the key.",
    ),
    "a column in capitals": (
        changed(SILVER, "email: lower", "Email: lower"),
        f"{SILVER}:9 select.Email: `Email` is not a lower-case name: a letter, then letters, digits and `_`. "
        "Change it.",
    ),
    "a table without a layer": (
        changed(SILVER, "table: silver.customers", "table: customers"),
        f"{SILVER}:1 table: `customers` is not `bronze.`, `silver.` or `gold.`, and then a lower-case name: "
        "a letter, then letters, digits and `_`. Change it.",
    ),
    "affected_by that is a number": (
        changed(CITIES, "silver.customers: customer_id", "silver.customers: 5"),
        f"{CITIES}:8 affected_by.silver.customers: It is not a column, a list of columns, or a mapping from "
        "the "
        "upstream's columns to this table's. Write one of these.",
    ),
    "affected_by that names no column": (
        changed(CITIES, "silver.customers: customer_id", "silver.customers: []"),
        f"{CITIES}:8 affected_by.silver.customers: No column is named by which a change of "
        "`silver.customers` "
        "finds the rows of this table. Name at least one.",
    ),
    "a file named for another table": (
        {
            SILVER: None,
            "tables/silver.people.yml": changed(SILVER, "after.address.city", "after.email")[SILVER],
        },
        "tables/silver.people.yml:1 table: The file is named for `silver.people`, but describes "
        "`silver.customers`. "
        "Name it `silver.customers.yml`, or change `table:`.",
    ),
    "no kind": (
        changed(SILVER, "stored_as_scd_type: 1\n", "\n"),
        f"{SILVER}:1: What kind of table this is can not be told: none of `source`, `query`, `stored_as`, "
        "`stored_as_scd_type` is there. Write the one that fits.",
    ),
    "a misspelt kind": (
        changed(CITIES, "query: |", "qurey: |"),
        f"{CITIES}:3 qurey: What kind of table this is can not be told: none of `source`, `query`, "
        "`stored_as`, "
        "`stored_as_scd_type` is there. Did you mean `query`?",
    ),
    "two kinds": (
        changed(SILVER, "stored_as_scd_type: 1", "stored_as_scd_type: 1\n        stored_as: history"),
        f"{SILVER}:6 stored_as_scd_type: `stored_as`, `stored_as_scd_type` make two kinds of table of one. "
        "Keep the one that says what the table is.",
    ),
    "an unknown scd type": (
        changed(SILVER, "stored_as_scd_type: 1", "stored_as_scd_type: 3"),
        f"{SILVER}:6 stored_as_scd_type: `3` is not a type of slowly changing dimension. "
        "Write `1` for the newest row per key, or `2` for all versions.",
    ),
    "history misspelt": (
        changed(HISTORY, "stored_as: history", "stored_as: histroy"),
        f"{HISTORY}:5 stored_as: `histroy` is not a choice. Write `history`.",
    ),
}

CONTRACTS: dict[str, tuple[Files, str]] = {
    "not JSON": (
        contract('{"type": "object",\n"properties": }'),
        f"{CONTRACT}:2: The file is not JSON: Expecting value. Correct it.",
    ),
    "NaN": (
        contract('{"const": NaN}'),
        f"{CONTRACT}: The file is not JSON: NaN is no JSON number. Correct it.",
    ),
    "a duplicate key": (
        contract('{"properties": {\n"a": {},\n"a": {}}}'),
        f"{CONTRACT}:3 /properties/a: The key `a` stands here for the second time; "
        "it was first set in line 2. Remove one.",
    ),
    "no object": (contract("[]"), f"{CONTRACT}:1: A contract is a JSON object. Describe the payload in one."),
    "an unknown draft": (
        contract('{"$schema": "http://json-schema.org/draft-03/schema#"}'),
        f"{CONTRACT}:1 /$schema: `http://json-schema.org/draft-03/schema#` is not a draft that is supported. "
        "Write `https://json-schema.org/draft/2020-12/schema` or `http://json-schema.org/draft-07/schema#`.",
    ),
    "an unknown JSON type": (
        contract('{"properties": {\n"a": {"type": "strng"}}}'),
        f"{CONTRACT}:2 /properties/a/type: `strng` is not a type of JSON. Did you mean `string`?",
    ),
    "not JSON Schema": (
        contract('{"properties": {\n"a": {"minimum": "5"}}}'),
        f"{CONTRACT}:2 /properties/a/minimum: The contract is not valid JSON Schema: "
        '"5" is not of type "number". Correct it.',
    ),
    "not JSON Schema of draft-07": (
        contract('{"$schema": "http://json-schema.org/draft-07/schema#",\n"required": "a"}'),
        f'{CONTRACT}:2 /required: The contract is not valid JSON Schema: "a" is not of type "array". Correct it.',
    ),
    "a pattern that is none": (
        contract('{"properties": {\n"a": {"pattern": "("}}}'),
        f"{CONTRACT}:2 /properties/a/pattern: `(` is not a regular expression. "
        "Correct it; ECMA 262 says how they are written.",
    ),
    "a remote $ref": (
        contract('{"properties": {\n"a": {"$ref": "other.schema.json"}}}'),
        f"{CONTRACT}:2 /properties/a/$ref: `other.schema.json` leads to no file of this folder, and "
        "nothing is fetched. Did you mean `customers.schema.json`?",
    ),
    "a $ref to nothing": (
        contract('{"properties": {\n"a": {"$ref": "#/$defs/b"}}}'),
        f"{CONTRACT}:2 /properties/a/$ref: `#/$defs/b` leads to nothing in this file. "
        "Correct it, or add what it names.",
    ),
    "a $ref in a circle": (
        contract('{"properties": {\n"a": {"$ref": "#"}}}'),
        f"{CONTRACT}:2 /properties/a/properties/a/$ref: `#` leads back to itself, and a column's type can "
        "not. "
        "Correct it, or describe the value in place.",
    ),
    "no properties": (
        contract('{"type": "object"}'),
        f"{CONTRACT}:1: It describes no object with `properties`, so that a table made of it has no columns. "
        "Name the fields of the payload under `properties`.",
    ),
    "an x-type that is none": (
        contract('{"properties": {\n"rate": {"x-type": "decimal(50,2)"}}}'),
        f"{CONTRACT}:2 /properties/rate/x-type: `decimal(50,2)` is not a Spark type: a decimal has 1 to 38 "
        "digits, "
        "and no more of them after the point. Write one such as `decimal(18,2)`, `timestamp` or "
        "`array<string>`.",
    ),
    "a name that Delta refuses": (
        contract('{"properties": {"currency": {}, "rate": {},\n"a b": {}}}'),
        f"{CONTRACT}:2 /properties/a b: `a b` can not be a column: its name is empty or holds one of ` "
        f",;{{}}()=`. "
        "Leave it out of `properties`; it is then kept in `_rescued_data`.",
    ),
    "names that differ in case alone": (
        contract('{"properties": {"currency": {}, "rate": {},\n"Rate": {}}}'),
        f"{CONTRACT}:2 /properties/Rate: `rate` and `Rate` are one column to Spark, which does not tell "
        "case. "
        "Leave one out of `properties`; it is then kept in `_rescued_data`.",
    ),
    "a metadata column's name": (
        contract('{"properties": {"currency": {}, "rate": {},\n"_offset": {}}}'),
        f"{CONTRACT}:2 /properties/_offset: `_offset` is the name of a column that Sluice adds to "
        "`bronze.rates`. "
        "Leave it out of `properties`; it is then kept in `_rescued_data`.",
    ),
}

NAMES: dict[str, tuple[Files, str]] = {
    "an unknown contract": (
        changed(BRONZE, "contract: customers", "contract: custmers"),
        f"{BRONZE}:5 contract: There is no contract `custmers`. Did you mean `customers`?",
    ),
    "an unknown upstream": (
        changed(SILVER, "from: bronze.customers", "from: bronze.custmers"),
        f"{SILVER}:2 from: There is no table `bronze.custmers`. Did you mean `bronze.customers`?",
    ),
    "an unknown upstream of a query": (
        changed(CITIES, "gold.dim_customer: customer_id", "gold.dim_custmer: customer_id"),
        f"{CITIES}:9 affected_by.gold.dim_custmer: There is no table `gold.dim_custmer`. "
        "Did you mean `gold.dim_customer`?",
    ),
    "a current table not below bronze": (
        changed(SILVER, "from: bronze.customers", "from: silver.customers_history"),
        f"{SILVER}:2 from: A current table is made from a bronze table, and `silver.customers_history` is a "
        "history "
        "table. Known: `bronze.customers`, `bronze.rates`.",
    ),
    "versions not below a history": (
        changed(DIM, "from: silver.customers_history", "from: silver.customers"),
        f"{DIM}:2 from: A scd2 table is made from a history table (`stored_as: history`), and "
        "`silver.customers` is "
        "a current table. Did you mean `silver.customers_history`?",
    ),
    "a query over bronze": (
        {
            "tables/silver.x.yml": """
            table: silver.x
            grain: [currency]
            query: SELECT currency FROM bronze.rates
            affected_by: {bronze.rates: currency}
            """
        },
        "tables/silver.x.yml:4 affected_by.bronze.rates: A derived table is made from silver and gold "
        "tables, and "
        "`bronze.rates` is a bronze table. Known: `silver.customers`, `silver.customers_history`, "
        "`silver.rates`.",
    ),
    "a layer that points upwards": (
        {
            "tables/silver.x.yml": """
            table: silver.x
            grain: [customer_id]
            query: SELECT customer_id FROM gold.cities
            affected_by:
              gold.cities: customer_id
            """
        },
        "tables/silver.x.yml:5 affected_by.gold.cities: `silver.x` is in the layer silver, and "
        "`gold.cities` above "
        "it in gold. Let silver tables read up to silver, or move this one.",
    ),
    "a topic read outside bronze": (
        {
            RATES: None,
            "tables/silver.rates.yml": None,
            "tables/silver.raw.yml": """
        table: silver.raw
        source: {topic: rates, format: json}
        contract: rates
        """,
        },
        "tables/silver.raw.yml:1 table: A table that reads a topic is in the layer bronze, not silver. "
        "Name it `bronze.raw`.",
    ),
    "a table in bronze that reads no topic": (
        {
            "tables/bronze.copy.yml": """
        table: bronze.copy
        from: bronze.rates
        keys: [currency]
        sequence_by: [_source_position]
        stored_as_scd_type: 1
        select: {currency: currency}
        """
        },
        "tables/bronze.copy.yml:1 table: A table in the layer bronze reads a topic, and this one is made "
        "from other "
        "tables. Name it `silver.copy`.",
    ),
    "a circle": (
        {
            f"tables/gold.{one}.yml": f"""
            table: gold.{one}
            grain: [id]
            query: SELECT id FROM gold.{two}
            affected_by:
              gold.{two}: id
            """
            for one, two in (("b", "a"), ("c", "b"), ("a", "c"))
        },
        "tables/gold.a.yml:5 affected_by.gold.c: The tables go round in a circle: gold.a -> gold.b -> "
        "gold.c -> "
        "gold.a. Take one of them out of the `affected_by` of the next.",
    ),
    "a table that reads itself": (
        {
            "tables/gold.a.yml": """
            table: gold.a
            grain: [id]
            query: SELECT id FROM gold.a
            affected_by: {gold.a: id}
            """
        },
        "tables/gold.a.yml:4 affected_by.gold.a: The tables go round in a circle: gold.a -> gold.a. "
        "Take one of them out of the `affected_by` of the next.",
    ),
}

COLUMNS: dict[str, tuple[Files, str]] = {
    "a bronze key that the contract does not have": (
        changed(BRONZE, "keys: [customer_id]", "keys: [custmer_id]"),
        f"{BRONZE}:6 keys: There is no column `custmer_id` in the row of the contract `customers`. "
        "Did you mean `customer_id`?",
    ),
    "an envelope of plain JSON": (
        changed(RATES, "contract: rates", "contract: rates\n        contract_describes: envelope"),
        f"{RATES}:4 contract_describes: Only a Debezium record has an envelope, and the format is `json`. "
        "Remove it, or write `format: debezium-json`.",
    ),
    "an envelope without after": (
        changed(BRONZE, "contract: customers", "contract: customers\n        contract_describes: envelope"),
        f"{BRONZE}:6 contract_describes: The contract `customers` is of an envelope, but names no fields of "
        "`after`. "
        "Describe it there, or write `row`.",
    ),
    "a field that is not in the row": (
        changed(SILVER, "lower(after.email)", "lower(after.emial)"),
        f"{SILVER}:9 select.email: `after` has no field `emial` in `bronze.customers`. Did you mean `email`?",
    ),
    "a field below the row": (
        changed(SILVER, "after.address.city", "after.address.town.x"),
        f"{SILVER}:10 select.city: `after.address` has no field `town` in `bronze.customers`. Known: `city`.",
    ),
    "a field of an array's items": (
        changed(SILVER, "after.address.city", "after.items.skuu"),
        f"{SILVER}:10 select.city: `after.items` has no field `skuu` in `bronze.customers`. Did you mean `sku`?",
    ),
    "a field of a plain value": (
        changed(SILVER, "after.address.city", "after.email.domain"),
        f"{SILVER}:10 select.city: `after.email` has no fields, so there is no `after.email.domain`. "
        "Write `after.email`.",
    ),
    "a field without its row": (
        changed(SILVER, "lower(after.email)", "lower(email)"),
        f"{SILVER}:9 select.email: There is no column `email` in `bronze.customers`. Did you mean `after.email`?",
    ),
    "a column that bronze does not have": (
        changed(SILVER, "op = 'd'", "opp = 'd'"),
        f"{SILVER}:5 apply_as_deletes: There is no column `opp` in `bronze.customers`. Did you mean `op`?",
    ),
    "an expression that does not parse": (
        changed(SILVER, "lower(after.email)", "lower(after.email"),
        f"{SILVER}:9 select.email: This is not SQL that Spark reads: it breaks at `email`. Correct it.",
    ),
    "an expression that ends too early": (
        changed(SILVER, "op = 'd'", "op ="),
        f"{SILVER}:5 apply_as_deletes: This is not SQL that Spark reads: it breaks at `=`. Correct it.",
    ),
    "an open quote": (
        changed(SILVER, "op = 'd'", "op = 'd"),
        f"{SILVER}:5 apply_as_deletes: This is not SQL that Spark reads: a quote or a comment is not closed. "
        "Correct it.",
    ),
    "an alias where none belongs": (
        changed(SILVER, "lower(after.email)", "after.email AS mail"),
        f"{SILVER}:9 select.email: This is not SQL that Spark reads: it names its result itself (`mail`), "
        "or an "
        "operator is missing. Correct it.",
    ),
    "a star": (
        changed(SILVER, "lower(after.email)", "after.*"),
        f"{SILVER}:9 select.email: This is not SQL that Spark reads: it stands for several columns, where "
        "one is "
        "asked for. Correct it.",
    ),
    "a statement for an expression": (
        changed(SILVER, "lower(after.email)", "SELECT 1"),
        f"{SILVER}:9 select.email: This is not SQL that Spark reads: it is a statement, where an expression "
        "is asked "
        "for. Correct it.",
    ),
    "two statements": (
        changed(SILVER, "lower(after.email)", "after.email; op"),
        f"{SILVER}:9 select.email: This is not SQL that Spark reads: it is more than one statement. Correct it.",
    ),
    "a key that is not selected": (
        changed(SILVER, "keys: [customer_id]", "keys: [customer]"),
        f"{SILVER}:3 keys: There is no column `customer` in `select`. Did you mean `customer_id`?",
    ),
    "a key named twice": (
        changed(SILVER, "keys: [customer_id]", "keys: [customer_id, customer_id]"),
        f"{SILVER}:3 keys: `customer_id` is named twice. Remove one.",
    ),
    "a sequence that is not selected": (
        changed(HISTORY, "sequence_by: [_source_position]", "sequence_by: [emial]"),
        f"{HISTORY}:4 sequence_by: There is no column `emial` in `select`. Did you mean `email`?",
    ),
    "a delete in an order that it has no place in": (
        changed(SILVER, "sequence_by: [_source_position]", "sequence_by: [email]"),
        f"{SILVER}:5 apply_as_deletes: A delete brings its key and no other value, so that it has no place in an order "
        "by `email`. Write `sequence_by: [_source_position]`.",
    ),
    "a truncate in an order that it has no place in": (
        changed(
            HISTORY, "sequence_by: [_source_position]", "sequence_by: [email]\n        apply_as_truncates: \"op = 't'\""
        ),
        f"{HISTORY}:5 apply_as_truncates: A truncate brings no row, so that it has no place in an order by `email`. "
        "Write `sequence_by: [_source_position]`.",
    ),
    "a partition that is not selected": (
        changed(SILVER, "keys: [customer_id]", "keys: [customer_id]\n        partition_by: [day]"),
        f"{SILVER}:4 partition_by: There is no column `day` in `select`. Known: `city`, `customer_id`, `email`.",
    ),
    "both lists of tracked columns": (
        changed(
            DIM,
            "valid_from: changed_at",
            "valid_from: changed_at\n        track_history_column_list: [email]\n"
            "        track_history_except_column_list: [email]",
        ),
        f"{DIM}:8 track_history_except_column_list: `track_history_column_list` and "
        "`track_history_except_column_list` exclude each other. Keep one of them.",
    ),
    "a tracked column that is not there": (
        changed(DIM, "valid_from: changed_at", "valid_from: changed_at\n        track_history_column_list: [mail]"),
        f"{DIM}:7 track_history_column_list: There is no column `mail` in `silver.customers_history`. "
        "Did you mean `email`?",
    ),
    "versions of a key that is not there": (
        changed(DIM, "keys: [customer_id]", "keys: [customer]"),
        f"{DIM}:3 keys: There is no column `customer` in `silver.customers_history`. Did you mean `customer_id`?",
    ),
    "versions of another key than the history's": (
        changed(DIM, "keys: [customer_id]", "keys: [email]"),
        f"{DIM}:3 keys: The versions are of `email`, and the changes in `silver.customers_history` of "
        "`customer_id`. Write `keys: [customer_id]`.",
    ),
    "versions that begin at no column": (
        changed(DIM, "valid_from: changed_at", "valid_from: change_at"),
        f"{DIM}:6 valid_from: There is no column `change_at` in `silver.customers_history`. Did you mean `changed_at`?",
    ),
    "versions that begin at a number": (
        changed(HISTORY, "timestamp_millis(source.ts_ms)", "source.ts_ms"),
        f"{DIM}:6 valid_from: `changed_at` has to be a TIMESTAMP, and is BIGINT in "
        "`silver.customers_history`. "
        "Convert it there, as with `try_to_timestamp(...)`.",
    ),
    "a history that has validity of its own": (
        changed(HISTORY, "email: after.email", "valid_to: after.email"),
        f"{DIM}:2 from: `silver.customers_history` has a column `valid_to`, which the versions have of "
        "their own. "
        "Rename it in the `select` of `silver.customers_history`.",
    ),
    "a surrogate key that is a column": (
        changed(DIM, "surrogate_key: customer_sk", "surrogate_key: email"),
        f"{DIM}:5 surrogate_key: `email` is already a column of this table. Give the surrogate key a name of its own.",
    ),
    "versions partitioned by no column": (
        changed(DIM, "keys: [customer_id]", "keys: [customer_id]\n        partition_by: [is_curent]"),
        f"{DIM}:4 partition_by: There is no column `is_curent` in `gold.dim_customer`. Did you mean `is_current`?",
    ),
}

QUERIES: dict[str, tuple[Files, str]] = {
    "does not parse": (
        changed(CITIES, "AND d.is_current", "AND d.is_current WHERE"),
        f"{CITIES}:6 query: This is not SQL that Spark reads: it breaks at `WHERE`. Correct it.",
    ),
    "is no SELECT": (
        changed(CITIES, "SELECT c.customer_id", "INSERT INTO x SELECT c.customer_id"),
        f"{CITIES}:4 query: This is not SQL that Spark reads: it is not a SELECT. Correct it.",
    ),
    "reads a table that is not in affected_by": (
        changed(CITIES, "gold.dim_customer: customer_id", "silver.rates: {currency: city}"),
        f"{CITIES}:6 query: The query reads `gold.dim_customer`, which is not in `affected_by`: its changes "
        "would be "
        "missed. List it there, with the columns by which its changes find the rows of this table.",
    ),
    "does not read a table that is in affected_by": (
        changed(
            CITIES,
            "gold.dim_customer: customer_id",
            "gold.dim_customer: customer_id\n          silver.rates: {currency: city}",
        ),
        f"{CITIES}:10 affected_by.silver.rates: The query does not read `silver.rates`. "
        "Remove it here, or read it there.",
    ),
    "reads a table that is not there": (
        changed(CITIES, "JOIN gold.dim_customer d", "JOIN gold.dim_custmer d"),
        f"{CITIES}:6 query: There is no table `gold.dim_custmer`. Did you mean `gold.dim_customer`?",
    ),
    "reads a table without its layer": (
        changed(CITIES, "FROM silver.customers c", "FROM customers c"),
        f"{CITIES}:5 query: There is no table `customers`. Did you mean `silver.customers`?",
    ),
    "names a column that is not there": (
        changed(CITIES, "c.city", "c.citty AS city"),
        f"{CITIES}:4 query: There is no column `c.citty`. Did you mean `city`?",
    ),
    "names a bare column that is not there": (
        changed(CITIES, "d.customer_sk", "customer_skk AS sk"),
        f"{CITIES}:4 query: No table of the query has a column `customer_skk`. Did you mean `customer_sk`?",
    ),
    "names an alias that is not there": (
        changed(CITIES, "AND d.is_current", "AND x.is_current"),
        f"{CITIES}:6 query: In `x.is_current`, `x` is neither a table nor a column of the query. Known: `c`, `d`.",
    ),
    "has a column without a name": (
        changed(CITIES, "c.city", "upper(c.city)"),
        f"{CITIES}:3 query: Column 2 of the result has no name. Give it one with `AS`.",
    ),
    "gives a column twice": (
        changed(CITIES, "c.city", "c.city, d.customer_id"),
        f"{CITIES}:3 query: The result has two columns `customer_id`. Rename one with `AS`.",
    ),
    "gives a metadata column": (
        changed(CITIES, "c.city", "c.city, c._run_date"),
        f"{CITIES}:3 query: `_run_date` is the name of a column that Sluice adds to this table. "
        "Leave it out, or rename it with `AS`.",
    ),
    "has a surrogate key that is a column": (
        changed(CITIES, "grain: [customer_id]", "grain: [customer_id]\n        surrogate_key: city"),
        f"{CITIES}:3 surrogate_key: `city` is already a column of the query's result. "
        "Give the surrogate key a name of its own.",
    ),
    "has a grain that it does not give": (
        changed(CITIES, "grain: [customer_id]", "grain: [customerid]"),
        f"{CITIES}:2 grain: There is no column `customerid` in the result of the query. Did you mean `customer_id`?",
    ),
    "is partitioned by what it does not give": (
        changed(CITIES, "grain: [customer_id]", "grain: [customer_id]\n        partition_by: [cty]"),
        f"{CITIES}:3 partition_by: There is no column `cty` in `gold.cities`. Did you mean `city`?",
    ),
    "is affected by a column that the upstream does not have": (
        changed(CITIES, "silver.customers: customer_id", "silver.customers: {customer: customer_id}"),
        f"{CITIES}:8 affected_by.silver.customers.customer: There is no column `customer` in "
        "`silver.customers`. "
        "Did you mean `customer_id`?",
    ),
    "is affected in a column that it does not give": (
        changed(CITIES, "silver.customers: customer_id", "silver.customers: {customer_id: customerid}"),
        f"{CITIES}:8 affected_by.silver.customers.customer_id: There is no column `customerid` in the "
        "result of the "
        "query. Did you mean `customer_id`?",
    ),
}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        pytest.param(files, sentence, id=f"{group}: {name}")
        for group, cases in {
            "file": FILES_AND_YAML,
            "spec": KEYS_AND_VALUES,
            "contract": CONTRACTS,
            "name": NAMES,
            "column": COLUMNS,
            "query": QUERIES,
        }.items()
        for name, (files, sentence) in cases.items()
    ],
)
def test_each_mistake_has_its_sentence(files: Files, sentence: str, tmp_path: Path) -> None:
    assert sentence in sentences(write(tmp_path, files))


def test_a_folder_that_is_right_is_loaded(tmp_path: Path) -> None:
    pipeline = load(write(tmp_path, {}))
    assert set(pipeline.contracts) == {"customers", "rates"}
    assert pipeline.order == (
        "bronze.customers",
        "bronze.rates",
        "silver.customers",
        "silver.customers_history",
        "silver.rates",
        "gold.dim_customer",
        "gold.cities",
    )
    assert pipeline.tables["gold.cities"].file == tmp_path / CITIES


def test_the_shop_is_right() -> None:
    assert load(Path(schemas.__file__).parent).bronze


def test_two_tables_may_read_one_topic(tmp_path: Path) -> None:
    second = {
        "tables/bronze.again.yml": """
        table: bronze.again
        source: {topic: rates, format: json}
        contract: rates
        """
    }
    assert "bronze.again" in load(write(tmp_path, second)).tables


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidPipeline) as raised:
        load(tmp_path / "nowhere")
    assert str(raised.value) == (
        f"1 problem found:\n  {tmp_path}/nowhere: There is no such folder. "
        "Set `pipeline` to the folder that holds `tables/`."
    )


def test_a_folder_without_tables(tmp_path: Path) -> None:
    assert sentences(tmp_path) == [
        ".: The folder has no table: there is no file `tables/<layer>.<table>.yml`. Add one; README.md shows how."
    ]


def test_all_problems_are_told_at_once_and_none_that_only_follows(tmp_path: Path) -> None:
    broken = {
        **changed(BRONZE, "contract: customers", "contract: custmers"),
        **changed(DIM, "valid_from: changed_at", "valid_from: x"),
        **contract('{"properties": {"a": {"type": "strng"}}}'),
    }
    assert [line.split(":")[0] for line in sentences(write(tmp_path, broken))] == [CONTRACT, BRONZE, DIM]


def test_a_spec_that_is_broken_does_not_break_the_ones_below(tmp_path: Path) -> None:
    broken = changed(SILVER, "keys: [customer_id]", "keys: []")
    assert len(sentences(write(tmp_path, broken))) == 1
