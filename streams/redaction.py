"""What may be written to a log: values without secrets, messages without the data they were raised on."""

import math
import re
from collections.abc import Mapping, Sequence, Set
from typing import Final

from pydantic import SecretBytes, SecretStr

MASK: Final = "**********"
_TEXT_LIMIT: Final = 8_192
_ERROR_LIMIT: Final = 500

_NAME: Final = (
    r"(?:passw(?:or)?d|passphrase|secret|credential|jaas|auth\.user\.info|token(?!iz|s\b)"
    r"|(?:api|access|private|account|encryption|pii)[._-]?key)"
)
_SECRET_NAME: Final = re.compile(_NAME, re.IGNORECASE)
_SETTING: Final = re.compile(
    rf"""
    (?P<name> {_NAME} [\w.\-]{{0,80}} )
    (?P<sign> \\?["']? \s* [=:] \s* )
    (?: [\w.$]+ \s+ (?:required|requisite|sufficient|optional) \b [^;]* ;?   # a JAAS entry, to its semicolon
      | "(?:\\.|[^"\\])*"? | '(?:\\.|[^'\\])*'? | \\"[^"\\]*(?:\\")?
      | (?:Basic|Bearer) \s+ \S+
      | [^\s,;&)\]}}"']+ )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_URL_USER: Final = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.\-]{0,30}://)[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)
_DATA: Final = re.compile(r"(?<=value )'.*?'(?= of the type)|'[^\n]*'", re.DOTALL)


def is_secret_name(name: str) -> bool:
    """Whether a setting or field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str, limit: int = _TEXT_LIMIT) -> str:
    """
    Mask what follows a secret's name (`password=`, `sasl.jaas.config=`), users in URLs, data in data errors.

    Spark quotes the offending value in its errors of SQLSTATE class 22 ("data exception"): whatever stands
    in quotes there goes, see https://spark.apache.org/docs/latest/sql-error-conditions-sqlstates.html
    At most `limit` characters remain.
    """
    if "SQLSTATE: 22" in text:
        text = _DATA.sub("'…'", text)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    text = _SETTING.sub(lambda found: f"{found['name']}{found['sign']}{MASK}", text)
    return _URL_USER.sub(lambda found: f"{found['scheme']}{MASK}@", text)


def plain(value: object, name: str = "") -> object:
    """The value as JSON can hold it, redacted; `name` is the field that it stands under."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, SecretStr | SecretBytes) or is_secret_name(name):
        return MASK
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes | bytearray):
        return [plain(item) for item in value]
    return redact(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as unprintable:  # noqa: BLE001 - py4j asks the JVM for the text, and the JVM may be gone
        return f"(can not be read: {type(unprintable).__name__})"


def describe(error: BaseException) -> str:
    """
    Type and message of an error in one line.

    Spark appends whole plans and Java stack traces to its messages, and py4j puts the Java error on the
    second line: only the first line that says something is kept.
    """
    lines = redact(_text(error)).strip().splitlines()
    if len(lines) > 1 and lines[1].startswith(": "):
        lines = [lines[1].removeprefix(": ")]
    name = type(error).__name__
    return redact(f"{name}: {lines[0]}" if lines else name, _ERROR_LIMIT)
