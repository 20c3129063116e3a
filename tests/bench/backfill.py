"""A backfill of millions of rows from files, killed half way and gone on with: rows a second, and each row once."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from deploy import jars
from tests.bench import rig
from tests.bench.failure import WrongResult
from tests.bench.machine import Tree
from tests.support import people

_LINES_A_FILE = 500_000


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Raises WrongResult where a row is not there once."""
    chosen = _parse(arguments)
    console = rig.console_with_machine()
    keys = chosen.rows // 2
    console.print(f"rows        {chosen.rows:,} as JSON lines, {chosen.batch_rows:,} a batch; {keys:,} keys")
    with rig.temporary(chosen.folder) as folder:
        _write(folder / "old", chosen.rows)
        pipeline = people.write(folder / "pipeline", without_gold=True)
        command = [sys.executable, "-m", "streams", "backfill", "--table", "bronze.visits", "--source", "files"]
        command += ["--path", str(folder / "old"), "--batch-rows", str(chosen.batch_rows), "--yes", "--json"]
        settings = {
            "SLUICE_LAKE": str(folder / "lake"),
            "SLUICE_PIPELINE": str(pipeline),
            "SLUICE_JARS_DIR": str(jars.resolve("service")),
            "SLUICE_LOG_LEVEL": "WARNING",
        }
        bronze = folder / "lake/bronze/visits"
        began = time.monotonic()
        first = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, start_new_session=True
        )
        while _rows(bronze) < chosen.rows // 2:
            if first.poll() is not None:
                raise WrongResult("the first run", f"it ended with {first.returncode} after {_rows(bronze):,} rows")
            time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        half, seconds = _rows(bronze), time.monotonic() - began
        if first.returncode != -signal.SIGKILL or not half < chosen.rows:
            raise WrongResult("the first run", f"it had come to its end with all {half:,} rows before it was killed")
        console.print(
            f"killed      after {half:,} rows and {seconds:.1f} s ({half / seconds:,.0f} rows/s with the start)"
        )
        again = time.monotonic()
        second = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE)
        with Tree(root=second.pid).watched() as usage:
            printed, _ = second.communicate()
        seconds = time.monotonic() - again
        if second.returncode:
            raise WrongResult("the second run", f"it ended with {second.returncode}")
        read = int(json.loads(printed)["read"])
        left = chosen.rows - half
        # A batch whose commit came before the kill, and its note after, is passed over and not counted.
        if read != left:
            raise WrongResult("the second run", f"it read {read:,} rows, and {left:,} were left")
        peak = sum(usage.peak_bytes.values()) / 1e6
        console.print(f"gone on     {read:,} rows in {seconds:.1f} s ({read / seconds:,.0f} rows/s, with the start)")
        console.print(f"used        {usage.cpu_seconds:.0f} CPU s, at most {peak:,.0f} MB in all")
        _check(bronze, folder / "lake/silver/visits", chosen.rows)
        console.print(f"checked     {chosen.rows:,} rows in bronze, each offset once; silver is the last of each key")
    return 0


def _write(folder: Path, rows: int) -> None:
    """Two records of each key: the second is the one that counts."""
    folder.mkdir()
    keys = rows // 2
    for number, first in enumerate(range(0, rows, _LINES_A_FILE)):
        last = min(rows, first + _LINES_A_FILE)
        query = f"SELECT n % {keys} AS visit, n AS person, '2026-01-01 00:00:00' AS at FROM range({first}, {last}) t(n)"
        duckdb.sql(f"COPY ({query}) TO '{folder}/{number:05}.jsonl' (FORMAT json)")


def _rows(table: Path) -> int:
    if not DeltaTable.is_deltatable(str(table)):
        return 0
    return int(DeltaTable(str(table)).count())


def _check(bronze: Path, silver: Path, rows: int) -> None:
    held, current = (DeltaTable(str(place)).to_pyarrow_dataset() for place in (bronze, silver))
    connection = duckdb.connect()
    connection.register("bronze", held)
    connection.register("silver", current)
    offsets = "SELECT count(*), count(DISTINCT _offset), min(_offset), max(_offset) FROM bronze"
    found = connection.sql(offsets).fetchone()
    if found != (rows, rows, 0, rows - 1):
        raise WrongResult("bronze", f"{found}: rows, offsets, least, greatest")
    keys = rows // 2
    wrong = connection.sql(f"SELECT count(*), count(*) FILTER (person <> visit + {keys}) FROM silver").fetchone()
    if wrong != (keys, 0):
        raise WrongResult("silver", f"{wrong}: keys, and those whose last record is not there")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='make bench ARGS="backfill ..."', description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="how many, an even number")
    parser.add_argument("--batch-rows", type=int, default=100_000, help="records of one batch")
    parser.add_argument("--folder", help="where 3 GB are free; default is a temporary folder")
    return parser.parse_args(arguments)
