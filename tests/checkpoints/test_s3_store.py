"""S3 as the lake's files and the lease use it: through bad weather, and with a sentence where it does not answer."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from deltalake import DeltaTable

from checkpoints import exclusive, s3
from checkpoints.errors import NotExclusive, StoreFailed
from checkpoints.lake import Lake
from tests.support.moto import Moto, moto


@pytest.fixture(scope="module")
def store() -> Iterator[Moto]:
    with moto() as started:
        yield started


@pytest.fixture
def fair(store: Moto) -> Iterator[Moto]:
    yield store
    store.weather()


def test_the_uris_of_hadoop_are_those_of_everybody(fair: Moto) -> None:
    lake = Lake.at(f"s3a://{fair.bucket}/lake/")
    assert lake.root == f"s3://{fair.bucket}/lake"
    assert lake.read(f"{lake.root}/a/b") is None
    lake.write(f"{lake.root}/a/b", b"one")
    lake.write(f"{lake.root}/a/b", b"two")
    assert lake.read(f"{lake.root}/a/b") == b"two"
    names = [one["Key"] for one in boto3.client("s3").list_objects_v2(Bucket=fair.bucket)["Contents"]]
    assert [name for name in names if not name.endswith("/")] == ["lake/a/b"]


def test_an_object_is_created_once_whatever_becomes_of_the_answers(fair: Moto) -> None:
    before = fair.weather(refused=0.15, lost=0.2)
    paths = [f"s3://{fair.bucket}/created/{number}" for number in range(12)]
    assert [s3.create(path, b"mine") for path in paths] == [True] * 12
    assert [s3.create(path, b"yours") for path in paths] == [False] * 12
    after = fair.weather()
    assert after["lost"] > before.get("lost", 0)
    assert after["refused"] > before.get("refused", 0)


def test_a_store_that_is_deaf_to_conditions_is_refused(fair: Moto) -> None:
    root = f"s3://{fair.bucket}/heard"
    exclusive.ensure(root)
    fair.weather(deaf=1.0)
    with pytest.raises(NotExclusive, match=r"a file was created where there was one already\. .* conditional writes"):
        exclusive.ensure(root)
    fair.weather()
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket=fair.bucket, Prefix="heard")


@pytest.mark.parametrize("act", ["Arrow", "Delta", "boto3"])
def test_what_does_not_answer_is_told_in_a_sentence(fair: Moto, act: str) -> None:
    acts = {
        "Arrow": lambda: Lake.at("s3://nowhere/lake").write("s3://nowhere/lake/x", b""),
        "Delta": lambda: DeltaTable.is_deltatable("s3://nowhere/lake/t"),
        "boto3": lambda: s3.create("s3://nowhere/lake/x", b""),
    }
    with pytest.raises(Exception, match=r".") as found:
        acts[act]()
    failure = s3.failure(found.value)
    assert isinstance(failure, StoreFailed)
    assert "See that it can be reached" in str(failure)
    assert "\n" not in str(failure)
    assert "\x1b" not in str(failure)


def test_other_errors_are_none_of_its() -> None:
    assert s3.failure(ValueError("no")) is None


def test_a_store_of_its_own_needs_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert (s3.endpoint(), s3.region()) == (None, None)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://store:9000")
    assert s3.endpoint() == "http://store:9000"
    assert s3.filesystem("bucket").region == "us-east-1"
