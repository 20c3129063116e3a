"""Tables beside their rebuilds, one after the other; one that can not be compared stops no other."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JError
from pyarrow import fs
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from schemas.errors import InvalidSettings, SluiceError, WrongUsage
from schemas.settings import Settings
from sinks.pinned import PinnedTable
from streams import logs
from streams.explain import explain
from streams.graph import Graph
from streams.verify.compare import compare, compared_columns
from streams.verify.nodes import Node, Snapshot, key_of, sampled
from streams.verify.private import private_key
from streams.verify.report import Verification
from streams.verify.sample import SampleAsked
from streams.verify.shadow import Shadows

log = logs.get(__name__)

UNREADABLE = (OSError, pa.ArrowException, DeltaError, PySparkException, Py4JError)
"""What reading or rebuilding a table may fail with, beside errors of Sluice's own."""


@dataclass(frozen=True)
class Asked:
    """How tables are verified: which keys, how many of those that differ are named, and whether the rebuild stays."""

    sample: SampleAsked | None = None
    shown: int = 20
    keep: bool = False


def verify_tables(
    graph: Graph, settings: Settings, spark: SparkSession, tables: Sequence[str], asked: Asked
) -> Iterator[Verification]:
    """Rebuild tables of silver and gold from bronze, and compare them with those in the lake, row for row.

    1. Look up, for all of the tables first, which versions belong together; whatever is committed later is not read.
    2. Rebuild each with what is above it, below `_verify/` in the lake.
    3. Compare.

    Raises WrongUsage where the sample fits a table's key not at all, and InvalidSettings.
    """
    # 1
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    root = f"{graph.lake.root}/_verify/{run}"
    nodes = {name: _node(graph, snapshot, name, asked) for snapshot in [Snapshot(graph)] for name in tables}
    shadows = Shadows(graph, settings, spark, root)
    try:
        for name, node in nodes.items():
            if isinstance(node, str):
                yield Verification(name, problem=node)
                continue
            try:
                # 2, 3
                yield _verify(graph, spark, shadows, node, asked)
            except (InvalidSettings, WrongUsage):
                raise
            except SluiceError as error:
                yield Verification(name, node.version, problem=str(error))
            except UNREADABLE as error:
                yield Verification(name, node.version, problem=f"{name} could not be verified: {explain(error)}")
    finally:
        if not asked.keep:
            remove(graph.lake, root)


def _node(graph: Graph, snapshot: Snapshot, name: str, asked: Asked) -> Node | str:
    """What a table is rebuilt from, or why it can not be."""
    sample = asked.sample.of(name, key_of(graph.pipeline.tables[name])) if asked.sample else None
    try:
        node = snapshot.newest(name)
        if sample is None:
            return node
        sample.check(graph.tables[name].schema())
        return sampled(node, sample, graph)
    except WrongUsage:
        raise
    except SluiceError as error:
        return str(error)
    except UNREADABLE as error:
        return f"{name} could not be read: {explain(error)}"


def _verify(graph: Graph, spark: SparkSession, shadows: Shadows, node: Node, asked: Asked) -> Verification:
    spec = graph.pipeline.tables[node.table]
    rebuilt = shadows.table(node)
    live = PinnedTable(node.table, graph.lake, node.version).read(spark)
    new = rebuilt.read(spark)
    if node.sample is not None:
        live, new = (frame.where(node.sample.condition(frame.schema)) for frame in (live, new))
    found = compare(spec, live, new, shown=asked.shown, private=private_key(graph.pipeline, node.table))
    _, only_live, only_rebuilt = compared_columns(spec, live.schema, new.schema)
    return Verification(
        node.table,
        node.version,
        node.bronze(),
        found.rows,
        found.rebuilt_rows,
        found.equal,
        found.found,
        found.differences,
        tuple(_notes(node, only_live, only_rebuilt)),
        kept=rebuilt.path if asked.keep else None,
    )


def _notes(node: Node, only_live: Sequence[str], only_rebuilt: Sequence[str]) -> Iterator[str]:
    for name in node.unread:
        yield f"it has consumed nothing of {name} as it is now, and is compared with what it would be without it"
    if only_live:
        yield f"its spec no longer asks for {', '.join(only_live)}: not compared"
    if only_rebuilt:
        yield f"it does not have {', '.join(only_rebuilt)} yet, which its spec asks for: not compared"


def remove(lake: Lake, path: str) -> None:
    """Remove a folder with all that is in it; where that fails, say so and go on."""
    filesystem, inner = lake.filesystem(path)
    try:
        if filesystem.get_file_info(inner).type == fs.FileType.Directory:
            filesystem.delete_dir(inner)
    except OSError as error:
        log.warning("a folder could not be removed", path=path, error=explain(error), remedy="Remove it by hand.")
