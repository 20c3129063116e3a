"""A lake on S3: the same tables, the same exactly once, the same ways back; the store is moto's server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from checkpoints.commits import CommitLog
from deploy import jars
from deploy.embedded.stack import EmbeddedStack
from tests.support.moto import Moto, moto
from tests.support.service import is_drained
from tests.support.town import Town

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


@pytest.fixture(scope="module")
def store() -> Iterator[Moto]:
    jars.resolve("s3")
    with moto() as started:
        yield started


def test_a_lake_on_s3_is_filled_goes_back_and_comes_again(
    stack: EmbeddedStack, store: Moto, service_jars: Path, tmp_path: Path
) -> None:
    town = Town(stack, tmp_path, service_jars, "objects", root=f"s3a://{store.bucket}/lake")
    town.live(60)
    town.service.start()
    town.service.wait_for(is_drained, "all is read")
    before = town.tables()
    time.sleep(1)
    at = datetime.now(UTC).isoformat()
    time.sleep(1)
    town.live(40)
    town.service.wait_for(is_drained, "all is read again")
    after = town.tables()
    assert after != before

    second = town.new_service("second.log").command("run", "--once")
    assert second.returncode == 1
    assert "is written by another process" in " ".join(second.stderr.split())

    town.sluice("rewind", "--to", at, "--yes")
    town.service.wait_for(lambda status: is_drained(status) and town.tables() == after, "it has come again")
    assert town.service.terminate() == 0
    town.check()
    for command in (("audit",), ("vacuum", "--hours", "0", "--yes"), ("checkpoints", "show"), ("errors", "list")):
        town.sluice(*command)
    town.check()


def test_spark_commits_where_no_other_commit_stands(
    stack: EmbeddedStack, store: Moto, service_jars: Path, tmp_path: Path
) -> None:
    """Every batch is Spark's, and its commits are conditional: an object of the commit's name keeps it out."""
    town = Town(stack, tmp_path, service_jars, "large", root=f"s3://{store.bucket}/large")
    town.set("small_batch_rows", "0")
    town.service.start()
    for _ in range(2):
        town.live(60)
        town.service.wait_for(is_drained, "all is read")
    assert town.service.terminate() == 0
    town.check()
    log = CommitLog(town.lake, "silver.people")
    entries = [one.entry for one in log.down_from(DeltaTable(town.lake.table("silver.people")).version()) if one.entry]
    assert {entry.engine for entry in entries if entry.step == "merge"} == {"spark"}
