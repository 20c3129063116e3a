"""What tests bring in by a backfill, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.requests import Backfill
from schemas.settings import Settings
from streams.commands.asking import handing_down
from streams.graph import Graph
from streams.intake.backfill import run_backfill
from streams.intake.make import source_of


def visit(number: int, who: int, day: int = 1) -> dict[str, Any]:
    return {"visit": number, "person": who, "at": f"2026-01-{day:02} 00:00:00"}


def write_lines(path: Path, records: list[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
    return str(path)


def files(table: str, path: str, **more: Any) -> Backfill:
    return Backfill(table=table, source="files", path=path, **more)


def bring(graph: Graph, spark: SparkSession, request: Backfill, settings: Settings) -> dict[str, Any]:
    source = source_of(graph, spark, settings, request)
    return run_backfill(graph.bronze[request.table], spark, request, source, handing_down(graph, spark))
