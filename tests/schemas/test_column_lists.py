"""`column_list` and `except_column_list`: what they become, and a sentence for each way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.loader import load
from schemas.spec import ChangeSpec
from tests.schemas.folders import changed, write
from tests.schemas.test_loader import CONTRACT, sentences

RATES = "tables/silver.rates.yml"
CUSTOMERS = "tables/silver.customers.yml"
HEAD = """
table: silver.rates
from: bronze.rates
keys: [currency]
sequence_by: [_source_position]
stored_as_scd_type: 1
"""
OF_CUSTOMERS = HEAD.replace("rates", "customers").replace("currency", "customer_id")


def select_of(folder: Path, table: str) -> dict[str, str]:
    spec = load(folder).tables[table]
    assert isinstance(spec, ChangeSpec)
    return spec.select


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        ("", ["customer_id", "email", "address", "items", "labels"]),
        ("column_list: [email, customer_id]", ["email", "customer_id"]),
        ("except_column_list: [items, labels, address]", ["customer_id", "email"]),
    ],
)
def test_columns_are_fields_of_the_image(words: str, columns: list[str], tmp_path: Path) -> None:
    files = {CUSTOMERS: OF_CUSTOMERS + words, "tables/gold.cities.yml": None}

    selected = select_of(write(tmp_path, files), "silver.customers")

    assert list(selected.items()) == [(name, f"after.`{name}`") for name in columns]


def test_columns_of_a_plain_feed_are_those_of_its_row(tmp_path: Path) -> None:
    folder = write(tmp_path, {RATES: HEAD + "except_column_list: [rate]"})
    assert select_of(folder, "silver.rates") == {"currency": "`currency`"}


def test_a_field_in_capitals_takes_the_name_in_the_list(tmp_path: Path) -> None:
    files = {RATES: HEAD + "column_list: [currency, rate]", CONTRACT: '{"properties": {"currency": {}, "Rate": {}}}'}
    assert select_of(write(tmp_path, files), "silver.rates") == {"currency": "`currency`", "rate": "`Rate`"}


SENTENCES = {
    "two words": (
        "select: {currency: currency}\ncolumn_list: [currency]",
        "7 column_list: `select`, `column_list` exclude each other. Keep one of them.",
    ),
    "both lists": (
        "column_list: [currency]\nexcept_column_list: [rate]",
        "7 except_column_list: `column_list`, `except_column_list` exclude each other. Keep one of them.",
    ),
    "an empty list": ("column_list: []", "6 column_list: It is empty. Name at least one."),
    "an empty select": ("select: {}", "6 select: It is empty. Name at least one."),
    "a column that is not there": (
        "column_list: [currency, rat]",
        "6 column_list: There is no column `rat` in the row of `bronze.rates`. Did you mean `rate`?",
    ),
    "a column named twice": (
        "column_list: [currency, currency]",
        "6 column_list: `currency` is named twice. Remove one.",
    ),
    "an exception that is not there": (
        "except_column_list: [rats]",
        "6 except_column_list: There is no column `rats` in the row of `bronze.rates`. Did you mean `rate`?",
    ),
    "a key that is not listed": (
        "column_list: [rate]",
        "6 column_list: `currency` is left out, and `keys` names it. Add it.",
    ),
    "a key that is left out": (
        "except_column_list: [currency]",
        "6 except_column_list: `currency` can not be left out: `keys` names it. Remove it.",
    ),
    "a list that evolves": (
        "column_list: [currency]\nschema_change: evolve",
        "6 column_list: `column_list` says which columns there are, and `schema_change: evolve` adds all others. "
        "Keep one of the two words.",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_what_is_wrong_is_said_in_one_sentence(case: str, tmp_path: Path) -> None:
    words, sentence = SENTENCES[case]
    assert sentences(write(tmp_path, {RATES: HEAD.lstrip() + words})) == [f"{RATES}:{sentence}"]


def test_a_key_and_a_sequence_that_the_row_does_not_have(tmp_path: Path) -> None:
    head = HEAD.lstrip().replace("[currency]", "[curency]").replace("[_source_position]", "[ratee]")
    assert sentences(write(tmp_path, {RATES: head})) == [
        f"{RATES}:3 keys: There is no column `curency` in the row of `bronze.rates`. Did you mean `currency`?",
        f"{RATES}:4 sequence_by: There is no column `ratee` in the row of `bronze.rates`. Did you mean `rate`?",
    ]


def test_a_field_in_capitals_is_no_column_as_it_is(tmp_path: Path) -> None:
    files = {RATES: HEAD.lstrip(), CONTRACT: '{"properties": {"currency": {}, "Rate": {}}}'}
    assert sentences(write(tmp_path, files)) == [
        f"{RATES}:2 from: `Rate` of the row of `bronze.rates` is not a lower-case name, as a column's has to be. "
        "Leave it out by `except_column_list`, or name the columns in `select`, as `Rate`."
    ]


def test_what_is_wrong_above_is_said_once(tmp_path: Path) -> None:
    """The columns can not be told then, and nothing is said that only follows from it."""
    for number, files in enumerate(
        (
            {CONTRACT: '{"properties": {"currency": {"type": "strng"}}}', RATES: HEAD},
            {RATES: HEAD.replace("bronze.rates", "bronze.rats"), "dq.yml": "silver.rates: []\n"},
            {**changed("tables/bronze.customers.yml", "contract: customers", "contract: custmers")}
            | {CUSTOMERS: OF_CUSTOMERS, "tables/gold.cities.yml": None},
        )
    ):
        assert len(sentences(write(tmp_path / str(number), files))) == 1
