"""The key of hashed columns: where it comes from, what is refused, and that it is never said."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from pydantic import SecretStr

from schemas.errors import InvalidSettings
from schemas.hash_key import NO_KEY, HashKey, require_key
from schemas.loader import load
from schemas.settings import PiiSettings, Settings

KEY = "canary-" + "k" * 25
SHOP = Path(__file__).parents[2] / "schemas"


def of(key: str) -> HashKey:
    return HashKey(PiiSettings(key=SecretStr(key)))


def sentence(key: HashKey) -> str:
    with pytest.raises(InvalidSettings) as raised:
        _ = key.secret
    [complaint] = raised.value.complaints
    return complaint


@pytest.mark.parametrize("size", [32, 63, 64, 65, 200])
def test_the_pads_are_those_of_hmac(size: int) -> None:
    key = "k" * size
    inner, outer = of(key).pads
    by_hand = hashlib.sha256(outer + hashlib.sha256(inner + b"x").digest()).hexdigest()
    assert by_hand == hmac.new(key.encode(), b"x", hashlib.sha256).hexdigest()


def test_a_key_may_stand_in_a_file_whose_last_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    key = HashKey(PiiSettings(key_file=file))
    assert key.secret == KEY.encode()
    assert key.id == of(KEY).id != of(KEY[::-1]).id


def test_what_is_no_key_is_refused_without_being_said(tmp_path: Path) -> None:
    short, raw = tmp_path / "short", tmp_path / "raw"
    short.write_text("canary-short\n")
    raw.write_bytes(b"\xff" * 40)
    both = PiiSettings(key=SecretStr(KEY), key_file=short)
    assert sentence(NO_KEY).startswith("pii.key: It is not set. Set it, or `pii.key_file`. `openssl rand -hex 32` ")
    assert sentence(HashKey(both)) == "pii.key, pii.key_file: Both are set. Keep one of them."
    assert sentence(HashKey(PiiSettings(key_file=raw))).startswith(f"pii.key_file: {raw} holds no text.")
    assert "can not be read: No such file or directory." in sentence(HashKey(PiiSettings(key_file=tmp_path / "none")))
    for given in (of("canary-short"), HashKey(PiiSettings(key_file=short))):
        said = sentence(given)
        assert "It is 12 bytes long, and a key needs at least 32." in said
        assert "canary" not in said


def test_a_key_is_not_in_what_is_printed_of_it() -> None:
    key = of(KEY)
    assert key.secret
    assert KEY not in repr(key) + str(key) + repr(key.settings) + key.id


def test_the_service_needs_one_where_something_is_hashed(tmp_path: Path) -> None:
    shop = load(SHOP)
    with pytest.raises(InvalidSettings, match=r"`silver\.customers`, `silver\.customers_history` are hashed"):
        require_key(shop, Settings().pii)
    with pytest.raises(InvalidSettings, match="at least 32"):
        require_key(shop, PiiSettings(key=SecretStr("short")))
    require_key(shop, PiiSettings(key=SecretStr(KEY)))
