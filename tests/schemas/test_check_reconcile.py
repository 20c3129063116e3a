"""A sentence for each way in which a spec can be wrong about where its table's rows come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import InvalidPipeline
from schemas.loader import load
from schemas.spec import CurrentSpec
from tests.schemas.folders import changed, write

SPEC = "tables/silver.customers.yml"
RIGHT = "source: db, table: shop.customers, select: {customer_id: customer_id, email: lower(email)}"


def files(words: str, spec: str = SPEC) -> dict[str, str]:
    word = "stored_as: history" if "history" in spec else "stored_as_scd_type: 1"
    return changed(spec, word, f"{word}\n        reconcile: {{{words}}}")


def test_a_table_says_where_its_rows_come_from(tmp_path: Path) -> None:
    words = RIGHT.replace("lower(email)", "1") + ", where: true"

    spec = load(write(tmp_path, files(words))).tables["silver.customers"]

    assert isinstance(spec, CurrentSpec)
    assert spec.reconcile is not None
    assert (spec.reconcile.source, spec.reconcile.table, spec.reconcile.where) == ("db", "shop.customers", "true")
    assert spec.reconcile.select == {"customer_id": "customer_id", "email": "1"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("source: db, select: {customer_id: id}", "reconcile.table: A current table needs `table`. Add it."),
        (
            RIGHT.replace("select:", "selekt:"),
            "reconcile.selekt: A current table has no key `reconcile.selekt`. Did you mean `select`?",
        ),
        (
            RIGHT.replace("shop.customers", "a.b.c"),
            "reconcile.table: `a.b.c` is not the name of a table, as `orders` or `public.orders`. Change it.",
        ),
        (
            RIGHT.replace("email:", "e_mail:"),
            "reconcile.select.e_mail: There is no column `e_mail` in `silver.customers`. Did you mean `email`?",
        ),
        (
            "source: db, table: t, select: {email: email}",
            "reconcile.select: Rows are found by their key, and `customer_id` is not here. Say how the source has it.",
        ),
        (
            RIGHT.replace("lower(email)", '"lower(email"'),
            "reconcile.select.email: This is not one SQL expression: its parentheses do not match. "
            "Correct it; it is SQL of the source's dialect.",
        ),
        (RIGHT.replace("lower(email)", '"a) FROM t; DROP TABLE (t"'), "there is a `;` in it"),
        (RIGHT.replace("lower(email)", '"a) || (b"'), None),
        (RIGHT.replace("lower(email)", '"\'a"'), "a quote or a comment is not closed"),
        (RIGHT.replace("lower(email)", '"-- nothing"'), "there is nothing in it but a comment"),
        (RIGHT + ", where: ')('", "reconcile.where: This is not one SQL expression: its parentheses do not match."),
    ],
)
def test_each_mistake_has_its_sentence(words: str, sentence: str | None, tmp_path: Path) -> None:
    if sentence is None:
        sentence = "its parentheses do not match"
    with pytest.raises(InvalidPipeline) as raised:
        load(write(tmp_path, files(words)))
    assert sentence in str(raised.value)


def test_only_a_table_of_the_newest_rows_is_compared(tmp_path: Path) -> None:
    with pytest.raises(InvalidPipeline) as raised:
        load(write(tmp_path, files(RIGHT, "tables/silver.customers_history.yml")))
    assert "A history table has no key `reconcile`. It belongs to a current table. Remove it." in str(raised.value)
