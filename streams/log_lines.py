"""How an event of the log is written: as a JSON line, or as a coloured line on a terminal."""

import contextlib
import json
import logging
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.text import Text

from streams.redaction import describe, plain, redact

TREE: Final = "sluice"

_FIRST: Final = ("query", "table", "run_id", "batch_id")
_OURS: Final = frozenset({"time", "level", "event", "logger"})
_STACK_LIMIT: Final = 32_768
_STYLES: Final = {"DEBUG": "dim", "INFO": "green", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class LineHandler(logging.Handler, ABC):
    """Writes a line per event to the present standard error; a log that can not be written stops nobody."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the event, or drop it where standard error is closed or broken: nowhere is left to say so."""
        with contextlib.suppress(Exception):
            self.write(as_fields(record))

    @abstractmethod
    def write(self, line: dict[str, object]) -> None:
        """Write the event's fields."""


class JsonHandler(LineHandler):
    """A JSON object per line."""

    def write(self, line: dict[str, object]) -> None:
        """Write the event's fields in one call, so that lines of several threads do not mix."""
        text = json.dumps(line, ensure_ascii=False) + "\n"
        # What UTF-8 can not hold (half of a surrogate pair) leaves as JSON's own escape.
        sys.stderr.write(text.encode(errors="backslashreplace").decode())
        sys.stderr.flush()


class ConsoleHandler(LineHandler):
    """A line for people: time (UTC), level, event, fields; the error and its stack below."""

    def write(self, line: dict[str, object]) -> None:
        """Write the event's fields; rich leaves the colours out where they are not wanted (NO_COLOR)."""
        level = str(line["level"])
        text = Text()
        text.append(f"{str(line['time'])[11:19]} ", style="dim")
        text.append(f"{level:<8} ", style=_STYLES.get(level, ""))
        text.append(str(line["event"]))
        for key, value in line.items():
            if key not in _OURS | {"error", "stack"}:
                text.append(f"  {key}=", style="dim").append(str(value))
        if "error" in line:
            text.append(f"\n         {line['error']}", style="red")
        if "stack" in line:
            text.append("\n" + str(line["stack"]).rstrip(), style="dim")
        Console(stderr=True).print(text, soft_wrap=True, highlight=False)


def as_fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields of an event as they are written; one that takes a name of ours gets a `_` behind it."""
    fields: Mapping[str, object] = record.__dict__.get("fields", {})
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    line: dict[str, object] = {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname,
        "event": redact(record.getMessage()),
    }
    for key in (*(key for key in _FIRST if fields.get(key) is not None), *fields):
        line[f"{key}_" if key in _OURS else key] = plain(fields[key], key)
    line["logger"] = record.name.removeprefix(f"{TREE}.")
    if record.exc_info and record.exc_info[1] is not None:
        line["error"] = describe(record.exc_info[1])
        line["stack"] = redact(_stack(record.exc_info[1]), _STACK_LIMIT)
    return line


def _stack(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - py4j asks the JVM for an error's text, and the JVM may be gone
        return "".join(traceback.format_tb(error.__traceback__))
