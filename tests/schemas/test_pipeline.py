"""The graph of a pipeline's tables, and the columns that they have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas import columns as c
from schemas.loader import load
from schemas.pipeline import Pipeline
from schemas.table_columns import bronze_type, column_names
from tests.schemas.folders import write


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return load(write(tmp_path, {}))


def test_up_and_down(pipeline: Pipeline) -> None:
    assert pipeline.upstreams("gold.cities") == ("silver.customers", "gold.dim_customer")
    assert pipeline.downstreams("bronze.customers") == ("silver.customers", "silver.customers_history")
    assert pipeline.below("silver.customers_history") == ("gold.dim_customer", "gold.cities")
    assert pipeline.above("gold.dim_customer") == ("bronze.customers", "silver.customers_history")
    assert pipeline.below("gold.cities") == ()
    assert [spec.table for spec in pipeline.bronze] == ["bronze.customers", "bronze.rates"]
    assert pipeline.contract_of(pipeline.bronze[0]).name == "customers"


def test_a_problem_that_spark_finds_points_to_its_line(pipeline: Pipeline) -> None:
    problem = pipeline.problem("silver.customers", ("select", "city"), "Spark says no.", "Correct it.")
    assert str(problem) == f"{pipeline.folder}/tables/silver.customers.yml:10 select.city: Spark says no. Correct it."


def test_the_columns_of_each_kind(pipeline: Pipeline) -> None:
    names = column_names(pipeline.tables, pipeline.contracts)
    assert names("bronze.customers") == (
        "before", "after", "source", "op", "ts_ms", "transaction", *c.BRONZE_METADATA, *c.INGEST_METADATA
    )  # fmt: skip
    assert names("bronze.rates") == ("currency", "rate", *c.BRONZE_METADATA, *c.INGEST_METADATA)
    added = ("_sequence", "_column_sequences", *c.INGEST_METADATA)
    assert names("silver.customers") == ("customer_id", "email", "city", *added)
    assert names("silver.customers_history") == (
        "customer_id", "email", "changed_at", "_sequence", "_deleted", "_unknown", *c.INGEST_METADATA
    )  # fmt: skip
    assert names("gold.dim_customer") == (
        "customer_sk", "customer_id", "email", "changed_at",
        "valid_from", "valid_to", "is_current", *c.INGEST_METADATA
    )  # fmt: skip
    assert names("gold.cities") == ("customer_id", "city", "customer_sk", *c.INGEST_METADATA)
    assert names("gold.nowhere") is None


def test_the_types_of_bronze(pipeline: Pipeline) -> None:
    rates = bronze_type(pipeline.bronze[1], pipeline.contracts["rates"])
    assert rates is not None
    assert {field.name: field.dataType.simpleString() for field in rates.fields[:3]} == {
        "currency": "string",
        "rate": "double",
        "_topic": "string",
    }


def test_loading_starts_no_jvm(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, pyspark; from schemas.loader import load; load(pathlib.Path(sys.argv[1]));"
        "assert pyspark.SparkContext._gateway is None"
    )
    subprocess.run([sys.executable, "-c", script, str(write(tmp_path, {}))], check=True, cwd=Path(__file__).parents[2])
