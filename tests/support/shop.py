"""The shop's events as the bytes of records, without a registry."""

from __future__ import annotations

from dataclasses import asdict

from deploy.embedded.behavior import SCHEMA, BehaviorEvent
from tests.support.avro import confluent

SCHEMA_ID = 1


def encoded(event: BehaviorEvent) -> bytes:
    """As Confluent's serialiser writes it where the registry gave its schema SCHEMA_ID."""
    return confluent(SCHEMA_ID, SCHEMA, asdict(event))
