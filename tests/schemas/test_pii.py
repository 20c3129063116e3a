"""Hashes are Python's HMAC, masks keep the type, and no plan shows the key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pyspark.sql import DataFrame, SparkSession

from schemas.errors import InvalidSettings
from schemas.hash_key import NO_KEY, HashKey
from schemas.pii import NotHashable, protected
from schemas.settings import PiiSettings
from schemas.spec import CurrentSpec

SECRET = "a key of which nothing may be seen, 71 bytes long, so that it is hashed"
KEY = HashKey(PiiSettings(key=SecretStr(SECRET)))

VALUES = [
    # type, value, the bytes that are hashed
    ("string", "ada@example.org", b"ada@example.org"),
    ("string", "", b""),
    ("string", "Ærø ✓", "Ærø ✓".encode()),
    ("binary", b"\x00\xff", b"\x00\xff"),
    ("int", -7, b"-7"),
    ("bigint", 2**62, b"4611686018427387904"),
    ("boolean", True, b"true"),
    ("decimal(18,2)", Decimal("1.50"), b"1.50"),
    ("decimal(18,8)", Decimal("0.00000001"), b"0.00000001"),
    ("double", 1.5, b"1.5"),
    ("date", date(2026, 1, 2), b"2026-01-02"),
    ("timestamp", datetime(2026, 1, 2, 3, 4, 5, 678, UTC), b"1767323045000678"),
]


def spec(**pii: Any) -> CurrentSpec:
    return CurrentSpec(
        table="silver.people",
        from_="bronze.people",
        keys=("id",),
        sequence_by=("_source_position",),
        stored_as_scd_type=1,
        select={"id": "id", **dict.fromkeys(pii, "value")},
        pii=pii,
    )


def frame(spark: SparkSession, kind: str, *values: Any) -> DataFrame:
    return spark.createDataFrame([(index, value) for index, value in enumerate(values)], f"id int, value {kind}")


@pytest.mark.parametrize(("kind", "value", "message"), VALUES)
def test_a_hash_is_pythons(spark: SparkSession, kind: str, value: Any, message: bytes) -> None:
    rows = frame(spark, kind, value, None, value).transform(protected, spec(value="hash"), KEY).collect()
    expected = hmac.new(SECRET.encode(), message, hashlib.sha256).hexdigest()
    assert [row["value"] for row in rows] == [expected, None, expected]


def test_a_time_is_hashed_alike_in_every_zone(spark: SparkSession) -> None:
    times = frame(spark, "timestamp", datetime(2026, 1, 2, tzinfo=UTC))
    [[here]] = times.transform(protected, spec(value="hash"), KEY).select("value").collect()
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        [[there]] = times.transform(protected, spec(value="hash"), KEY).select("value").collect()
    finally:
        spark.conf.set("spark.sql.session.timeZone", str(zone))
    assert here == there


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("string", "ada", "***"),
        ("string", "", "***"),
        ("int", 7, None),
        ("timestamp", datetime(2026, 1, 2, tzinfo=UTC), None),
        ("struct<a: string>", ("ada",), None),
        ("array<string>", ["ada"], None),
        ("map<string, string>", {"a": "ada"}, None),
    ],
)
def test_a_mask_keeps_the_type_and_says_nothing(spark: SparkSession, kind: str, value: Any, shown: Any) -> None:
    before = frame(spark, kind, value, None)
    after = before.transform(protected, spec(value="mask"), NO_KEY)
    assert [row["value"] for row in after.collect()] == [shown, None]
    assert after.schema["value"].dataType == before.schema["value"].dataType


def test_what_is_dropped_is_gone_and_what_is_kept_is_there(spark: SparkSession) -> None:
    rows = frame(spark, "string", "ada")
    assert rows.transform(protected, spec(value="drop"), NO_KEY).columns == ["id"]
    assert rows.transform(protected, spec(value="keep"), NO_KEY).collect() == [(0, "ada")]


@pytest.mark.parametrize("kind", ["struct<a: string>", "array<string>", "map<string, string>", "variant"])
def test_what_has_no_one_text_is_not_hashed(spark: SparkSession, kind: str) -> None:
    rows = spark.sql(f"SELECT 1 AS id, CAST(NULL AS {kind}) AS value")
    with pytest.raises(
        NotHashable, match=r"silver\.people: `value` is .*, of which there is no hash. Take single fields"
    ):
        protected(rows, spec(value="hash"), KEY)


def test_nothing_is_hashed_without_a_key(spark: SparkSession) -> None:
    with pytest.raises(InvalidSettings, match=r"pii\.key: It is not set"):
        protected(frame(spark, "string", "ada"), spec(value="hash"), NO_KEY)


def test_no_plan_and_no_event_shows_the_key(spark: SparkSession, tmp_path: Path) -> None:
    """Neither explained, nor as Spark's UI and its event log have it, nor where a task has failed."""
    session = spark.newSession()
    hashed = frame(session, "string", "ada", "x").transform(protected, spec(value="hash"), KEY).persist()
    plans = [hashed._jdf.queryExecution().toString(), hashed._jdf.queryExecution().stringWithStats()]
    newest = hashed.groupBy("value").count()
    assert newest.count() == 2
    execution = newest._jdf.queryExecution()
    plans += [execution.toString(), execution.sparkPlan().toJSON(), execution.executedPlan().treeString()]
    info = session._jvm.org.apache.spark.sql.execution.SparkPlanInfo.fromSparkPlan(execution.executedPlan())
    plans.append(info.toString())
    with pytest.raises(Exception, match="SQLSTATE") as raised:
        hashed.selectExpr("CAST(value AS INT)").collect()
    plans += [str(raised.value), repr(raised.value)]
    hashed.unpersist()
    text = "\n".join(plans)
    assert "LocalTableScan" in text
    for part in (KEY.secret, *KEY.pads):
        for form in (part.hex(), part.hex().upper(), base64.b64encode(part).decode(), part.decode("latin-1")):
            assert form[:16] not in text
