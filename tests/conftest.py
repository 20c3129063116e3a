"""Fixtures that every test shares: one Spark session, a lake of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as examples
from pyspark.sql import SparkSession

from deploy import jars
from schemas.settings import Settings, SparkSettings
from streams import session

examples.register_profile("sluice", deadline=None)  # how long an example takes is the machine's affair
examples.load_profile("sluice")
# A JVM that ends after a minute is better off without the compiler that is for hours. Java gives one that has the other
# alone little room for code: full, it throws away what it compiles next.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m")
os.environ.setdefault("TZ", "America/New_York")  # a zone with daylight saving: results must not depend on it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take longest come first: at the end, no process waits for another one's."""
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)


@pytest.fixture(scope="session")
def service_jars() -> Path:
    return jars.resolve("service")


@pytest.fixture(scope="session")
def spark(service_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    settings = Settings(
        jars_dir=service_jars,
        spark=SparkSettings(
            shuffle_partitions=2,
            driver_memory="2g",
            conf={
                "spark.local.dir": str(tmp_path_factory.mktemp("spark")),
                "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
            },
        ),
    )
    built = session.build(settings, "sluice-tests")
    yield built
    built.stop()


@pytest.fixture
def settings(service_jars: Path, tmp_path: Path) -> Settings:
    return Settings(lake=str(tmp_path / "lake"), jars_dir=service_jars, metrics_port=0)
