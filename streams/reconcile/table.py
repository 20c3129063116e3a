"""One silver table held against its source: totals of key ranges, then the keys of those that differ, then again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from checkpoints.lake import Lake
from schemas.pipeline import Pipeline
from schemas.settings import SourceSettings
from schemas.spec import BronzeSpec, CurrentSpec, Reconcile
from streams.reconcile.columns import Columns, private_columns
from streams.reconcile.errors import NotReconciled, TableNotThere
from streams.reconcile.postgres import snapshot
from streams.reconcile.report import Difference, Kind, Reconciliation, lsn
from streams.reconcile.sides import Ranges, Row, Side, Total
from streams.reconcile.silver import Silver

_MOST_RANGES: Final = 1_024
_LEAST_ROWS: Final = 1_000
_ROWS_AT_ONCE: Final = 200_000
"""Rows of silver whose keys and hashes are held in memory while ranges are looked into."""

Sleep = Callable[[float], object]


@dataclass(frozen=True)
class Limits:
    """How far a reconciliation goes.

    `wait_seconds`: how long keys that differ are given to come to be equal; `most_keys`: so many that differ are looked
    for; `shown`: so many are named; `sample`: the share of the key ranges that is compared.
    """

    wait_seconds: float = 30.0
    most_keys: int = 10_000
    shown: int = 20
    sample: float = 1.0


@dataclass(frozen=True)
class State:
    """The rows of one key on both sides; equal states are of rows that have not changed, or have changed back."""

    source: tuple[Row, ...]
    silver: tuple[Row, ...]

    @property
    def is_equal(self) -> bool:
        """Whether both sides have the same one row, or none."""
        return self.source == self.silver and len(self.source) <= 1

    def difference(self, key: dict[str, str], columns: Sequence[str]) -> Difference:
        """What differs."""
        for kind, is_it in _kinds(len(self.source), len(self.silver)):
            if is_it:
                return Difference(kind, key)
        pairs = zip(columns, self.source[0], self.silver[0], strict=True)
        return Difference("differs", key, tuple(name for name, theirs, ours in pairs if theirs != ours))


def _kinds(source: int, silver: int) -> tuple[tuple[Kind, bool], ...]:
    return (
        ("twice_in_silver", silver > 1),
        ("twice_in_source", source > 1),
        ("missing_in_silver", silver == 0),
        ("missing_in_source", source == 0),
    )


def reconcile(
    pipeline: Pipeline,
    table: str,
    sources: Mapping[str, SourceSettings],
    lake: Lake,
    limits: Limits,
    sleep: Sleep,
) -> Reconciliation:
    """Compare a table with its source, beside whatever writes either; raises what errors.py has.

    1. The source, in one transaction that sees one state of it, and silver at its newest version: rows and hashes by
       range of the key, in one pass over each.
    2. The keys in the ranges that differ, up to `most_keys`, of the same transaction and version.
    3. Only these keys again, each time in a new state of both, until all are equal or the time is up. What was on its
       way has arrived then: a key is a difference if its rows are on both sides as they were at first.
    """
    spec = pipeline.tables[table]
    if not isinstance(spec, CurrentSpec) or spec.reconcile is None:
        raise NotReconciled(table)
    settings = sources.get(spec.reconcile.source)
    silver = _silver(lake, pipeline, spec)
    columns = silver.columns
    # 1
    with snapshot(table, spec.reconcile, settings, columns) as source:
        side = silver.newest()
        ranges = side.ranges(_MOST_RANGES, _LEAST_ROWS)
        only = _sampled(ranges, limits.sample)
        # The database counts while silver is read.
        with ThreadPoolExecutor(1) as beside:
            counting = beside.submit(source.totals, ranges, only)
            ours = side.totals(ranges, only)
            theirs = counting.result()
        differing = sorted(place for place in {*theirs, *ours} if theirs.get(place) != ours.get(place))
        # 2
        keys, left = _differing_keys(source, side, ranges, differing, ours, limits.most_keys)
        first = source.position
        states = _states(source, side, keys)
    candidates = len(keys)
    # 3
    again, moved = first, set[str]()
    for pause in _pauses(limits.wait_seconds) if states else ():
        sleep(pause)
        with snapshot(table, spec.reconcile, settings, columns) as source:
            side, again = silver.newest(), source.position
            now = _states(source, side, states)
        moved |= {key for key, state in now.items() if state != states[key]}
        states = {key: states[key] for key, state in now.items() if not state.is_equal}
        if not states:
            break
    confirmed = {key: state for key, state in states.items() if key not in moved}
    found = [state.difference(columns.shown_key(key), columns.names) for key, state in sorted(confirmed.items())]
    position = side.newest_position() if silver.has_positions else None
    return Reconciliation(
        table=table,
        source=spec.reconcile.source,
        source_table=spec.reconcile.table,
        columns=columns.names,
        source_rows=_rows(theirs.values()),
        silver_rows=_rows(ours.values()),
        ranges=ranges.count,
        ranges_compared=ranges.count if only is None else len(only),
        ranges_differing=len(differing),
        ranges_left=left,
        found=dict(Counter(one.kind for one in found)),
        in_flight=candidates - len(found),
        differences=tuple(found[: limits.shown]),
        source_position=lsn(first),
        source_position_again=lsn(again) if candidates else None,
        silver_version=side.version,
        silver_position=lsn(position),
        silver_is_behind=None if not silver.has_positions else position is None or position < first,
    )


@dataclass(frozen=True)
class _Silver:
    """Where a silver table is, and what of it is compared."""

    path: str
    columns: Columns
    has_positions: bool

    def newest(self) -> Silver:
        """The table at its newest version."""
        return Silver(DeltaTable(self.path), self.columns)


def _silver(lake: Lake, pipeline: Pipeline, spec: CurrentSpec) -> _Silver:
    path = lake.table(spec.table)
    if not DeltaTable.is_deltatable(path):
        raise TableNotThere(spec.table)
    selected: Reconcile | None = spec.reconcile
    schema = pa.schema(DeltaTable(path).schema().to_arrow())
    columns = Columns.of(
        spec.table, list(selected.select) if selected else [], spec.keys, schema, private_columns(pipeline, spec)
    )
    bronze = pipeline.tables[spec.from_]
    return _Silver(path, columns, isinstance(bronze, BronzeSpec) and bronze.source.is_debezium)


def _sampled(ranges: Ranges, share: float) -> Collection[int] | None:
    """The ranges that are compared, drawn by lot; None where all are."""
    if share >= 1:
        return None
    return sorted(random.sample(range(ranges.count), max(1, round(ranges.count * share))))


def _differing_keys(
    source: Side, silver: Side, ranges: Ranges, differing: Sequence[int], ours: Mapping[int, Total], most: int
) -> tuple[set[str], int]:
    """Up to `most` keys whose rows differ, and how many of the ranges were not looked into to the end."""
    found: set[str] = set()
    at = 0
    while at < len(differing) and len(found) < most:
        group: list[int] = []
        rows = 0
        while at < len(differing) and (not group or rows + ours.get(differing[at], Total()).rows <= _ROWS_AT_ONCE):
            rows += ours.get(differing[at], Total()).rows
            group.append(differing[at])
            at += 1
        if not _compare(source, silver, ranges, group, found, most):
            return found, len(differing) - at + 1
    return found, len(differing) - at


def _compare(source: Side, silver: Side, ranges: Ranges, group: Sequence[int], found: set[str], most: int) -> bool:
    """Add the keys of a group of ranges that differ to `found`; false where it became too many before the end.

    The rows of silver are held, those of the source pass by: however many there are, memory is bounded.
    """
    held: dict[str, bytes] = {}
    for key, digest in silver.digests(ranges, group):
        if key in held:
            found.add(key)
        held[key] = digest
    seen: set[str] = set()
    with closing(source.digests(ranges, group)) as theirs:  # type: ignore[type-var]
        for key, digest in theirs:
            if held.get(key) != digest or key in seen:
                found.add(key)
            if key in held:
                seen.add(key)
            if len(found) >= most:
                return False
    for key in held.keys() - seen:
        found.add(key)
        if len(found) >= most:
            return False
    return True


def _states(source: Side, silver: Side, keys: Collection[str]) -> dict[str, State]:
    if not keys:
        return {}
    theirs, ours = source.rows(keys), silver.rows(keys)
    return {key: State(tuple(sorted(theirs.get(key, ()))), tuple(sorted(ours.get(key, ())))) for key in keys}


def _pauses(seconds: float) -> list[float]:
    """Pauses that double, and are so many seconds together; one of nothing where there are none."""
    pauses: list[float] = []
    step = 1.0
    while (left := seconds - sum(pauses)) > 0:
        # No last one that is too short to be worth a look.
        pauses.append(left if left < 2 * step else step)
        step *= 2
    return pauses or [0.0]


def _rows(totals: Iterable[Total]) -> int:
    return sum(total.rows for total in totals)
