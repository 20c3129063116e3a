"""What decoding and checking a record costs, by route; without Kafka, tables or lanes.

Routes in Python are called on Arrow batches as an Arrow function gets them; routes in Spark run over a cached frame of
the same bytes into a sink that does nothing, and their figures hold the way to the Python worker and back. All are
given in microseconds of CPU per record, those of Spark over the whole process tree, since what runs beside the
benchmark touches these the least; the seconds beside them are of the clock.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]  # its stub is missing in 4.1
from rich.console import Console
from rich.table import Table as Grid

from deploy import jars
from schemas import json_bytes
from schemas.arrow_values import arrow_type, to_arrow
from schemas.decode import Decoder
from schemas.loader import load
from schemas.settings import Settings, SparkSettings
from schemas.validation import Validation
from streams import logs, session
from tests.bench import events, machine, pipeline

BATCH = 10_000


@dataclass(frozen=True)
class Figure:
    """Microseconds per record: of CPU, and of the clock."""

    cpu: float
    clock: float


def main(arguments: Sequence[str]) -> int:
    """Measure each route and print them."""
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    logs.configure("ERROR", "console")
    for line in machine.description():
        console.print(line)
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        found = load(pipeline.write(folder / "pipeline", "bench"))
        spec = found.tables[pipeline.TABLE]
        assert spec.kind == "bronze"
        decoder = Decoder.of(spec, found.contract_of(spec))
        clean = [value for _, value in events.keys_and_values(options.events, broken=False)]
        broken = [value for _, value in events.keys_and_values(options.events, broken=True)]
        console.print(f"records     {options.events:,} of {len(clean[0]):,} bytes, {BATCH:,} to an Arrow batch")
        parts = _parts(decoder, pa.array(clean[:BATCH], pa.binary()), pa.array(broken[:BATCH], pa.binary()))
        _print(console, "In Python", {name: _in_python(run, options.repeat) for name, run in parts.items()})
        settings = _settings(folder)
        spark = session.build(settings, "sluice-bench")
        cleanup.callback(spark.stop)
        console.print(f"Spark       {spark.version}, {settings.spark.master}, heap {settings.spark.driver_memory}")
        _print(console, "In Spark", _in_spark(spark, decoder, clean, broken, options.repeat))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench decode", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="records of the frame (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="runs that count (default: %(default)s)")
    return parser.parse_args(arguments)


def _settings(folder: Path) -> Settings:
    conf = {
        "spark.local.dir": str(folder / "spark"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.showConsoleProgress": "false",
    }
    return Settings(jars_dir=jars.resolve("service"), spark=SparkSettings(conf=conf))


def _parts(decoder: Decoder, clean: pa.Array, broken: pa.Array) -> dict[str, Callable[[], object]]:
    """The one parse as a whole, its parts, and what else decodes."""
    judge = decoder.judge
    raw = clean.to_pylist()
    records = [json_bytes.read(value) for value in raw]
    is_valid = judge.strict.validator.is_valid
    lines = pa.py_buffer(b"\n".join(raw))
    kind = arrow_type(decoder.payload)
    parse = pj.ParseOptions(explicit_schema=pa.schema(list(kind)), unexpected_field_behavior="ignore")
    read = pj.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    return {
        "the judge: one parse, contract, columns": lambda: judge(clean),
        "the judge, 1% of the records broken": lambda: judge(broken),
        "  of which finding long numbers": lambda: json_bytes.maybe_inexact(clean),
        "  of which orjson": lambda: [json_bytes.read(value) for value in raw],
        "  of which jsonschema-rs": lambda: [is_valid(record) for record in records],
        "  of which columns": lambda: to_arrow(records, judge.payload),
        "pyarrow.json: columns, nothing checked": lambda: pj.read_json(
            pa.BufferReader(lines), read_options=read, parse_options=parse
        ),
    }


def _in_python(run: Callable[[], object], repeat: int) -> Figure:
    run()
    found = []
    for _ in range(repeat):
        clock, cpu = time.perf_counter(), time.process_time()
        run()
        found.append((time.process_time() - cpu, time.perf_counter() - clock))
    return _figure(found, BATCH)


def _judged(decoder: Decoder) -> Callable[[Column], Column]:
    @arrow_udf(decoder.judge.verdict_type)  # type: ignore[untyped-decorator]
    def verdicts(values: pa.Array) -> pa.Array:
        return decoder.judge(values)

    return verdicts  # type: ignore[no-any-return]


def _in_spark(
    spark: SparkSession, decoder: Decoder, clean: list[bytes], broken: list[bytes], repeat: int
) -> dict[str, Figure]:
    """The routes in turn, round after round; the first round is not counted."""
    frames = {"clean": _cached(spark, clean), "broken": _cached(spark, broken)}
    value = F.col("value")
    decoded = F.from_json(value.cast("string"), decoder.payload)
    envelope = Validation.of(decoder.contract).within(_envelope_schema(decoder))
    routes: dict[str, DataFrame] = {
        "reading the cached bytes": frames["clean"].select(value),
        "from_json, nothing checked": frames["clean"].select(decoded),
        "jsonschema-rs in Arrow, then from_json: two parses": frames["clean"].select(envelope.column(value), decoded),
        "the judge: one parse": frames["clean"].select(_judged(decoder)(value)),
        "the judge, 1% of the records broken": frames["broken"].select(_judged(decoder)(value)),
    }
    tree = machine.Tree()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in routes}
    for number in range(repeat + 1):
        for name, frame in routes.items():
            with tree.watched() as usage:
                began = time.perf_counter()
                frame.write.format("noop").mode("overwrite").save()
                seconds = time.perf_counter() - began
            if number:
                found[name].append((usage.cpu_seconds, seconds))
    return {name: _figure(runs, len(clean)) for name, runs in found.items()}


def _envelope_schema(decoder: Decoder) -> dict[str, object]:
    return {"type": "object", "properties": {"after": {"$ref": Validation.of(decoder.contract).uri}}}


def _cached(spark: SparkSession, values: list[bytes]) -> DataFrame:
    frame = spark.createDataFrame(pa.table({"value": pa.array(values, pa.binary())})).repartition(2).cache()
    frame.count()
    return frame


def _figure(runs: list[tuple[float, float]], records: int) -> Figure:
    cpu, clock = (statistics.median(of) for of in zip(*runs, strict=True))
    return Figure(cpu * 1e6 / records, clock * 1e6 / records)


def _print(console: Console, title: str, figures: dict[str, Figure]) -> None:
    grid = Grid(title=f"{title}: microseconds per record, medians")
    grid.add_column("route")
    grid.add_column("CPU", justify="right")
    grid.add_column("clock", justify="right")
    for name, figure in figures.items():
        grid.add_row(name, f"{figure.cpu:.2f}", f"{figure.clock:.2f}")
    console.print(grid)
