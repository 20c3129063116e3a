"""What a table's own log says of its commits: when each was made, and how many bytes it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LoggedCommit:
    """One commit. `at` is when its file appeared in the log (seconds of the epoch): from then on readers see it.

    `written_bytes` are those of the data files, change files and deletion vectors that it brought.
    """

    version: int
    at: float
    adds: int
    written_bytes: int


def commits(table: str) -> list[LoggedCommit]:
    """All commits of a table that its log still has, oldest first."""
    files = sorted((Path(table) / "_delta_log").glob("*.json"))
    return [_commit(file) for file in files if file.stem.isdigit()]


def _commit(file: Path) -> LoggedCommit:
    actions = [json.loads(line) for line in file.read_text().splitlines()]
    return LoggedCommit(
        version=int(file.stem),
        at=file.stat().st_mtime,
        adds=sum("add" in action for action in actions),
        written_bytes=sum(_written(actions)),
    )


def _written(actions: list[dict[str, Any]]) -> Iterator[int]:
    """A file that is removed and added in one commit is an old one that has another deletion vector now."""
    removed = {action["remove"]["path"] for action in actions if "remove" in action}
    vectors: dict[str, int] = {}
    for action in actions:
        if "cdc" in action:
            yield int(action["cdc"]["size"])
        if "add" not in action:
            continue
        added = action["add"]
        if added["path"] not in removed:
            yield int(added["size"])
        vector = added.get("deletionVector")
        if vector and vector["storageType"] != "i":
            vectors[f"{vector['pathOrInlineDv']}@{vector.get('offset')}"] = int(vector["sizeInBytes"])
    yield from vectors.values()
