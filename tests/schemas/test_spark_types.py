"""Type names read without Spark."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import DataType

from schemas.spark_types import SIMPLE_TYPES, NotASparkType, parse_type

TEXTS = [
    *SIMPLE_TYPES,
    "decimal",
    "decimal(18,2)",
    "DEC( 5 )",
    "numeric(38, 38)",
    "array<string>",
    "map<string, array<decimal(3,1)>>",
    "struct<a: int, b date, `c`: struct<d:binary>>",
]


@pytest.mark.parametrize("text", TEXTS)
def test_types_are_spark_s_own(text: str, spark: SparkSession) -> None:
    assert parse_type(text) == DataType.fromDDL(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("text", "`text` is not a Spark type"),
        ("", "`` is not a Spark type: a type is missing"),
        ("array<text>", "`array<text>` is not a Spark type: `text` is none"),
        ("array<int", "`array<int` is not a Spark type: `>` is missing"),
        ("int x", "`int x` is not a Spark type: the end should stand where `x` is"),
        ("int;", "`int;` is not a Spark type: `;` does not belong there"),
        ("decimal(x)", "`decimal(x)` is not a Spark type: `x` is not a number of digits"),
        (
            "decimal(39,2)",
            "`decimal(39,2)` is not a Spark type: a decimal has 1 to 38 digits, and no more of them after the point",
        ),
        (
            "decimal(2,3)",
            "`decimal(2,3)` is not a Spark type: a decimal has 1 to 38 digits, and no more of them after the point",
        ),
    ],
)
def test_what_is_no_type_has_its_sentence(text: str, sentence: str) -> None:
    with pytest.raises(NotASparkType) as raised:
        parse_type(text)
    assert str(raised.value) == sentence
