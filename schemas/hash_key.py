"""The secret by which personal columns are hashed: where it comes from, and what may be said of it.

A hash is HMAC-SHA-256, https://www.rfc-editor.org/rfc/rfc2104. Without the key nobody can find out what was hashed by
trying values; with it, everybody can. So it is asked of the settings alone, and is written nowhere.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import InvalidSettings
from schemas.pipeline import Pipeline
from schemas.settings import PiiSettings
from schemas.spec import ChangeSpec

LEAST_BYTES: Final = 32
"""As many as SHA-256 gives: a shorter key is easier to find than its hashes, RFC 2104 section 3."""

_BLOCK_BYTES: Final = 64
_ID_OF: Final = b"sluice: the id of this key"
_ID_DIGITS: Final = 12
_HOW: Final = "`openssl rand -hex 32` makes one; runbooks/operations/pii.md says where to keep it."


@dataclass(frozen=True)
class HashKey:
    """The key of the settings, read when it is first asked for; whoever hashes nothing needs none.

    Every property raises InvalidSettings where there is no key, or one that is of no use.
    """

    settings: PiiSettings = field(repr=False)

    @functools.cached_property
    def secret(self) -> bytes:
        """The key itself: the text's UTF-8 without what is blank around it."""
        name, text = self._given()
        secret = text.strip().encode()
        if len(secret) < LEAST_BYTES:
            what = f"{name}: It is {len(secret)} bytes long, and a key needs at least {LEAST_BYTES}."
            raise InvalidSettings([f"{what} {_HOW}"])
        return secret

    @property
    def pads(self) -> tuple[bytes, bytes]:
        """The key as HMAC's inner and outer hash begin with it."""
        secret = self.secret
        block = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK_BYTES else secret).ljust(_BLOCK_BYTES, b"\0")
        return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)

    @property
    def id(self) -> str:
        """What tells this key from another, and nothing else about it: 12 hexadecimal digits."""
        return hmac.new(self.secret, _ID_OF, hashlib.sha256).hexdigest()[:_ID_DIGITS]

    def _given(self) -> tuple[str, str]:
        key, file = self.settings.key, self.settings.key_file
        if key is not None and file is not None:
            raise InvalidSettings(["pii.key, pii.key_file: Both are set. Keep one of them."])
        if key is not None:
            return "pii.key", key.get_secret_value()
        if file is None:
            raise InvalidSettings([f"pii.key: It is not set. Set it, or `pii.key_file`. {_HOW}"])
        try:
            return "pii.key_file", file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InvalidSettings([f"pii.key_file: {file} holds no text. {_HOW}"]) from None
        except OSError as error:
            why = f"{file} can not be read: {error.strerror}"
            raise InvalidSettings([f"pii.key_file: {why}. Name a file that the service may read."]) from None


NO_KEY: Final = HashKey(PiiSettings())
"""The key of whoever has none."""


def require_key(pipeline: Pipeline, settings: PiiSettings) -> None:
    """See that there is a key where a table hashes columns; raises InvalidSettings."""
    tables = [
        name
        for name, spec in pipeline.tables.items()
        if isinstance(spec, ChangeSpec) and "hash" in spec.protections.values()
    ]
    if not tables:
        return
    if settings.key is None and settings.key_file is None:
        named = ", ".join(f"`{name}`" for name in sorted(tables))
        what = f"pii.key: It is not set, and columns of {named} are hashed with it. Set it, or `pii.key_file`."
        raise InvalidSettings([f"{what} {_HOW}"])
    _ = HashKey(settings).secret
