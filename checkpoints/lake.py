"""Where everything lies below the root of a lake."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from pyarrow import fs

from checkpoints import s3
from checkpoints.errors import LakeNotWritable, UnknownStore

_GENERATION = re.compile(r"^g(-?\d+)$")


def filesystem_of(path: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or URI, and the path as that file system names it."""
    if "://" not in path:
        return fs.LocalFileSystem(), path
    if s3.is_on_s3(path):
        bucket, key = s3.bucket_and_key(path)
        return s3.filesystem(bucket), f"{bucket}/{key}"
    filesystem, inner = fs.FileSystem.from_uri(path)
    return filesystem, str(inner)


@dataclass(frozen=True)
class Lake:
    """The layout of one lake.

    | path                                                          | what                                   |
    |---------------------------------------------------------------|----------------------------------------|
    | `<root>/<layer>/<table>`                                      | a Delta table                          |
    | `<root>/_checkpoints/<query>/g<N>`                            | Spark's checkpoint, one per generation |
    | `<root>/_tombstones/<layer>/<table>`                          | what was deleted from it               |
    | `<root>/_errors/<layer>/<table>/dt=<date>/run_id=<uuid>`      | the rejected records of one batch      |

    `token` is the number of the lease under which this process writes; None for who only reads, and in tests of parts.
    """

    root: str
    token: int | None = field(default=None, compare=False)

    @classmethod
    def at(cls, root: str, token: int | None = None) -> Lake:
        """The lake at a path, which is made absolute, or at a URI of S3's; raises UnknownStore for any other."""
        if s3.is_on_s3(root) and s3.bucket_and_key(root)[0]:
            s3.tell_delta()
            return cls(s3.uri(root).rstrip("/"), token)
        scheme, separator, path = root.partition("://")
        if separator and scheme != "file":
            raise UnknownStore(root)
        return cls(str(Path(path if separator else root).expanduser().resolve()), token)

    def table(self, name: str) -> str:
        """The folder of a table."""
        layer, table = name.split(".")
        return f"{self.root}/{layer}/{table}"

    def errors(self, name: str) -> str:
        """The folder of a table's error lane."""
        layer, table = name.split(".")
        return f"{self.root}/_errors/{layer}/{table}"

    def tombstones(self, name: str) -> str:
        """The folder of what was deleted from a table."""
        layer, table = name.split(".")
        return f"{self.root}/_tombstones/{layer}/{table}"

    def checkpoint(self, query: str, generation: int) -> str:
        """The folder of a query's checkpoint in one generation."""
        return f"{self.root}/_checkpoints/{query}/g{generation}"

    def generation(self, query: str) -> int:
        """The newest generation of a query's checkpoint; 0 where there is none yet."""
        return max((number for number in self.generations(query) if number >= 0), default=0)

    def generations(self, query: str) -> list[int]:
        """The numbers of all generations that have a checkpoint: those of a query, and below 0 those of backfills."""
        filesystem, path = self.filesystem(f"{self.root}/_checkpoints/{query}")
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(int(match[1]) for info in found if (match := _GENERATION.match(info.base_name)))

    def filesystem(self, path: str) -> tuple[fs.FileSystem, str]:
        """The file system of a path below this lake, and the path as that file system names it."""
        return filesystem_of(path)

    def read(self, path: str) -> bytes | None:
        """A file, whole; None where there is none."""
        if s3.is_on_s3(path):
            return s3.get(path)
        try:
            return Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, content: bytes) -> None:
        """Write a file, in the place of one that is there; nobody ever reads half of it."""
        if s3.is_on_s3(path):
            s3.put(path, content)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{uuid.uuid4().hex}.part")
        part.write_bytes(content)
        part.replace(file)

    def remove(self, path: str) -> bool:
        """Remove a file; whether it was there."""
        if s3.is_on_s3(path):
            return s3.remove(path)
        try:
            Path(path).unlink()
        except FileNotFoundError:
            return False
        return True

    def ensure_writable(self) -> None:
        """Create the root and write a file there; raises LakeNotWritable."""
        probe = f"{self.root}/.writable-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"")
            self.remove(probe)
        except OSError as error:
            raise LakeNotWritable(self.root, error.strerror or str(error)) from error
