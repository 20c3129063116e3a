"""The driver's engine in several threads: what is merged is freed without waiting for the interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import io, sys, threading
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from sinks.engine import owned

def rows(count):
    made = pa.table({"id": list(range(count)), "v": [f"x{n}" for n in range(count)]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made, max_chunksize=200)
    # Buffers that are Python bytes, as those of DataFrame.toArrow.
    return pa.ipc.open_stream(io.BytesIO(sink.getvalue().to_pybytes())).read_all()

def merges(path):
    for _ in range(30):
        merger = DeltaTable(path).merge(owned(rows(2000)), "s.id = t.id", source_alias="s", target_alias="t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()

def feeds(path):
    for _ in range(60):
        table = DeltaTable(path)
        pa.table(table.load_cdf(max(0, table.version() - 2), table.version()))

paths = [f"{sys.argv[1]}/{name}" for name in "ab"]
for path in paths:
    write_deltalake(path, rows(10), configuration={"delta.enableChangeDataFeed": "true"})
threads = [threading.Thread(target=work, args=(path,)) for path in paths for work in (merges, feeds)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("all done")
"""
FROZEN_SECONDS = 240.0


def test_merges_beside_feeds_do_not_freeze(tmp_path: Path) -> None:
    """In a process of its own: where it froze, nothing within it could say so."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=FROZEN_SECONDS,
        check=False,
    )

    assert done.stdout.strip() == "all done", done.stderr
