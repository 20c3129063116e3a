"""The archive of classes: `make test` has written it, and the session of the tests maps it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from streams import class_archive, session


def arguments_of(spark: SparkSession) -> list[str]:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    return list(jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments())


def test_a_session_maps_the_archive_that_is_among_its_jars(spark: SparkSession, service_jars: Path) -> None:
    archive = service_jars / session.CLASSES
    assert archive.is_file(), "`make classes` writes it"
    assert f"-XX:SharedArchiveFile={archive}" in arguments_of(spark)


def test_without_jars_it_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert class_archive.main([str(tmp_path)]) == 1
    assert "No jar of delta-spark" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_it_wants_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert class_archive.main([]) == 2
    assert "Usage" in capsys.readouterr().err
