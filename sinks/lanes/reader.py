"""Reading an error lane: its records with their newest verdicts, and the cohorts that they fall into.

Nothing here is written, and nothing needs Spark. Memory is bounded by a few megabytes of records, the positions of
those that are asked about (8 bytes each) and the verdicts on them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from checkpoints.lake import Lake
from sinks.errors import UnreadableLaneFile
from sinks.lanes import lines as lane_lines
from sinks.lanes.positions import Positions
from sinks.lanes.verdicts import INSTANT, NEEDED, VERDICT, VIOLATIONS, Verdicts

RECORD = pa.schema(
    [
        ("table", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_ts", INSTANT),
        ("key", pa.string()),
        ("value", pa.string()),
        ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))),
        ("violations", VIOLATIONS),
        ("contract", pa.string()),
        ("contract_version", pa.string()),
        ("contract_hash", pa.string()),
        ("source_system", pa.string()),
        ("run_id", pa.string()),
        ("ingest_ts", INSTANT),
    ]
)
"""The fields of a lane's record; `key`, `value` and the headers' values are base64."""

BYTES = ("key", "value", "headers")
REDRIVEN = "redriven"
"""A column that is added: whether the record has gone through since."""
NO_RULE = "unknown"
"""In place of the rule where a record has no violations."""

_DAY = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")
_FILE = re.compile(r"run_id=([^/]+)/[^/._][^/]*\.json")
_VERDICTS = "_verdicts"


def raise_it(error: UnreadableLaneFile) -> None:
    """What a reader does with a file that can not be read, unless it is told otherwise."""
    raise error


@dataclass(frozen=True)
class LaneFolder:
    """The files of one batch's records, below the day of its clock (UTC); `modified` is when the newest was written."""

    day: date
    run_id: str
    files: tuple[str, ...]
    modified: datetime


@dataclass(frozen=True)
class Cohort:
    """Records of one table that one rule rejected under one version of the contract; times are the batches' clocks."""

    table: str
    rule: str
    contract_version: str | None
    first_seen: datetime
    last_seen: datetime
    open: int
    redriven: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.open + self.redriven


class LaneReader:
    """The error lane of one table, as it is now; made anew for each reading, since verdicts are read once.

    `on_problem` is told of a file that can not be read; where it returns, the rest of that file is left out.
    """

    def __init__(self, lake: Lake, table: str, on_problem: Callable[[UnreadableLaneFile], None] = raise_it) -> None:
        self.lake = lake
        self.table = table
        self._on_problem = on_problem
        self._filesystem, self._root = lake.filesystem(lake.errors(table))

    def days(self, since: date | None = None) -> list[date]:
        """The days that there are folders for, oldest first."""
        found = self._filesystem.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        named = (_DAY.fullmatch(info.base_name) for info in found if info.type == fs.FileType.Directory)
        days = sorted(day for match in named if match and (day := _day(match[1])) is not None)
        return [day for day in days if since is None or day >= since]

    def folders(self, since: date | None = None) -> Iterator[LaneFolder]:
        """The folders of batches by day, then run; folders without files of records are left out."""
        for day in self.days(since):
            yield from self.folders_of(day)

    def folders_of(self, day: date) -> list[LaneFolder]:
        """The folders of one day, by run."""
        return [LaneFolder(day, *rest) for rest in self._runs(f"dt={day.isoformat()}")]

    def records(
        self,
        since: datetime | None = None,
        *,
        rule: str | None = None,
        held: Positions | None = None,
        with_bytes: bool = True,
        days: Sequence[date] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The records in batches of RECORD and `redriven`, oldest day first, their newest verdicts applied.

        `since` (UTC) is held against the clock of their batches, `rule` against their first violation. Redriven are
        those that stand at `held`, and those whose newest verdict finds nothing. `with_bytes` is False where BYTES
        are not needed; they are then not read. `days` are the ones to read, in that order; all by default.
        """
        schema = RECORD if with_bytes else pa.schema([field for field in RECORD if field.name not in BYTES])
        first_day = since.astimezone(UTC).date() if since is not None else None
        for day in self.days(first_day) if days is None else days:
            for folder in self.folders_of(day):
                for batch in self._read(folder.files, schema, folder.run_id):
                    yield from self._judged(batch, since, rule, held)

    def positions(self, since: datetime | None = None, *, rule: str | None = None) -> Positions:
        """Where the records stood."""
        return Positions.of(self.records(since, rule=rule, with_bytes=False))

    def cohorts(
        self, since: datetime | None = None, *, rule: str | None = None, held: Positions | None = None
    ) -> list[Cohort]:
        """The records by rule and contract version, the oldest cohort first."""
        found: dict[tuple[str, str | None], Cohort] = {}
        for batch in self.records(since, rule=rule, held=held, with_bytes=False):
            for one in _cohorts(self.table, batch):
                key = (one.rule, one.contract_version)
                found[key] = _merged(found[key], one) if key in found else one
        return sorted(found.values(), key=lambda one: (one.first_seen, one.rule, one.contract_version or ""))

    def newest(self, limit: int, since: datetime | None = None, *, rule: str | None = None) -> pa.Table:
        """The `limit` records of the newest batches, newest first, in a batch by place; as from `records`."""
        first_day = since.astimezone(UTC).date() if since is not None else None
        kept = RECORD.append(pa.field(REDRIVEN, pa.bool_())).empty_table()
        order = [("ingest_ts", "descending"), *((name, "ascending") for name in ("topic", "partition", "offset"))]
        for day in reversed(self.days(first_day)):
            of_day = kept.slice(0, 0)
            for batch in self.records(since, rule=rule, days=[day]):
                of_day = pa.concat_tables([of_day, pa.Table.from_batches([batch])]).sort_by(order).slice(0, limit)
                # A slice keeps all of what it was cut from.
                of_day = of_day.take(pa.array(range(of_day.num_rows)))
            kept = pa.concat_tables([kept, of_day.slice(0, limit - kept.num_rows)])
            if kept.num_rows == limit:
                break
        return kept

    def _judged(
        self, batch: pa.RecordBatch, since: datetime | None, rule: str | None, held: Positions | None
    ) -> Iterator[pa.RecordBatch]:
        if since is not None:
            batch = batch.filter(pc.greater_equal(batch["ingest_ts"], pa.scalar(since, INSTANT)))
        batch, settled = self._verdicts.applied(batch)
        redriven = settled if held is None else pc.or_(settled, held.mask(batch))
        batch = batch.append_column(REDRIVEN, redriven)
        if rule is not None:
            batch = batch.filter(pc.equal(rules_of(batch), rule))
        if batch.num_rows:
            yield batch

    @functools.cached_property
    def _verdicts(self) -> Verdicts:
        return Verdicts.of(self.verdicts())

    def verdicts(self) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
        """The verdicts by the run that came to them, in batches of VERDICT."""
        for run_id, files, _ in self._runs(_VERDICTS):
            yield run_id, self._read(files, VERDICT)

    def _read(self, files: Sequence[str], schema: pa.Schema, run_id: str | None = None) -> Iterator[pa.RecordBatch]:
        for file in files:
            try:
                for batch in lane_lines.batches(self.table, self._filesystem, file, schema, NEEDED):
                    yield batch if run_id is None else _with_run(batch, run_id)
            except UnreadableLaneFile as error:
                self._on_problem(error)

    def _runs(self, folder: str) -> list[tuple[str, tuple[str, ...], datetime]]:
        """(run, its files of records, the time of the newest) below one folder, by run; one listing."""
        path = f"{self._root}/{folder}"
        selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
        runs: dict[str, list[fs.FileInfo]] = {}
        for info in self._filesystem.get_file_info(selector):
            match = _FILE.fullmatch(info.path.removeprefix(f"{path}/"))
            # Spark leaves a file without lines where a partition had none.
            if match and info.type == fs.FileType.File and info.size:
                runs.setdefault(match[1], []).append(info)
        return [
            (run_id, tuple(sorted(info.path for info in infos)), max(_modified(info) for info in infos))
            for run_id, infos in sorted(runs.items())
        ]


def lanes(lake: Lake) -> list[str]:
    """The tables that there is an error lane for in the lake, whether a pipeline still has them or not."""
    filesystem, root = lake.filesystem(f"{lake.root}/_errors")
    found = []
    for layer in filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True)):
        if layer.type == fs.FileType.Directory:
            below = filesystem.get_file_info(fs.FileSelector(layer.path, allow_not_found=True))
            found += [f"{layer.base_name}.{one.base_name}" for one in below if one.type == fs.FileType.Directory]
    return sorted(found)


def rules_of(batch: pa.RecordBatch | pa.Table) -> pa.Array:
    """The rule that each record is counted by: that of its first violation."""
    violations = batch["violations"]
    if isinstance(violations, pa.ChunkedArray):
        violations = violations.combine_chunks()
    return pc.fill_null(lane_lines.first_rules(violations), NO_RULE)


def _cohorts(table: str, batch: pa.RecordBatch) -> Iterator[Cohort]:
    columns = {"rule": rules_of(batch), **{name: batch[name] for name in ("contract_version", REDRIVEN, "ingest_ts")}}
    by = ["rule", "contract_version", REDRIVEN]
    counts = pa.table(columns).group_by(by).aggregate([("ingest_ts", "min"), ("ingest_ts", "max"), ([], "count_all")])
    for row in counts.to_pylist():
        count = row["count_all"]
        yield Cohort(
            table,
            row["rule"],
            row["contract_version"],
            row["ingest_ts_min"],
            row["ingest_ts_max"],
            open=0 if row[REDRIVEN] else count,
            redriven=count if row[REDRIVEN] else 0,
        )


def _merged(one: Cohort, other: Cohort) -> Cohort:
    return Cohort(
        one.table,
        one.rule,
        one.contract_version,
        min(one.first_seen, other.first_seen),
        max(one.last_seen, other.last_seen),
        one.open + other.open,
        one.redriven + other.redriven,
    )


def _with_run(batch: pa.RecordBatch, run_id: str) -> pa.RecordBatch:
    """The folder's name says which run it was, also where a line does not."""
    at = batch.schema.get_field_index("run_id")
    return batch.set_column(at, "run_id", pa.repeat(run_id, batch.num_rows))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _modified(info: fs.FileInfo) -> datetime:
    # A file system that does not tell is taken to have been written just now.
    return info.mtime or datetime.now(UTC)
