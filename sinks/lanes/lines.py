"""The files of an error lane: JSON lines, read as Arrow in pieces of a few megabytes, whatever a file's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from pyarrow import fs

from sinks.errors import UnreadableLaneFile

_PIECE_BYTES = 4 << 20


def batches(
    table: str, filesystem: fs.FileSystem, file: str, schema: pa.Schema, needed: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The lines of one file as batches of `schema`; fields that it does not name are passed over unread.

    A file that is gone has no lines: its batch was run again, or its day has expired. Raises UnreadableLaneFile where
    a line is not JSON, has another type in a field, or lacks one that is `needed`.
    """
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for number, piece in enumerate(_pieces(filesystem, file), start=1):
        # One block: a line may be longer than the 1 MB that Arrow reads at once otherwise.
        read = pj.ReadOptions(use_threads=False, block_size=len(piece) + 1)
        try:
            found = pj.read_json(pa.BufferReader(piece), read_options=read, parse_options=parse).combine_chunks()
            found.validate(full=True)
        except pa.ArrowInvalid:
            # What Arrow says of it may quote the line.
            where = "it" if number == 1 else "the rest of it"
            raise UnreadableLaneFile(table, file, f"{where} is not JSON lines of a lane's fields") from None
        missing = [name for name in needed if found[name].null_count]
        if missing:
            raise UnreadableLaneFile(table, file, f"a line has no `{missing[0]}`")
        yield from found.to_batches()


def count(filesystem: fs.FileSystem, file: str) -> int:
    """How many lines a file has, whatever is in them; 0 where it is gone."""
    return sum(1 for piece in _pieces(filesystem, file) for line in piece.split(b"\n") if line.strip())


def _pieces(filesystem: fs.FileSystem, file: str) -> Iterator[bytes]:
    """Whole lines of a few megabytes together; longer where one line is."""
    try:
        with filesystem.open_input_stream(file) as stream:
            rest = b""
            while read := stream.read(_PIECE_BYTES):
                lines, newline, rest_of_read = read.rpartition(b"\n")
                if not newline:
                    rest += read
                    continue
                yield rest + lines
                rest = rest_of_read
            if rest.strip():
                yield rest
    except FileNotFoundError:
        return


def first_rules(violations: pa.ListArray) -> pa.StringArray:
    """The rule of each record's first violation, which is the one that it is counted by."""
    starts = violations.offsets[: len(violations)]
    has_any = pc.greater(pc.fill_null(pc.list_value_length(violations), 0), 0)
    at = pc.if_else(has_any, starts, pa.scalar(None, starts.type))
    return pc.struct_field(violations.values, "rule").take(at)
