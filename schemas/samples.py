"""Sample records from a file: one JSON object a line, or an array of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from schemas import debezium, unavailable
from schemas.errors import InvalidPipeline, Problem

MOST_PROBLEMS: Final = 20


class NotInferable(InvalidPipeline):
    """A contract can not be inferred from a file; all that is wrong with it is listed."""


def read_samples(file: Path, *, is_debezium: bool = False) -> list[dict[str, Any]]:
    """The records of a file; raises NotInferable.

    Envelopes of Kafka Connect (`schema` and `payload`) are taken off. With `is_debezium` the rows are those of
    `after`, without the fields that were not sent; deletes, truncates and what is about no row are passed over.
    """
    text = file_bytes(file)
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    for line, pointer, value in _values(file, text, problems):
        record = _unwrapped(value)
        what = remedy = ""
        if record is None and is_debezium:
            continue
        if not isinstance(record, dict):
            what, remedy = "It is not a JSON object.", "Give one object for each record."
        elif not is_debezium:
            rows.append(record)
        elif debezium.without_row(record) is not None:
            continue
        elif record.get(debezium.OP) not in debezium.OPS:
            what, remedy = "It has no Debezium `op`.", "Leave `--debezium` away, or give change events."
        elif isinstance(row := record.get(debezium.AFTER), dict):
            rows.append(unavailable.without(row, unavailable.names_in(row)))
        if what:
            problems.append(Problem(file, line, pointer, what, remedy))
        if len(problems) >= MOST_PROBLEMS:
            break
    if not problems and not any(rows):
        what = "It holds no record with fields."
        problems.append(Problem(file, 0, "", what, "Give some records, as many different ones as there are."))
    if problems:
        raise NotInferable(problems)
    return rows


def file_bytes(file: Path) -> bytes:
    """What a file holds; raises NotInferable."""
    try:
        return file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError:
        raise NotInferable([Problem(file, 0, "", "There is no such file.", "Name one that exists.")]) from None
    except OSError as error:
        what = f"The file can not be read: {error.strerror}."
        raise NotInferable([Problem(file, 0, "", what, "Make it readable.")]) from None


def _values(file: Path, text: bytes, problems: list[Problem]) -> Iterator[tuple[int, str, Any]]:
    """(line, JSON pointer, value) of each record; what is not JSON is added to the problems."""
    try:
        whole = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if text.lstrip().startswith(b"["):
            problems.append(_not_json(file, error.lineno, error))
            return
    else:
        yield from (
            ((0, f"/{index}", one) for index, one in enumerate(whole)) if isinstance(whole, list) else ((1, "", whole),)
        )
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, "", orjson.loads(line)
        except orjson.JSONDecodeError as error:
            problems.append(_not_json(file, number, error))


def _not_json(file: Path, line: int, error: orjson.JSONDecodeError) -> Problem:
    return Problem(file, line, "", f"It is not JSON: {error.msg}.", "Correct it: one record a line, or one array.")


def _unwrapped(value: Any) -> Any:
    is_envelope = isinstance(value, dict) and value.keys() == {"schema", "payload"}
    return value["payload"] if is_envelope else value
