"""What is told by DuckDB is what Spark tells, value by value; what is not known to be is left to Spark."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import (
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from schemas.arrow_values import arrow_type
from streams.compute import InDriver
from streams.exact.expressions import told
from streams.exact.values import UNSURE

IMAGE = StructType([StructField("text", StringType()), StructField("Number", LongType())])
COLUMNS = StructType(
    [
        StructField("after", IMAGE),
        StructField("text", StringType()),
        StructField("other", StringType()),
        StructField("number", LongType()),
        StructField("small", IntegerType()),
        StructField("amount", DecimalType(18, 2)),
        StructField("at", TimestampType()),
        StructField("day", DateType()),
        StructField("map", MapType(StringType(), StringType())),
        StructField("it's", StringType()),
    ]
)
TEXTS = [
    None,
    "",
    " ",
    " a ",
    "\ta\n",
    "\u00a0a\u00a0",
    "ABC",
    "abc",
    "ß",
    "é",
    "İ",
    "\u017f",
    "1",
    "1.5",
    "-1.50",
    "+1",
    "1.",
    ".5",
    "-",
    "1e3",
    "1.005",
    "01.50",
    "0" * 30 + "1",
    "9" * 16 + ".99",
    "9" * 17,
    "NaN",
    "1,5",
    "1_0",
    " 1 ",
    "٣",
    "-0",
    "0x1",
    "2026-01-02",
    "2026-02-30",
    "2026-1-2",
    "0000-01-01",
    "0001-01-01",
    "9999-12-31",
    "10000-01-01",
    "2026-01-02 ",
    "2026-01",
    "2026-01-02T03:04:05",
    "2026-01-02T03:04:05Z",
    "2026-01-02 03:04:05.123456+05:30",
    "2026-01-02T03:04:05.1234567Z",
    "2026-01-02T24:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-02T23:59:60Z",
    "2026-01-02T03:04:05+18:00",
    "2026-01-02T03:04:05-17:59",
    "2026-01-02T03:04:05 UTC",
    "2026-01-02T03:04",
    "1500-03-01T00:00:00.1-00:30",
    "now",
    "epoch",
    "infinity",
]
NUMBERS = [
    None,
    0,
    1,
    -1,
    2,
    1_700_000_000,
    1_700_000_000_123,
    2**31,
    2**53 + 1,
    -(2**63),
    2**63 - 1,
    253402300800000000,
]
TIMES = [
    None,
    datetime(2026, 1, 2, 23, 59, 59, 999_999, UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, tzinfo=UTC),
]

ALWAYS = [
    "text",
    "after.TEXT",
    "after.number",
    "after",
    "trim(after.text)",
    "coalesce(trim(text), 'none')",
    "text = 'abc'",
    "text < other",
    "text <=> other",
    "text IN ('abc', 'ABC')",
    "NOT (text <> 'abc')",
    "text IS NULL AND number IS NOT NULL",
    "number = 1",
    "number > small OR amount >= 1.5",
    "amount < 10",
    "nullif(text, 'abc')",
    "nullif(number, 1)",
    "if(number = 1, text, other)",
    "CASE WHEN text = 'abc' THEN 1 WHEN number = 2 THEN 2 END",
    "CASE WHEN number > 1 THEN text ELSE other END",
    "-7",
    "TRUE",
    "1.25",
    "CAST(small AS BIGINT)",
    "CAST(number AS STRING)",
    "to_date(at)",
    "CAST(at AS DATE)",
    "at",
    "day",
    "`it's`",
    "coalesce(number, 1)",
    "coalesce(amount, 1.125)",
    "if(number = 1, amount, 0.125)",
    "CAST(NULL AS STRING)",
    "CAST(amount AS DECIMAL(18, 1))",
    "round(amount, 1)",
    "round(amount * 1.0625, 2)",
    "round(amount, 2)",
    "amount + 0.125",
    "amount - amount",
    "small + 1",
    "small * small",
    "small - 5",
    "small BETWEEN 1 AND 100",
    "day >= DATE '2026-01-10'",
    "at < coalesce(at, TIMESTAMP '9999-12-31 23:59:59.999999')",
    "at >= TIMESTAMP '2024-02-03' AND at < coalesce(at, TIMESTAMP '9999-01-01')",
    "day BETWEEN DATE '2026-01-10' AND to_date(at)",
    "year(day)",
    "quarter(day)",
    "month(day)",
    "day(day)",
    "dayofmonth(day)",
    "dayofyear(day)",
    "weekofyear(day)",
    "weekday(day) + 1",
    "date_format(day, 'yyyyMMdd')",
    "date_format(day, 'yyyy-MM')",
    "date_format(day, 'EEEE')",
    "date_format(day, 'MMMM')",
    "CAST(date_format(day, 'yyyyMMdd') AS INT)",
]
SOMETIMES = [
    "upper(trim(text))",
    "lower(after.text)",
    "try_cast(text AS DECIMAL(18, 2))",
    "try_cast(text AS DECIMAL(5, 0))",
    "try_cast(text AS DATE)",
    "try_to_timestamp(text)",
    "to_date(try_to_timestamp(text))",
    "try_cast(text AS TIMESTAMP)",
    "timestamp_micros(number)",
    "timestamp_millis(number)",
    "timestamp_seconds(number)",
    "timestamp_seconds(small)",
    "try_cast(text AS INT)",
    "CAST(text AS INT)",
    "number + 1",
    "number * number",
    "number - small",
    "year(at)",
    "weekofyear(at)",
    "date_format(at, 'yyyyMMdd')",
    "try_cast(amount AS DECIMAL(2, 1))",
    "CAST(amount AS DECIMAL(3, 2))",
]
NEVER = [
    "'it''s'",
    "rand()",
    "initcap(text)",
    "substring(text, 1, 2)",
    "text RLIKE 'a'",
    "text = 1",
    "number = 'a'",
    "coalesce(number, 'a')",
    "map",
    "map['a']",
    "after.missing",
    "concat(text, other)",
    "try_to_timestamp(text, 'yyyy')",
    "to_date(text, 'yyyy')",
    "trim('x' FROM text)",
    "text = '\\n'",
    "CASE text WHEN 'a' THEN 1 END",
    "if(text, 1, 2)",
    "1e3",
    "12345678901",
    "CAST(number AS INT)",
    "upper(number)",
    "(SELECT 1)",
    "text = 'a' AS x",
    "current_date",
    "text LIKE 'a%'",
    "number / 2",
    "number + amount",
    "date_format(day, 'w')",
    "year(text)",
    "day = '2026-01-01'",
    "day = at",
    "round(number, 0)",
    "round(amount, -1)",
    "coalesce(number, amount)",
    "at = TIMESTAMP 'now'",
]


def rows() -> list[dict[str, Any]]:
    count = max(len(TEXTS), len(NUMBERS), len(TIMES))
    made = []
    for index in range(count):
        text, number, at = TEXTS[index % len(TEXTS)], NUMBERS[index % len(NUMBERS)], TIMES[index % len(TIMES)]
        made.append(
            {
                "after": None if index % 7 == 6 else {"text": text, "Number": number},
                "text": text,
                "other": TEXTS[(index * 5 + 2) % len(TEXTS)],
                "number": number,
                "small": None if number is None else number % 1000,
                "amount": None if index % 5 == 4 else Decimal(index) / 4,
                "at": at,
                "day": None if at is None else date(2026, 1, 1 + index % 28),
                "map": None,
                "it's": text,
            }
        )
    return made


LEFT_TO_SPARK = object()
TABLE = pa.Table.from_pylist(rows(), schema=pa.schema(list(arrow_type(COLUMNS))))
WITHOUT_MAP = TABLE.drop_columns(["map"])


def values(found: pa.ChunkedArray) -> list[Any]:
    """As Python's values; times as their count, since Python's own end with the year 9999."""
    if pa.types.is_temporal(found.type):
        found = found.cast(pa.int32() if pa.types.is_date32(found.type) else pa.int64())
    return list(found.to_pylist())


def by_spark(spark: SparkSession, sql: str) -> list[Any]:
    """The value of each row, or the word for an error; try functions and ANSI casts alike."""
    frame = spark.createDataFrame(WITHOUT_MAP)
    try:
        return values(frame.selectExpr(f"{sql} AS found").toArrow()["found"])
    except PySparkException:
        return [_one_by_spark(spark, sql, index) for index in range(TABLE.num_rows)]


def _one_by_spark(spark: SparkSession, sql: str, index: int) -> Any:
    frame = spark.createDataFrame(WITHOUT_MAP.slice(index, 1))
    try:
        return values(frame.selectExpr(f"{sql} AS found").toArrow()["found"])[0]
    except PySparkException:
        return "refused"


def by_duckdb(sql: str, index: int) -> Any:
    rows = WITHOUT_MAP.slice(index, 1)
    try:
        return values(InDriver().sql(f"SELECT {sql} AS found FROM rows", {"rows": rows})["found"])[0]
    except duckdb.Error:
        return LEFT_TO_SPARK


@pytest.mark.parametrize("sql", [*ALWAYS, *SOMETIMES])
def test_what_is_told_is_what_spark_tells(sql: str, spark: SparkSession) -> None:
    one = told(sql, COLUMNS)
    assert one is not None
    assert one.type == spark.createDataFrame([], COLUMNS).selectExpr(f"{sql} AS found").schema["found"].dataType

    told_rows = 0
    for index, expected in enumerate(by_spark(spark, sql)):
        found = by_duckdb(one.sql, index)
        told_rows += found is not LEFT_TO_SPARK
        # What Spark refuses is left to it as well, to say so in its own words.
        assert found == expected or found is LEFT_TO_SPARK, TABLE.slice(index, 1).to_pylist()
    assert told_rows == TABLE.num_rows if sql in ALWAYS else told_rows > 1


@pytest.mark.parametrize("sql", NEVER)
def test_what_only_spark_tells_is_left_to_it(sql: str) -> None:
    assert told(sql, COLUMNS) is None


@pytest.mark.parametrize(
    ("sql", "value", "expected"),
    [
        ("try_cast(text AS DECIMAL(18, 2))", "-12.5", Decimal("-12.50")),
        ("try_to_timestamp(text)", "2026-01-02T03:04:05.5+01:00", datetime(2026, 1, 2, 2, 4, 5, 500_000, UTC)),
        ("try_cast(text AS DATE)", "2026-02-30", None),
        ("upper(trim(text))", " eur ", "EUR"),
    ],
)
def test_plain_values_are_told(sql: str, value: str, expected: Any) -> None:
    one = told(sql, COLUMNS)
    assert one is not None
    rows = pa.table({"text": [value]})
    assert InDriver().row(f"SELECT {one.sql} AS found FROM rows", {"rows": rows}) == {"found": expected}


def test_an_unsure_value_stops_the_query() -> None:
    one = told("lower(text)", COLUMNS)
    assert one is not None
    with pytest.raises(duckdb.Error, match=UNSURE):
        InDriver().row(f"SELECT {one.sql} AS found FROM rows", {"rows": pa.table({"text": ["É"]})})
