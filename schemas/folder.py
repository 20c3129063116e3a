"""The files of a pipeline as they were read, broken ones included, for the checks between them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.avro.file import AvroFile
from schemas.contract import Contract
from schemas.contract_file import ContractFile
from schemas.errors import Problem
from schemas.spec import TableSpec
from schemas.spec_file import SpecFile
from schemas.sql import NotSql
from schemas.table_columns import Names, column_names


@dataclass(frozen=True)
class Folder:
    """All files of a pipeline, by the name of the contract or table that they are for.

    `writer_schemas` are the `.avsc` files that specs name, by the file's name; `avro_files` all that there are.
    """

    contracts: Mapping[str, ContractFile]
    tables: Mapping[str, SpecFile]
    writer_schemas: Mapping[str, AvroFile] = field(default_factory=dict)
    avro_files: tuple[str, ...] = ()

    @functools.cached_property
    def specs(self) -> Mapping[str, TableSpec]:
        """The specs that are right in themselves."""
        return {name: read.spec for name, read in self.tables.items() if read.spec is not None}

    @functools.cached_property
    def sound_contracts(self) -> Mapping[str, Contract]:
        """The contracts that are right in themselves."""
        return {name: read.contract for name, read in self.contracts.items() if read.contract is not None}

    @functools.cached_property
    def names(self) -> Callable[[str], Names | None]:
        """The columns of a table by its name; see `column_names`."""
        return column_names(self.specs, self.sound_contracts)

    def problem(self, table: str, path: tuple[str | int, ...], what: str, remedy: str, row: int = 0) -> Problem:
        """A problem at `path` of a spec; with `row`, in that line of the SQL there."""
        read = self.tables[table]
        line = read.document.line_within(row, *path) if row else read.document.line(*path)
        return Problem(read.file, line, ".".join(part for part in path if isinstance(part, str)), what, remedy)

    def not_sql(self, table: str, path: tuple[str | int, ...], error: NotSql) -> Problem:
        """The problem of SQL that does not parse."""
        return self.problem(table, path, f"This is not SQL that Spark reads: {error.why}.", "Correct it.", error.row)
