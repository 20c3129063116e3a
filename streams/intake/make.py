"""From what is asked for to the source of a backfill."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from pyspark.sql import SparkSession

from checkpoints.requests import Backfill
from schemas.settings import Settings
from schemas.spec import BronzeSpec
from streams.acts.errors import NoSuchTable
from streams.bronze import BronzeStep
from streams.commands.since import parse_since
from streams.graph import Graph
from streams.intake.backfill import number_of
from streams.intake.dialects import dialect_of
from streams.intake.errors import NoBackfill
from streams.intake.files import FileSource
from streams.intake.jdbc import BEGINNING, JdbcSource
from streams.intake.kafka import TopicSource
from streams.intake.source import Source
from streams.sources import Brokers
from streams.starts import next_offsets

_SECONDS_A_BATCH: Final = 10.0


def source_of(graph: Graph, spark: SparkSession, settings: Settings, request: Backfill) -> Source:
    """The source of a backfill; raises NoSuchTable, NoBackfill, NoFiles, UnknownFile, NotATime."""
    step = graph.bronze.get(request.table)
    if step is None:
        raise NoSuchTable(request.table, "bronze table", list(graph.bronze))
    match request.source:
        case "files":
            return _files(step.spec, request)
        case "kafka":
            return _topic(step, settings, request)
        case "jdbc":
            return _database(step.spec, spark, settings, request)


def batch_rows(request: Backfill) -> int:
    """The records of a batch: where they are to come slowly, no more than come in ten seconds."""
    if request.rate is None:
        return request.batch_rows
    return max(1, min(request.batch_rows, int(request.rate * _SECONDS_A_BATCH)))


def _files(spec: BronzeSpec, request: Backfill) -> Source:
    if request.path is None:
        raise NoBackfill("--source files: say which, with --path 'folder/*.jsonl'.")
    if request.since is not None or request.until is not None:
        raise NoBackfill("--from and --to: files are read whole. Name fewer with --path.")
    if spec.source.is_avro:
        raise NoBackfill(
            f"{spec.table} is of {spec.source.format}; files are JSON lines or Parquet. Use --source kafka."
        )
    watermark = spec.source.jdbc.watermark_column if spec.source.jdbc is not None else None
    return FileSource.of(request.path, f"backfill.{-number_of(request)}", batch_rows(request), watermark)


def _topic(step: BronzeStep, settings: Settings, request: Backfill) -> Source:
    """A range of a topic; of the table's own no more than its query has passed: the rest is the query's to read."""
    spec = step.spec
    if spec.source.jdbc is not None:
        raise NoBackfill(f"{spec.table} is pulled from a database. Use --source jdbc.")
    archive = request.topic or spec.source.topic
    brokers = Brokers(settings.kafka)
    try:
        bounds = brokers.bounds(archive)
        begin = {one: first for one, (first, _) in bounds.partitions.items()}
        end = {one: last for one, (_, last) in bounds.partitions.items()}
        for text, option, into in ((request.since, "--from", begin), (request.until, "--to", end)):
            if text is None:
                continue
            if text.startswith("{"):
                into.update(_offsets(text, archive, option))
            else:
                into.update(brokers.offsets_at(bounds, parse_since(text, option=option)))
    finally:
        brokers.close()
    begin = {one: max(first, bounds.first(one)) for one, first in begin.items()}
    end = {one: max(begin[one], min(last, bounds.end(one))) for one, last in end.items()}
    if archive == spec.source.topic:
        passed = next_offsets(step) if step.table.exists and step.table.position(step.app) is not None else {}
        if not passed:
            raise NoBackfill(
                f"The query of {spec.table} has not begun: it will read {archive} by itself. Run it first."
            )
        end = {one: max(begin[one], min(last, passed.get(one, begin[one]))) for one, last in end.items()}
    # Records of another topic are others, though their offsets be the same: they keep its name.
    return TopicSource(settings, archive, begin, end, batch_rows(request))


def _offsets(text: str, topic: str, option: str) -> dict[int, int]:
    try:
        return {int(one): int(offset) for one, offset in json.loads(text)[topic].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        example = json.dumps({topic: {"0": 0}})
        raise NoBackfill(f"{option}: it is not Spark's JSON of offsets for this topic, as '{example}'.") from None


def _database(spec: BronzeSpec, spark: SparkSession, settings: Settings, request: Backfill) -> Source:
    pull = spec.source.jdbc
    if pull is None:
        raise NoBackfill(f"{spec.table} is not pulled from a database: its spec has no `jdbc`.")
    database = settings.sources.get(pull.source)
    if database is None:
        raise NoBackfill(f"The settings know no source `{pull.source}`: add `sources.{pull.source}`.")
    since = BEGINNING if request.since is None else parse_since(request.since, option="--from")
    until: datetime | None = None if request.until is None else parse_since(request.until, option="--to")
    return JdbcSource(
        spark,
        database,
        dialect_of(pull.source, database),
        pull.model_copy(update={"batch_rows": batch_rows(request)}),
        spec.keys,
        f"backfill.{-number_of(request)}",
        since,
        until,
    )
