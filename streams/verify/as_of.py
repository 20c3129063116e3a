"""Silver and gold as they would have been known at an earlier time, made from bronze into a lake of their own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyarrow import fs
from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from schemas.errors import SluiceError, WrongUsage
from schemas.settings import Settings
from streams.explain import explain
from streams.graph import Graph
from streams.verify.nodes import Snapshot, all_tables
from streams.verify.run import UNREADABLE
from streams.verify.shadow import Shadows


class LocationTaken(WrongUsage):
    """The place where tables are to be made has something in it."""

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(f"--to {location}: there is something already. Name a folder that is empty, or not there.")


class LocationNotUsable(WrongUsage):
    """The place where tables are to be made can not be looked at, or is a file."""

    def __init__(self, location: str, why: str) -> None:
        self.location, self.why = location, why
        super().__init__(f"--to {location}: {why}. Name a folder that can be written.")


class NotRebuilt(SluiceError):
    """A table could not be made; what had been made before it was removed."""

    def __init__(self, table: str, why: str) -> None:
        self.table, self.why = table, why
        super().__init__(f"{table} could not be made: {why} Nothing was left in the new location.")


@dataclass(frozen=True)
class Rebuilt:
    """A table that was made: how many rows it has, and where it is."""

    table: str
    rows: int
    path: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def check_free(location: Lake) -> None:
    """See that nothing is there yet; raises LocationTaken and LocationNotUsable."""
    try:
        filesystem, path = location.filesystem(location.root)
        kind = filesystem.get_file_info(path).type
        if kind == fs.FileType.File:
            raise LocationNotUsable(location.root, "that is a file")
        if filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)):
            raise LocationTaken(location.root)
    except (OSError, ValueError) as error:
        raise LocationNotUsable(location.root, f"it can not be read ({explain(error)})") from error


def rebuild_as_of(
    graph: Graph, settings: Settings, spark: SparkSession, until: datetime, location: Lake
) -> list[Rebuilt]:
    """Make all tables of silver and gold from the rows that bronze had at a time (UTC), under the specs of today.

    What a silver table did not take stays out, unless it had gone through by then. The lake itself is only read, at
    one version of each table. Raises LocationTaken, LocationNotUsable, TableNotThere and NotRebuilt.
    """
    check_free(location)
    snapshot = Snapshot(graph)
    nodes = {name: snapshot.known_by_then(name) for name in all_tables(graph.pipeline)}
    location.ensure_writable()
    shadows = Shadows(graph, settings, spark, location.root, until)
    made: list[Rebuilt] = []
    try:
        for name, node in nodes.items():
            try:
                table = shadows.table(node)
                made.append(Rebuilt(name, table.rows or 0, table.path))
            except (SluiceError, *UNREADABLE) as error:
                raise NotRebuilt(name, explain(error)) from error
    except BaseException:
        # Half of the tables might be taken for all of them.
        filesystem, path = location.filesystem(location.root)
        filesystem.delete_dir_contents(path)
        raise
    return made
