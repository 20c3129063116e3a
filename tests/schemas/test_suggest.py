"""The name that was probably meant."""

from __future__ import annotations

import pytest

from schemas.suggest import did_you_mean


@pytest.mark.parametrize(
    ("word", "choices", "sentence"),
    [
        ("emial", ["email", "city"], "Did you mean `email`?"),
        ("EMAIL", ["email", "city"], "Did you mean `email`?"),
        ("xyz", ["email", "city"], "Known: `city`, `email`."),
        ("xyz", [f"column_{n}" for n in range(40)], "Otherwise."),
        ("xyz", [], "Otherwise."),
    ],
)
def test_did_you_mean(word: str, choices: list[str], sentence: str) -> None:
    assert did_you_mean(word, choices, "Otherwise.") == sentence
