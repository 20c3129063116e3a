"""The gate before gold, one per silver table with a suite: gold reads the table up to what was judged and passed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.ledger import LedgerEntry
from checkpoints.positions import app_id
from schemas.quality.stream_rules import BatchDrift, ReferentialIntegrity
from schemas.spec import TableSpec
from sinks.table import Table
from streams import logs
from streams.compute import InSpark
from streams.quality.around import TableAt
from streams.quality.changed import changed_rows, grain_of
from streams.quality.judge import Suite
from streams.quality.results import Results
from streams.quality.verdict import Verdict
from streams.steps import CREATED

log = logs.get(__name__)

STEP: Final = "gate"


@dataclass(frozen=True)
class Judgement:
    """What came of the versions of a table after `approved`, up to `version`."""

    table: str
    approved: int
    version: int
    verdicts: tuple[Verdict, ...]

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """Those that hold gold."""
        return tuple(verdict for verdict in self.verdicts if verdict.holds_gold)

    @property
    def warnings(self) -> tuple[Verdict, ...]:
        """Those that fail and hold nothing."""
        return tuple(verdict for verdict in self.verdicts if not verdict.success and not verdict.holds_gold)

    @property
    def is_held(self) -> bool:
        """Whether gold waits."""
        return bool(self.failures)


Observer = Callable[[Judgement], None]


@dataclass
class Gate:
    """Judges what a silver table has beyond its approved version; `others` are the tables that its rules refer to.

    The approved version is a position in the log of the results, under the table's own id and generation; a hold is
    that it does not move. `held` is the judgement by which gold waits, None while it does not.
    """

    table: Table
    spec: TableSpec
    suite: Suite
    results: Results
    others: Mapping[str, Table]
    small_batch_rows: int
    observers: list[Observer] = field(default_factory=list)
    held: Judgement | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _seen: tuple[int, ...] = ()
    _quiet: int = CREATED
    _observed: dict[str, dict[int, tuple[int, float]]] | None = None

    @property
    def app(self) -> str:
        """The name under which the approved version is kept."""
        return app_id(self.table.source_name(), STEP, self.table.generation())

    def approved(self) -> int:
        """The version that gold may read, as far as was judged; the empty one where nothing was yet."""
        held = self.results.approved(self.app)
        return CREATED if held is None else held

    def ready(self, spark: SparkSession) -> int:
        """The version that gold may read, once all that there is has been judged; harmless to repeat.

        1. Fix the version; versions that wrote no rows need no verdict.
        2. Judge the rows that changed since the approved version, as they stand now.
        3. Keep the verdicts, and move the approved version in the same commit where no critical rule fails.
        """
        with self.lock:
            # 1
            approved = max(self.approved(), self._quiet)
            version = self.table.version()
            seen = (approved, version, *(one.version() for one in self.others.values()))
            if version <= approved or seen == self._seen:
                return approved
            handle = self.table.handle()
            if self.held is None and ledger.rows_between(handle, approved + 1, version) == 0:
                self._quiet = version
                return version
            # 2, 3
            judgement = self._judged(spark, approved, version)
            self._observe(judgement)
            self._seen = seen
            return approved if judgement.is_held else version

    def approve(self, version: int, entry: LedgerEntry) -> None:
        """Let gold read up to a version, whatever its verdicts are."""
        with self.lock:
            approved = self.approved()
            self.results.write(entry, (), {self.app: version})
            self.look_again()
            self._observe(Judgement(self.table.name, approved, version, ()))

    def look_again(self) -> None:
        """Judge anew what was judged, even if nothing has changed."""
        with self.lock:
            self._seen = ()

    def entry(self, approved: int, version: int) -> LedgerEntry:
        """The entry of a verdict on these versions."""
        generation = self.table.generation()
        return LedgerEntry(
            table=self.results.table.name,
            step="gate",
            run_id=ledger.run_id(self.table.source_name(), STEP, generation, approved, version),
            clock=ledger.clock_at(self.table.handle(), version),
            generation=generation,
            engine="driver",
            source="feed",
            upstreams={self.table.name: (approved, version)},
        )

    def around(self, version: int, entry: LedgerEntry, *, is_whole: bool) -> TableAt:
        """What the rules ask beside the rows."""
        return TableAt(self.table, version, entry.clock, self.others, is_whole, self._before(entry))

    def _judged(self, spark: SparkSession, approved: int, version: int) -> Judgement:
        entry = self.entry(approved, version)
        columns = tuple(dict.fromkeys([*self.suite.needed, *grain_of(self.spec)]))
        compute, rows = changed_rows(spark, self.table, self.spec, columns, approved, version, self.small_batch_rows)
        around = self.around(version, entry, is_whole=approved == CREATED)
        is_large = isinstance(compute, InSpark)
        if is_large:
            rows = compute.of(rows).persist()
        try:
            verdicts = tuple(self.suite.judge(compute, rows, around))
        finally:
            if is_large:
                rows.unpersist()
        judgement = Judgement(self.table.name, approved, version, verdicts)
        entry = entry.model_copy(
            update={"engine": "spark" if is_large else "driver", "rows": {"results": len(verdicts)}}
        )
        self.results.write(entry, verdicts, {} if judgement.is_held else {self.app: version})
        self._remember(judgement)
        return judgement

    def _observe(self, judgement: Judgement) -> None:
        was_held, self.held = self.held, judgement if judgement.is_held else None
        where = {"table": judgement.table, "approved": judgement.approved, "version": judgement.version}
        if judgement.warnings:
            log.warning("quality rules fail", **where, rules=[one.sentence for one in judgement.warnings])
        if judgement.is_held:
            remedy = f"See `sluice gate show`; then correct the source, or release or discard {judgement.table}."
            rules = [one.sentence for one in judgement.failures]
            log.error("gate held: gold waits", **where, rules=rules, remedy=remedy)
        elif was_held is not None:
            log.info("gate opened: gold goes on", **where)
        for observer in self.observers:
            observer(judgement)

    def _before(self, entry: LedgerEntry) -> Callable[[BatchDrift], list[float]]:
        [(first, _)] = entry.upstreams.values()

        def observed(rule: BatchDrift) -> list[float]:
            """Of judgements that overlap, for the gate was held between them, the last one counts."""
            by_start = self._history().get(rule.kwargs_json, {})
            ended = [(to, value) for to, value in by_start.values() if to <= (first or 0)]
            return [value for _, value in sorted(ended, reverse=True)][: rule.batches]

        return observed

    def _history(self) -> dict[str, dict[int, tuple[int, float]]]:
        """Parameters of a drift rule -> where a batch began -> where it ended, and what was observed."""
        if self._observed is None:
            self._observed = {}
            for row in self.results.of(self.table.name):
                if row["expectation_type"] == "expect_batch_drift" and row["observed_value"] is not None:
                    by_start = self._observed.setdefault(row["kwargs"], {})
                    by_start[row["version_from"]] = (row["version_to"], row["observed_value"])
        return self._observed

    def _remember(self, judgement: Judgement) -> None:
        if self._observed is None:
            return
        for verdict in judgement.verdicts:
            if isinstance(verdict.rule, BatchDrift) and verdict.observed is not None:
                by_start = self._observed.setdefault(verdict.rule.kwargs_json, {})
                by_start[judgement.approved] = (judgement.version, verdict.observed)


def references_of(suite: Suite) -> tuple[str, ...]:
    """The tables that the rules of a suite refer to."""
    return tuple(dict.fromkeys(rule.to_table for rule in suite.rules if isinstance(rule, ReferentialIntegrity)))
