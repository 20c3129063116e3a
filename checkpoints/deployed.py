"""What is deployed: the contracts and specs that the tables of a lake were last made to fit, kept beside them.

| path                                      | what                                                                |
|-------------------------------------------|---------------------------------------------------------------------|
| `<root>/_ops/deployed/current.json`       | which of the folders below is deployed, and which were before        |
| `<root>/_ops/deployed/<hash>/contracts/`  | as in the pipeline's folder; so are `tables/`, `dq.yml`, and others |

The pointer is written last, so that a folder which it names is whole. The same content is written once.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pyarrow import fs
from pydantic import BaseModel, ConfigDict, ValidationError

from checkpoints.lake import Lake
from schemas.avro.file import SUFFIX as AVRO_SUFFIX
from schemas.avro.file import read_avro_schema
from schemas.column_lists import with_select
from schemas.contract_file import read_contract
from schemas.errors import InvalidPipeline
from schemas.folder import Folder
from schemas.loader import CONTRACTS, RULES, TABLES, load
from schemas.pipeline import Pipeline
from schemas.quality.file import read_rules
from schemas.schema_set import SUFFIX, SchemaSet
from schemas.spec_file import read_spec
from schemas.variables import FILE as VARIABLES
from schemas.variables import read_variables

MOST_KEPT: Final = 20
"""Folders that are kept: the one that is deployed, and those before it."""

Files = Mapping[str, bytes]
"""The files of a pipeline's folder that mean something, by their path in it."""

_POINTER: Final = "current.json"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True)

    hash: str
    at: datetime


class _Pointer(BaseModel):
    """What is deployed, the newest first; a folder that was deployed again stands at its newer place alone."""

    model_config = ConfigDict(frozen=True)

    deployed: tuple[_Entry, ...] = ()


@dataclass(frozen=True)
class Deployed:
    """What is deployed: the pipeline, the hash of its files, and since when (UTC)."""

    pipeline: Pipeline
    hash: str
    at: datetime


def read(folder: Path) -> Files:
    """The files of a pipeline's folder as they are now."""
    found = {}
    for file in _files(folder):
        try:
            found[file.relative_to(folder).as_posix()] = file.read_bytes()
        except FileNotFoundError:
            continue
    return found


def save(lake: Lake, files: Files) -> bool:
    """Keep these files as what is deployed; whether anything was written."""
    return bool(files) and _Kept(lake).save(files)


def save_contracts(lake: Lake, folder: Path) -> bool:
    """Keep the contracts of a folder as deployed, beside the specs that are: those are read at the start alone.

    A contract that the folder no longer has stays: a spec may be held to it. Returns whether anything was written.
    """
    kept = _Kept(lake)
    before = kept.current()
    if before is None:
        return False
    contracts = {path: text for path, text in read(folder).items() if path.endswith(SUFFIX)}
    return kept.save({**kept.files(before.hash), **contracts})


def restore(lake: Lake, into: Path) -> Path | None:
    """Lay out what is deployed below `into`, as a folder that the loader reads; None where nothing is deployed."""
    kept = _Kept(lake)
    current = kept.current()
    if current is None:
        return None
    for path, text in kept.files(current.hash).items():
        file = into / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    return into


def load_deployed(lake: Lake) -> Deployed | None:
    """The pipeline that is deployed; None where none is, or where its files are gone.

    What was right once may be refused today: contracts that were taken up beside older specs, or a stricter loader.
    Each file that is right in itself counts then.
    """
    current = _Kept(lake).current()
    if current is None:
        return None
    with tempfile.TemporaryDirectory(prefix="sluice-deployed-") as temporary:
        folder = restore(lake, Path(temporary))
        if folder is None or not (folder / TABLES).is_dir():
            return None
        try:
            pipeline = load(folder)
        except InvalidPipeline:
            pipeline = _as_far_as_it_is_right(folder)
    return Deployed(pipeline, current.hash, current.at)


def _as_far_as_it_is_right(folder: Path) -> Pipeline:
    schemas = SchemaSet.in_folder(folder / CONTRACTS)
    contracts = [read_contract(file, schemas) for file in sorted((folder / CONTRACTS).glob(f"*{SUFFIX}"))]
    sound = {one.contract.name: one.contract for one in contracts if one.contract is not None}
    variables = read_variables(folder)
    specs = with_select([read_spec(file, variables) for file in sorted((folder / TABLES).glob("*.yml"))], sound)
    avro = {file.name: read_avro_schema(file) for file in sorted((folder / CONTRACTS).glob(f"*{AVRO_SUFFIX}"))}
    named = {one.contract.name: one for one in contracts if one.contract is not None}
    rules = read_rules(folder / RULES, Folder(named, {one.table: one for one in specs}, avro, tuple(avro)))
    return Pipeline(
        folder,
        sound,
        {one.table: one.spec for one in specs if one.spec is not None},
        rules=rules.rules,
        writer_schemas={name: one.text for name, one in avro.items() if one.text is not None},
    )


def _files(folder: Path) -> Iterator[Path]:
    """What the loader reads: nothing of an editor's, no notes."""
    for suffix in (SUFFIX, AVRO_SUFFIX):
        yield from sorted((folder / CONTRACTS).glob(f"*{suffix}"))
    yield from sorted((folder / TABLES).glob("*.yml"))
    if (variables := folder / VARIABLES).is_file():
        yield variables
    if (rules := folder / RULES).is_file():
        yield rules


class _Kept:
    """The folders of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._folder = lake, f"{lake.root}/_ops/deployed"
        self._filesystem, self._root = lake.filesystem(self._folder)

    def current(self) -> _Entry | None:
        return next(iter(self._pointer().deployed), None)

    def files(self, digest: str) -> dict[str, bytes]:
        root = f"{self._root}/{digest}"
        found = {}
        for info in self._filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)):
            if info.type == fs.FileType.File:
                with self._filesystem.open_input_stream(info.path) as stream:
                    found[info.path[info.path.index(root) + len(root) + 1 :]] = bytes(stream.read())
        return found

    def save(self, files: Files) -> bool:
        digest = _digest(files)
        before = self._pointer().deployed
        if before and before[0].hash == digest:
            return False
        if digest not in {one.hash for one in before}:  # else it is there already, and whole
            for path, text in files.items():
                self._write(f"{digest}/{path}", text)
        others = [one for one in before if one.hash != digest]
        after = _Pointer(deployed=(_Entry(hash=digest, at=datetime.now(UTC)), *others[: MOST_KEPT - 1]))
        self._write(_POINTER, after.model_dump_json().encode())
        self._forget_all_but({one.hash for one in after.deployed})
        return True

    def _pointer(self) -> _Pointer:
        try:
            text = self._lake.read(f"{self._folder}/{_POINTER}")
            return _Pointer() if text is None else _Pointer.model_validate_json(text)
        except ValidationError:
            return _Pointer()

    def _forget_all_but(self, kept: set[str]) -> None:
        for info in self._filesystem.get_file_info(fs.FileSelector(self._root)):
            if info.type == fs.FileType.Directory and info.base_name not in kept:
                self._filesystem.delete_dir(info.path)

    def _write(self, name: str, content: bytes) -> None:
        self._lake.write(f"{self._folder}/{name}", content)


def _digest(files: Files) -> str:
    """The start of a SHA-256 over the names and contents, in order."""
    digest = hashlib.sha256()
    for path, text in sorted(files.items()):
        digest.update(f"{path}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()[:16]
