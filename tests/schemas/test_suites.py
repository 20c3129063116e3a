"""A sentence for each way in which `dq.yml` can be wrong, and what is read where it is right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from schemas.errors import InvalidPipeline
from schemas.loader import load
from schemas.quality.column_rules import NotNull
from schemas.quality.regex import for_re2, is_portable
from schemas.quality.rule import RowRule, Rule
from schemas.quality.suite import KINDS
from tests.schemas.folders import CONTRACT, changed, write

SILVER = "tables/silver.customers.yml"
NOT_NULL = "type: expect_column_values_to_not_be_null"
BETWEEN = "type: expect_column_values_to_be_between"
REGEX = "type: expect_column_values_to_match_regex"
WHERE = "dq.yml:2 silver.customers.0"

TAGGED = {**CONTRACT, "properties": {**CONTRACT["properties"], "email": {"type": "string", "x-pii": True}}}


def suite(*rules: str, table: str = "silver.customers") -> Mapping[str, str]:
    return {"dq.yml": f"{table}:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules)}


CASES: dict[str, tuple[Mapping[str, str | bytes | None], str]] = {
    "no rule": (
        {"dq.yml": "# rules\nsilver.customers: [x]\n"},
        f"dq.yml:2 silver.customers.0: A rule needs a `type`. Known: {', '.join(f'`{kind}`' for kind in KINDS)}.",
    ),
    "no list": (
        {"dq.yml": "silver.customers: x\n"},
        "dq.yml:1 silver.customers: It is not a list of rules. Write `- type: expect_...` lines.",
    ),
    "no such table": (
        {"dq.yml": "silver.custmers: []\n"},
        "dq.yml:1 silver.custmers: There is no table `silver.custmers`. Did you mean `silver.customers`?",
    ),
    "a bronze table": (
        {"dq.yml": "bronze.customers: []\n"},
        "dq.yml:1 bronze.customers: Suites are judged before gold takes a silver table, and `bronze.customers` is a "
        "bronze table. Write them for the silver table that its rows go to, or come from.",
    ),
    "no such rule": (
        suite("type: expect_column_values_to_be_inset"),
        f"{WHERE}: `expect_column_values_to_be_inset` is not a rule that is judged. "
        "Did you mean `expect_column_values_to_be_in_set`?",
    ),
    "no such column": (
        suite(f"{NOT_NULL}, column: emal, severity: critical"),
        f"{WHERE}.column: There is no column `emal` in `silver.customers`. Did you mean `email`?",
    ),
    "no such column in a list": (
        suite("type: expect_compound_columns_to_be_unique, column_list: [email, ctiy], severity: warn"),
        f"{WHERE}.column_list.1: There is no column `ctiy` in `silver.customers`. Did you mean `city`?",
    ),
    "no such column in a condition": (
        suite(f"{NOT_NULL}, column: email, row_condition: emal = 'x', severity: warn"),
        f"{WHERE}.row_condition: There is no column `emal` in `silver.customers`. Did you mean `email`?",
    ),
    "no severity": (
        suite(f"{NOT_NULL}, column: email"),
        f"{WHERE}.severity: The rule needs `severity`. Add it.",
    ),
    "no such severity": (
        suite(f"{NOT_NULL}, column: email, severity: error"),
        f"{WHERE}.severity: `error` is not a choice. Known: `critical`, `warn`.",
    ),
    "no bounds": (
        suite(f"{BETWEEN}, column: email, severity: critical"),
        f"{WHERE}: The rule has no bound. Give it a `min_value`, a `max_value` or both.",
    ),
    "bounds the wrong way round": (
        suite(f"{BETWEEN}, column: email, min_value: 3, max_value: 2, severity: critical"),
        f"{WHERE}.min_value: `min_value` is above `max_value`. Exchange them.",
    ),
    "bounds of two types": (
        suite(f"{BETWEEN}, column: email, min_value: a, max_value: 2, severity: critical"),
        f"{WHERE}.max_value: One bound is text and the other a number. Write both in the column's type.",
    ),
    "a bound of no type": (
        suite(f"{BETWEEN}, column: email, min_value: [1], severity: critical"),
        f"{WHERE}.min_value: A list is not a whole number. Write a whole number.",
    ),
    "values of two types": (
        suite("type: expect_column_values_to_be_in_set, column: email, value_set: [a, 1], severity: warn"),
        f"{WHERE}.value_set: It has both text and numbers. Write values of the column's type.",
    ),
    "a key of another rule": (
        suite(f"{NOT_NULL}, column: email, regexp: a, severity: critical"),
        f"{WHERE}.regexp: The rule `expect_column_values_to_not_be_null` has no key `regexp`. Known: `column`, "
        "`mostly`, `quarantine`, `row_condition`, `severity`, `type`.",
    ),
    "mostly above one": (
        suite(f"{NOT_NULL}, column: email, mostly: 95, severity: warn"),
        f"{WHERE}.mostly: `95` is above 1. Change it.",
    ),
    "a broken regular expression": (
        suite(f"{REGEX}, column: email, regex: '(', severity: critical"),
        f"{WHERE}.regex: `(` is not a regular expression. Correct it.",
    ),
    "a regular expression that looks ahead": (
        suite(f"{REGEX}, column: email, regex: 'a(?=b)', severity: critical"),
        f"{WHERE}.regex: `a(?=b)` looks around or back, or has `\\Z`: not every engine that judges it can. "
        "Write it without, or as two rules.",
    ),
    "a condition that is not SQL": (
        suite(f"{NOT_NULL}, column: email, row_condition: 'city = = 1', severity: warn"),
        f"{WHERE}.row_condition: This is not SQL that Spark reads: it breaks at `=`. Correct it.",
    ),
    "a condition that only one engine reads": (
        suite(f"{NOT_NULL}, column: email, row_condition: soundex(city) = 'x', severity: warn"),
        f"{WHERE}.row_condition: The condition can not be judged: it has `SOUNDEX(city)`. Use comparisons, AND, OR, "
        "NOT, IS NULL, IN, BETWEEN, LIKE, CASE, +, -, *, coalesce, lower, upper, trim, length, abs, and DATE or "
        "TIMESTAMP before text.",
    ),
    "a condition on the number of rows": (
        suite("type: expect_table_row_count_to_be_between, min_value: 1, row_condition: city = 'x', severity: warn"),
        f"{WHERE}.row_condition: The number of rows is read from the table's log, which knows no conditions. "
        "Remove it.",
    ),
    "a quarantine that only warns": (
        suite(f"{NOT_NULL}, column: email, quarantine: true, severity: warn"),
        f"{WHERE}.quarantine: A rule that only warns leaves rows where they are. Make it `critical`, or remove it.",
    ),
    "a quarantine of some rows": (
        suite(f"{NOT_NULL}, column: email, quarantine: true, mostly: 0.9, severity: critical"),
        f"{WHERE}.quarantine: With `mostly` some rows may break the rule, and which of them is not for one row to "
        "tell. Remove one of the two.",
    ),
    "a reference to nothing": (
        suite("type: expect_referential_integrity, column_list: [city], to_table: silver.citys, severity: warn"),
        f"{WHERE}.to_table: There is no table `silver.citys`. ",
    ),
    "a reference to gold": (
        suite("type: expect_referential_integrity, column_list: [city], to_table: gold.cities, severity: warn"),
        f"{WHERE}.to_table: `gold.cities` is a gold table. Name a silver table: gold waits for the verdict, and bronze "
        "has a row per record.",
    ),
    "a reference to other columns": (
        suite(
            "type: expect_referential_integrity, column_list: [city], to_table: silver.customers, "
            "to_column_list: [city, email], severity: warn"
        ),
        f"{WHERE}.to_column_list: It names 2 columns for 1. Name as many, in the same order.",
    ),
    "drift of no column": (
        suite("type: expect_batch_drift, measure: mean, max_change: 0.5, severity: warn"),
        f"{WHERE}: The rule needs `column` for the measure `mean`. Add it.",
    ),
    "drift of rows and a column": (
        suite("type: expect_batch_drift, measure: row_count, column: city, max_change: 0.5, severity: warn"),
        f"{WHERE}.column: The number of rows is of no column. Remove it.",
    ),
    "a value that is hashed": (
        changed(SILVER, "select:", "pii: {email: hash, city: drop}\n        select:")
        | suite(f"{REGEX}, column: email, regex: '@', severity: warn"),
        f"{WHERE}.column: `silver.customers` holds `email` protected (`hash`), and the rule is judged on what it "
        "holds. Let the rule quarantine, or remove it.",
    ),
    "a value that is not kept": (
        changed(SILVER, "select:", "pii: {email: hash, city: drop}\n        select:")
        | suite(f"{NOT_NULL}, column: city, severity: warn"),
        f"{WHERE}.column: `silver.customers` does not keep `city`, which is personal. Let the rule quarantine, or "
        "remove it.",
    ),
    "not YAML": (
        {"dq.yml": "a: [1\n"},
        "dq.yml:2: The file is not YAML: did not find expected ',' or ']'. Correct it.",
    ),
}


@pytest.mark.parametrize(("files", "sentence"), CASES.values(), ids=CASES)
def test_each_mistake_has_its_sentence(files: Mapping[str, str | bytes | None], sentence: str, tmp_path: Path) -> None:
    folder = write(tmp_path, files)
    with pytest.raises(InvalidPipeline) as raised:
        load(folder)
    told = [str(problem).replace(f"{folder}/", "") for problem in raised.value.problems]
    assert any(one == sentence or (sentence.endswith(" ") and one.startswith(sentence)) for one in told), told


def read(tmp_path: Path, *rules: str) -> tuple[Rule, ...]:
    return load(write(tmp_path, suite(*rules))).rules["silver.customers"]


def test_rows_are_quarantined_by_critical_rules_that_say_nothing_else(tmp_path: Path) -> None:
    given = (
        "severity: critical",
        "severity: critical, quarantine: false",
        "severity: critical, mostly: 0.9",
        "severity: warn",
    )
    rules = read(tmp_path, *(f"{NOT_NULL}, column: email, {more}" for more in given))
    assert [rule.quarantines for rule in rules] == [True, False, False, False]
    assert all(isinstance(rule, NotNull) for rule in rules)


def test_a_derived_table_quarantines_nothing(tmp_path: Path) -> None:
    derived = "table: silver.cities\ngrain: [city]\nquery: SELECT DISTINCT city FROM silver.customers\n"
    files = {"tables/silver.cities.yml": f"{derived}affected_by: {{silver.customers: city}}\n"}
    rule = f"{NOT_NULL}, column: city, severity: critical"
    folder = write(tmp_path, files | suite(rule, table="silver.cities"))
    [found] = load(folder).rules["silver.cities"]
    assert isinstance(found, RowRule)
    assert not found.quarantines


def test_a_rule_that_quarantines_may_read_what_the_table_does_not_keep(tmp_path: Path) -> None:
    protected = changed(SILVER, "select:", "pii: {email: drop}\n        select:")
    protected |= changed("tables/silver.customers_history.yml", "select:", "pii: {email: hash}\n        select:")
    tagged = {"contracts/customers.schema.json": json.dumps(TAGGED)}
    quarantining = suite(f"{REGEX}, column: email, regex: '@', severity: critical")
    assert load(write(tmp_path, protected | tagged | quarantining)).rules["silver.customers"][0].quarantines


def test_a_date_is_text_for_a_bound(tmp_path: Path) -> None:
    [rule] = read(tmp_path, f"{BETWEEN}, column: email, min_value: 2024-01-31, severity: warn")
    assert rule.kwargs == {"column": "email", "min_value": "2024-01-31"}


@pytest.mark.parametrize(
    ("pattern", "re2"),
    [
        ("^a$", r"^a(?:\n?\z)"),
        (r"\$[$]", r"\$[$]"),
        (r"[]$]$", r"[]$](?:\n?\z)"),
        (r"[^]$]", r"[^]$]"),
        (r"(a|b$)", r"(a|b(?:\n?\z))"),
    ],
)
def test_the_end_of_a_text_is_told_to_re2(pattern: str, re2: str) -> None:
    assert for_re2(pattern) == re2
    assert is_portable(pattern)


@pytest.mark.parametrize("pattern", [r"(?=a)", r"(?<!a)b", r"(a)\1", r"a\Z"])
def test_what_not_every_engine_reads_is_told(pattern: str) -> None:
    assert not is_portable(pattern)
