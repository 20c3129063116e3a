"""Broken records are rejected under the shop's own contracts, and the generator's good ones are not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa
import pytest

from deploy.embedded.behavior import BEHAVIOR_TOPIC, SCHEMA
from deploy.embedded.shop import FX_RATES_TOPIC
from schemas.decode import Decoder
from schemas.loader import load
from schemas.record_bytes import AvroReader, reader_for
from schemas.settings import Settings
from schemas.spec import BronzeSpec
from streams.demo.broken import ORDERS_TOPIC, Record, broken_records
from streams.demo.changes import Seeded, changes
from tests.support.shop import SCHEMA_ID, encoded

TOPICS = (FX_RATES_TOPIC, ORDERS_TOPIC, BEHAVIOR_TOPIC)
KINDS = 5 * len(TOPICS)
BROKEN = list(islice(broken_records(encoded), KINDS))


@pytest.fixture(scope="module")
def decoders() -> dict[str, Decoder]:
    pipeline = load(Settings().pipeline)
    specs = [spec for spec in pipeline.tables.values() if isinstance(spec, BronzeSpec)]
    found = {}
    for spec in specs:
        contract = pipeline.contract_of(spec)
        reader = reader_for(spec, contract, None)
        if isinstance(reader, AvroReader):
            reader = reader.knowing({SCHEMA_ID: json.dumps(SCHEMA), 2**31 - 1: None})
        found[spec.source.topic] = Decoder.of(spec, contract, reader=reader)
    return found


@pytest.mark.parametrize("record", BROKEN, ids=[f"{one.topic} {one.kind}" for one in BROKEN])
def test_a_broken_record_is_rejected(record: Record, decoders: dict[str, Decoder]) -> None:
    [verdict] = decoders[record.topic].judge(pa.array([record.value], pa.binary())).to_pylist()
    assert verdict["violations"]
    assert verdict["dropped"] is None


def test_each_topic_gets_each_kind() -> None:
    by_topic = {topic: {one.kind for one in BROKEN if one.topic == topic} for topic in TOPICS}
    assert by_topic[FX_RATES_TOPIC] == by_topic[ORDERS_TOPIC]
    assert {len(kinds) for kinds in by_topic.values()} == {KINDS // len(TOPICS)}
    assert len({one.value for one in BROKEN}) == KINDS


def test_the_rates_and_events_of_the_traffic_are_accepted(decoders: dict[str, Decoder]) -> None:
    made = islice(changes(Seeded(), datetime(2026, 3, 14, tzinfo=UTC), encoded), 2000)
    good = [one for one in made if isinstance(one, Record) and not one.is_broken]
    assert {one.topic for one in good} == {FX_RATES_TOPIC, BEHAVIOR_TOPIC}
    for one in good:
        [verdict] = decoders[one.topic].judge(pa.array([one.value], pa.binary())).to_pylist()
        assert verdict["violations"] is None
