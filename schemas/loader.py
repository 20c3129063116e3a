"""Reads a pipeline's folder and checks all of it, so that every problem is told at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.avro.file import SUFFIX as AVRO_SUFFIX
from schemas.avro.file import read_avro_schema
from schemas.column_lists import with_select
from schemas.contract_file import read_contract
from schemas.errors import InvalidPipeline, Problem
from schemas.folder import Folder
from schemas.pipeline import Pipeline
from schemas.quality.file import read_rules
from schemas.schema_set import SUFFIX, SchemaSet
from schemas.spec import BronzeSpec
from schemas.spec_file import read_spec
from schemas.validate import problems_of
from schemas.variables import read_variables

CONTRACTS: Final = "contracts"
TABLES: Final = "tables"
RULES: Final = "dq.yml"


def load(folder: Path) -> Pipeline:
    """The pipeline that `folder` describes; raises InvalidPipeline with all that is wrong, and nothing else.

    It reads `contracts/*.schema.json`, the `.avsc` files there that specs name, `tables/*.yml` and, where they are,
    `dq.yml` and `variables.yml`. Neither a JVM nor a network is needed; what only Spark's analyzer can tell (types,
    functions) is left to the service's start.
    """
    if not folder.is_dir():
        raise InvalidPipeline(
            [
                Problem(
                    folder,
                    0,
                    "",
                    "There is no such folder.",
                    "Set `pipeline` to the folder that holds `tables/`.",
                )
            ]
        )
    problems = [*_strays(folder)]
    schemas = SchemaSet.in_folder(folder / CONTRACTS)
    contracts = {
        file.name.removesuffix(SUFFIX): read_contract(file, schemas) for file in _files(folder / CONTRACTS, SUFFIX)
    }
    sound = {name: read.contract for name, read in contracts.items() if read.contract is not None}
    variables = read_variables(folder)
    problems += variables.problems
    specs = with_select([read_spec(file, variables) for file in _files(folder / TABLES, ".yml")], sound)
    if not specs:
        what = "The folder has no table: there is no file `tables/<layer>.<table>.yml`."
        problems.append(Problem(folder, 0, "", what, "Add one; README.md shows how."))
    problems += [problem for contract in contracts.values() for problem in contract.problems]
    problems += [problem for spec in specs for problem in spec.problems]
    avro_files = {file.name: file for file in _files(folder / CONTRACTS, AVRO_SUFFIX)}
    named = {spec.spec.source.writer_schema for spec in specs if isinstance(spec.spec, BronzeSpec)}
    writer_schemas = {name: read_avro_schema(file) for name, file in avro_files.items() if name in named}
    found = Folder(contracts, {spec.table: spec for spec in specs}, writer_schemas, tuple(avro_files))
    problems += problems_of(found)
    rules = read_rules(folder / RULES, found)
    problems += rules.problems
    if problems:
        raise InvalidPipeline(list(dict.fromkeys(problems)))
    return Pipeline(
        folder,
        sound,
        {spec.table: spec.spec for spec in specs if spec.spec},
        {spec.table: spec.document for spec in specs},
        rules=rules.rules,
        writer_schemas={name: read.text for name, read in writer_schemas.items() if read.text is not None},
    )


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{suffix}") if file.is_file()) if folder.is_dir() else []


def _strays(folder: Path) -> Iterator[Problem]:
    """Files that look as if they were meant to be read, but are not."""
    for file in sorted((folder / TABLES).glob("*.y*ml")) if (folder / TABLES).is_dir() else []:
        if file.suffix != ".yml":
            yield Problem(file, 0, "", "The file is not read: specs end in `.yml`.", f"Name it `{file.stem}.yml`.")
    for file in sorted((folder / CONTRACTS).glob("*.json")) if (folder / CONTRACTS).is_dir() else []:
        if not file.name.endswith(SUFFIX):
            remedy = f"Name it `{file.stem}{SUFFIX}`."
            yield Problem(file, 0, "", f"The file is not read: contracts end in `{SUFFIX}`.", remedy)
