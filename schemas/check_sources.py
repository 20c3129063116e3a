"""Checks of what bronze specs say about the bytes of their topics."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import Problem
from schemas.folder import Folder
from schemas.spec import BronzeSpec
from schemas.suggest import did_you_mean


def source_problems(folder: Folder) -> Iterator[Problem]:
    """Words of Avro at other formats, plain Avro without its schema, schema files that are missing or wrong."""
    for table, spec in folder.specs.items():
        if isinstance(spec, BronzeSpec):
            yield from _words(folder, table, spec)
            yield from _pull(folder, table, spec)
            yield from _writer_schema(folder, table, spec)
    for read in folder.writer_schemas.values():
        yield from read.problems


def _words(folder: Folder, table: str, spec: BronzeSpec) -> Iterator[Problem]:
    source = spec.source
    given = source.model_fields_set
    if not source.is_avro:
        for word in ("encoding", "writer_schema"):
            if word in given:
                what = f"Only Avro has `{word}`, and the format is `{source.format}`."
                avro = "debezium-avro" if source.is_debezium else "avro"
                yield folder.problem(table, ("source", word), what, f"Remove it, or write `format: {avro}`.")
    elif source.encoding == "plain" and source.writer_schema is None:
        what = "Plain Avro does not tell the schema that it was written with."
        remedy = "Name it with `writer_schema`, a file in `contracts/`."
        yield folder.problem(table, ("source", "encoding"), what, remedy)
    elif source.encoding == "confluent" and source.writer_schema is not None:
        what = "Each record in Confluent's format names its schema, so that no file is asked for it."
        remedy = "Remove it, or write `encoding: plain`."
        yield folder.problem(table, ("source", "writer_schema"), what, remedy)


def _pull(folder: Folder, table: str, spec: BronzeSpec) -> Iterator[Problem]:
    """A pulled table: of one relation, with keys, in JSON."""
    pull = spec.source.jdbc
    if pull is None:
        return
    if (pull.table is None) == (pull.query is None):
        what = "It is read from a `table` or by a `query`: from one of them."
        yield folder.problem(table, ("source", "jdbc"), what, "Write one of the two.")
    if not spec.keys:
        what = "Rows that are pulled twice are told by their keys and their watermark."
        yield folder.problem(table, ("source", "jdbc"), what, "Name the `keys` of the table.")
    if spec.source.format != "json":
        what = "Rows of a database become JSON."
        yield folder.problem(table, ("source", "format"), what, "Remove it.")
    if pull.partitions > 1 and pull.partition_column is None:
        what = "Several connections part the rows by a number."
        yield folder.problem(table, ("source", "jdbc", "partitions"), what, "Name it as `partition_column`.")
    for other, theirs in folder.specs.items():
        key = theirs.source.jdbc.watermark_state_key if isinstance(theirs, BronzeSpec) and theirs.source.jdbc else None
        if other < table and key is not None and _kept_as(key) == _kept_as(pull.watermark_state_key):
            what = f"The watermark of {other} is kept under this key: one table would leave out rows of the other."
            yield folder.problem(table, ("source", "jdbc", "watermark_state_key"), what, "Name another.")


def _kept_as(key: str) -> str:
    """What a store makes of a key."""
    return key.strip("/").replace("/", ".")


def _writer_schema(folder: Folder, table: str, spec: BronzeSpec) -> Iterator[Problem]:
    name = spec.source.writer_schema
    if name is not None and spec.source.is_avro and name not in folder.writer_schemas:
        remedy = did_you_mean(name, folder.avro_files, f"Add `contracts/{name}`.")
        yield folder.problem(table, ("source", "writer_schema"), f"There is no file `contracts/{name}`.", remedy)
