"""One `.avsc` file of `contracts/`: the schema of a plain Avro topic, whose records do not name theirs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.avro.reader import reader_of
from schemas.errors import Problem
from schemas.unreadable import Unreadable

SUFFIX: Final = ".avsc"


@dataclass(frozen=True)
class AvroFile:
    """What a file gave: its schema's text where it is right, and the problems where it is not."""

    file: Path
    text: str | None
    problems: tuple[Problem, ...] = ()


def read_avro_schema(file: Path) -> AvroFile:
    """Read one schema file; never raises for what a user wrote."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        json.loads(text)
        reader = reader_of(text)
    except json.JSONDecodeError as error:
        return _wrong(file, f"The file is not JSON: {error.msg}.", "Correct it.", error.lineno)
    except UnicodeDecodeError:
        return _wrong(file, "The file is not UTF-8.", "Save it as UTF-8.")
    except OSError as error:
        return _wrong(file, f"The file can not be read: {error.strerror}.", "Make it readable.")
    except (Unreadable, RecursionError):
        what = (
            "The file is JSON, but no Avro schema: a type is unknown, or lacks `fields`, `items`, `values` or a name."
        )
        return _wrong(file, what, "Correct it; https://avro.apache.org/docs/1.12.0/specification/ says how.")
    if not isinstance(reader.schema, dict) or reader.schema["type"] != "record":
        return _wrong(file, "The schema is not of a record, and a row of a table is one.", "Describe the record.")
    return AvroFile(file, text)


def _wrong(file: Path, what: str, remedy: str, line: int = 0) -> AvroFile:
    return AvroFile(file, None, (Problem(file, line, "", what, remedy),))
