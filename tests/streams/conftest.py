"""The people pipeline over a lake of its own, with a feeder for its bronze tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from schemas.loader import load
from schemas.settings import Settings
from streams.graph import Graph
from tests.support import people
from tests.support.bronze import Feeder


@pytest.fixture(scope="session")
def people_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return people.write(tmp_path_factory.mktemp("people") / "pipeline")


@pytest.fixture
def graph(people_folder: Path, settings: Settings, spark: SparkSession) -> Graph:
    built = Graph.build(load(people_folder), settings)
    built.prepare(spark)
    return built


@pytest.fixture(scope="session")
def silver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return people.write(tmp_path_factory.mktemp("silver") / "pipeline", without_gold=True)


@pytest.fixture
def silver_graph(silver_folder: Path, settings: Settings, spark: SparkSession) -> Graph:
    """The same without its gold tables, for what does not need them."""
    built = Graph.build(load(silver_folder), settings)
    built.prepare(spark)
    return built


@pytest.fixture
def silver_feeder(silver_graph: Graph, spark: SparkSession) -> Feeder:
    return Feeder(spark, silver_graph)


@pytest.fixture
def feeder(graph: Graph, spark: SparkSession) -> Feeder:
    return Feeder(spark, graph)
