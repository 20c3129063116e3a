"""An exception as one line for a person: Sluice's own sentence, or what Spark says, without its stack."""

from __future__ import annotations

import re

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from schemas.errors import SluiceError
from streams.redaction import redact

_MOST = 600
_PYTHON_SENTENCE = re.compile(r"^(?:[\w.]+\.)?(\w+): (.+)$", re.MULTILINE)


def explain(error: BaseException) -> str:
    """What went wrong, on one line of at most 600 characters, without secrets and without the data it went wrong on."""
    if isinstance(error, SluiceError):
        return str(error)
    if isinstance(error, PySparkException):
        text = error.getMessage() or str(error)
    elif isinstance(error, Py4JJavaError):
        text = str(error.java_exception.toString())
    else:
        text = f"{type(error).__name__}: {error}"
    return _shortened(_innermost(redact(text)))


def _innermost(text: str) -> str:
    """Of an exception of ours that came back through the JVM, its own sentence; the last line says it."""
    if "Traceback (most recent call last)" not in text:
        return text
    found = _PYTHON_SENTENCE.findall(text)
    return f"{found[-1][0]}: {found[-1][1]}" if found else text


def _shortened(text: str) -> str:
    line = " ".join(text.split("JVM stacktrace:")[0].split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"
