"""Broken records are rejected under the shop's own contracts, and the generator's good ones are not."""

from __future__ import annotations

from datetime import date
from itertools import islice

import pyarrow as pa
import pytest

from deploy.embedded.shop import FX_RATES_TOPIC
from schemas.decode import Decoder
from schemas.loader import load
from schemas.settings import Settings
from schemas.spec import BronzeSpec
from streams.demo.broken import ORDERS_TOPIC, Record, broken_records
from streams.demo.changes import Seeded, changes

KINDS = 10
BROKEN = list(islice(broken_records(), KINDS))


@pytest.fixture(scope="module")
def decoders() -> dict[str, Decoder]:
    pipeline = load(Settings().pipeline)
    specs = [spec for spec in pipeline.tables.values() if isinstance(spec, BronzeSpec)]
    return {spec.source.topic: Decoder.of(spec, pipeline.contract_of(spec)) for spec in specs}


@pytest.mark.parametrize("record", BROKEN, ids=[f"{one.topic} {one.kind}" for one in BROKEN])
def test_a_broken_record_is_rejected(record: Record, decoders: dict[str, Decoder]) -> None:
    [verdict] = decoders[record.topic].judge(pa.array([record.value], pa.binary())).to_pylist()
    assert verdict["violations"]
    assert verdict["dropped"] is None


def test_each_topic_gets_each_kind() -> None:
    by_topic = {topic: {one.kind for one in BROKEN if one.topic == topic} for topic in (FX_RATES_TOPIC, ORDERS_TOPIC)}
    assert by_topic[FX_RATES_TOPIC] == by_topic[ORDERS_TOPIC]
    assert len(by_topic[ORDERS_TOPIC]) == KINDS // 2
    assert len({one.value for one in BROKEN}) == KINDS


def test_the_rates_of_the_traffic_are_accepted(decoders: dict[str, Decoder]) -> None:
    made = islice(changes(Seeded(), date(2026, 3, 14)), 2000)
    rates = [one for one in made if isinstance(one, Record) and not one.is_broken]
    assert rates
    for rate in rates:
        [verdict] = decoders[rate.topic].judge(pa.array([rate.value], pa.binary())).to_pylist()
        assert verdict["violations"] is None
