"""Any bytes into bronze: nothing is lost, nothing is changed in silence, and nothing falls over."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.contract import spark_type
from schemas.field_tree import tree_of
from schemas.judge import Judge
from schemas.record_bytes import JsonReader
from schemas.schema_set import BASE
from schemas.validation import Validation
from streams.graph import Graph
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import lane_records

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "price": {"x-type": "decimal(20,4)"},
        "ratio": {"type": ["number", "null"]},
        "name": {"type": ["string", "null"]},
        "free": {},
        "home": {"type": ["object", "null"], "properties": {"zip": {"type": "integer"}}},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
ROW = spark_type(SCHEMA)
JUDGE = Judge.of(JsonReader(), Validation(json.dumps(SCHEMA), f"{BASE}f.schema.json"), tree_of(ROW, ROW), ROW)  # type: ignore[arg-type]

numbers = st.one_of(
    st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.decimals(allow_nan=False, allow_infinity=False)
).map(lambda number: str(number).replace("E", "e"))
texts = st.text().map(json.dumps)
scalars = st.one_of(numbers, texts, st.sampled_from(["null", "true", "false", "NaN", "-0", "1e999", '"\\ud800"', "[]"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(st.sampled_from(["a", "zip", "home", "é"]), inner, max_size=3).map(
            lambda fields: "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"
        ),
    ),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from([*SCHEMA["properties"], "more", "ID"]), values, max_size=6).map(
    lambda fields: "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in {"id": "1", **fields}.items()) + "}"
)
good = json.dumps(change("c", person(1, "Ada", "Oslo"), 10)).encode()


def damaged(parts: tuple[int, int, bytes]) -> bytes:
    start, length, put = parts
    return good[: start % len(good)] + put + good[(start + length) % len(good) :]


records = st.one_of(
    st.binary(max_size=60),
    objects.map(str.encode),
    st.tuples(st.integers(0, 500), st.integers(0, 30), st.binary(max_size=6)).map(damaged),
    st.none(),
)


@settings(max_examples=300)
@given(st.lists(records, min_size=1, max_size=30))
def test_each_record_has_one_fate_and_what_is_accepted_is_kept_to_the_last_digit(batch: list[bytes | None]) -> None:
    verdicts = JUDGE(pa.array(batch, pa.binary())).to_pylist()

    assert len(verdicts) == len(batch)
    for value, verdict in zip(batch, verdicts, strict=True):
        fates = [verdict["violations"] is not None, verdict["dropped"] is not None, verdict["payload"] is not None]
        assert sum(fates) == 1, (value, verdict)
        if verdict["payload"] is not None and value is not None:
            assert _again(verdict) == _sent(value), value


def _sent(value: bytes) -> Any:
    sent = json.loads(value, parse_float=Decimal)
    return sent["payload"] if sent.keys() == {"schema", "payload"} else sent


def _again(verdict: dict[str, Any]) -> Any:
    """The record put together from its columns and what was rescued; a null column stands for a field left out."""
    payload = dict(verdict["payload"])
    free = payload.pop("free")
    rescued = json.loads(verdict["rescued"] or "{}", parse_float=Decimal)
    whole = _merged(payload, rescued)
    if free is not None:
        try:
            whole["free"] = json.loads(free, parse_float=Decimal)
        except ValueError:
            whole["free"] = free
    return _Loose(whole)


def _merged(one: Any, more: Any) -> Any:
    if isinstance(one, dict) and isinstance(more, dict):
        return {name: _merged(one.get(name), more.get(name)) for name in one.keys() | more.keys()}
    return more if more is not None else one


class _Loose:
    """Equal to what says the same: numbers by value, text as it stands, an absent field as a null one."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return _same(self.value, other)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return repr(self.value)


def _same(kept: Any, sent: Any) -> bool:
    if isinstance(kept, dict) and isinstance(sent, dict):
        return all(_same(kept.get(name), sent.get(name)) for name in kept.keys() | sent.keys())
    if isinstance(kept, list) and isinstance(sent, list):
        return len(kept) == len(sent) and all(map(_same, kept, sent))
    if isinstance(kept, bool) or isinstance(sent, bool):
        return kept is sent
    if isinstance(kept, float) and isinstance(sent, int | Decimal):
        return Decimal(str(sent)) in (Decimal(repr(kept)), Decimal(kept))
    if isinstance(kept, int | Decimal) and isinstance(sent, str):
        return kept == Decimal(sent)
    # A text that is itself JSON is kept as it stands, and reads as the value that it writes.
    return kept == sent or (isinstance(sent, str) and json.dumps(kept) == sent) or _reads_as(sent, kept)


def _reads_as(sent: Any, kept: Any) -> bool:
    try:
        return isinstance(sent, str) and _same(kept, json.loads(sent, parse_float=Decimal))
    except ValueError:
        return False


@pytest.fixture
def feeder(silver_feeder: Feeder) -> Feeder:
    return silver_feeder


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(records, min_size=1, max_size=80))
def test_bronze_lane_and_drops_together_hold_every_record_once(
    batch: list[bytes | None], feeder: Feeder, silver_graph: Graph
) -> None:
    first = feeder.next_offset.get("bronze.people", 0)
    silver_graph.bronze["bronze.people"].breaker.admit()

    entry = feeder.feed("bronze.people", *batch).entry

    offsets = range(first, first + len(batch))
    table = silver_graph.tables["bronze.people"].handle().to_pyarrow_table()
    accepted = sorted(offset for offset in table["_offset"].to_pylist() if offset in offsets)
    lane = {one["offset"]: one for one in lane_records(silver_graph.lake.errors("bronze.people"))}
    rejected = sorted(offset for offset in lane if offset in offsets)
    assert sorted([*accepted, *rejected]) == sorted({*accepted, *rejected})
    assert len(accepted) + len(rejected) + sum(entry.dropped.values()) == len(batch) == entry.read
    assert (entry.accepted, entry.rejected) == (len(accepted), len(rejected))
    for offset in rejected:
        assert base64.b64decode(lane[offset]["value"]) == batch[offset - first]


def test_a_value_of_20_megabytes_goes_to_the_lane_and_its_neighbours_go_on(feeder: Feeder, silver_graph: Graph) -> None:
    large = b'{"op": "' + b"x" * 20_000_000 + b'"}'
    outcome = feeder.feed("bronze.people", change("c", person(1), 10), large, change("c", person(2), 11))
    assert (outcome.entry.accepted, outcome.reasons) == (2, {"record.size": 1})
    [record] = lane_records(silver_graph.lake.errors("bronze.people"))
    assert base64.b64decode(record["value"]) == large
