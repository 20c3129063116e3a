"""A lake on S3: the same tables, the same exactly once, the same ways back; the store is moto's server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from checkpoints import failpoints
from deploy import jars
from deploy.embedded.stack import EmbeddedStack
from tests.support.moto import Moto, moto
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


def test_a_lake_on_s3_dies_between_effects_comes_back_and_goes_back(
    stack: EmbeddedStack, store: Moto, service_jars: Path, tmp_path: Path
) -> None:
    town = Town(stack, tmp_path, service_jars, "objects", root=f"s3a://{store.bucket}/lake")
    town.live(60)
    assert town.service.run_to_end("--once") == 0, town.service.log.read_text()[-3000:]
    town.check()
