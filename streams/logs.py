"""
The service's log: one event per line on standard error, JSON for machines, coloured text on a terminal.

A line has `time` (UTC, milliseconds), `level`, `event`; then `query`, `table`, `run_id`, `batch_id` where
known, any other field, `logger`; for errors `error` (type and message) and `stack`. Secrets are masked
(redaction.py).
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal

from streams.log_lines import TREE, ConsoleHandler, JsonHandler

Format = Literal["auto", "json", "console"]

_bound: Final[ContextVar[Mapping[str, object] | None]] = ContextVar("sluice_log_context", default=None)


@dataclass(frozen=True, slots=True)
class Logger:
    """A named logger: the event is a short constant sentence, what varies goes into its fields."""

    name: str

    def debug(self, event: str, /, **fields: object) -> None:
        """Log a detail for whoever develops."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Log something that happened as it should."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Log something that the service helps itself out of, and that an operator may want to know."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Log something that failed; an exception given as a field is written as its type and message."""
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """Log something that failed with the exception in hand, as `error` and `stack`."""
        self._log(logging.ERROR, event, fields, sys.exception())

    def _log(self, level: int, event: str, fields: Mapping[str, object], error: BaseException | None = None) -> None:
        logger = logging.getLogger(f"{TREE}.{self.name}")
        if logger.isEnabledFor(level):
            _hand_over(logger, level, event, fields, error)


def get(name: str) -> Logger:
    """The logger of a module: `log = logs.get(__name__)`."""
    return Logger(name)


def configure(level: str, format: Format) -> None:  # noqa: A002 - the setting's own name
    """
    Send the log to standard error, our own from `level` on and everybody else's from WARNING on.

    `auto` is `console` on a terminal and `json` elsewhere. Uncaught exceptions and Python warnings become
    events too. Harmless when repeated: the last call counts.
    """
    console = format == "console" or (format == "auto" and sys.stderr.isatty())
    handler = ConsoleHandler() if console else JsonHandler()
    handler.addFilter(_Bound())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(TREE).setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


@contextlib.contextmanager
def context(**fields: object) -> Iterator[None]:
    """Add the fields to every event that this thread or task logs within; inner values win."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def relay(logger: str, level: str, event: str, seconds: float | None, fields: Mapping[str, object]) -> None:
    """Log an event that happened outside of Python, at `seconds` since the epoch (now, if not known)."""
    to = logging.getLogger(logger)
    number = logging.getLevelNamesMapping().get(level, logging.WARNING)
    if to.isEnabledFor(number):
        _hand_over(to, number, event, fields, None, seconds)


def _hand_over(
    logger: logging.Logger,
    level: int,
    event: str,
    fields: Mapping[str, object],
    error: BaseException | None,
    seconds: float | None = None,
) -> None:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(logger.name, level, "", 0, event, None, exc_info)
    record.__dict__["fields"] = fields
    record.created = record.created if seconds is None else seconds
    logger.handle(record)


class _Bound(logging.Filter):
    """Puts the context's fields into every record that reaches the handler, foreign ones too."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.__dict__["fields"] = {**(_bound.get() or {}), **record.__dict__.get("fields", {})}
        return True


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _hand_over(logging.getLogger(TREE), logging.CRITICAL, "uncaught exception", {}, error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        fields = {"thread": args.thread.name if args.thread else None}
        _hand_over(logging.getLogger(TREE), logging.ERROR, "uncaught exception", fields, args.exc_value)
