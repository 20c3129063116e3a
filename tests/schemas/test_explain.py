"""Every pattern in the models has words for a person."""

from __future__ import annotations

import re

from pydantic import BaseModel

from schemas.explain import PATTERNS
from schemas.settings import Settings
from schemas.spec import BronzeSpec, CurrentSpec, DerivedSpec, HistorySpec, Scd2Spec


def test_every_pattern_of_the_models_is_explained() -> None:
    models: list[type[BaseModel]] = [BronzeSpec, CurrentSpec, HistorySpec, Scd2Spec, DerivedSpec, Settings]
    used = {found for model in models for found in patterns(model.model_json_schema())}
    assert used == set(PATTERNS)
    assert all(re.compile(pattern) for pattern in used)


def patterns(schema: object) -> set[str]:
    if isinstance(schema, dict):
        nested = {one for value in schema.values() for one in patterns(value)}
        return nested | ({schema["pattern"]} if isinstance(schema.get("pattern"), str) else set())
    return {one for item in schema for one in patterns(item)} if isinstance(schema, list) else set()
