"""The writers' schemas of Avro records, from a schema registry by their ids, fetched once per driver."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.avro.names import inlined
from schemas.errors import InvalidSettings
from schemas.pipeline import Pipeline
from schemas.settings import RegistrySettings, Settings

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema

MOST_UNKNOWN: Final = 100
"""Ids of one batch that the registry may not have before it is asked for no more of them: bytes that are no Avro name a
new id with each record, and a batch has time for some requests, not for hundreds of thousands."""

_LARGEST_ID: Final = 2**31 - 1


@dataclass(frozen=True)
class _Answer:
    """A schema's text, None where there is none; `is_final` says that it will be the same whenever it is asked for."""

    text: str | None
    is_final: bool


class SchemaRegistry:
    """The schemas of one registry; safe to share between queries. Raises InvalidSettings where it can not be asked.

    A schema never changes under its id, so that one that was found is kept for as long as the driver lives. One that
    was not is asked for again each time: a replica may lag behind a producer's, and a missing schema may be registered.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        # Half a second of imports, which a pipeline without Avro need not wait for.
        from streams.registry_client import RegistryClient

        self._client = RegistryClient(settings)
        self.url = self._client.url
        self._known: dict[int, str | None] = {}
        self._lock = threading.Lock()

    def writer_schemas(self, ids: Iterable[int]) -> dict[int, str | None]:
        """The Avro schemas by id, JSON text that stands alone; None for an id that is unknown, or of no Avro schema.

        Unknown is also one that refers to a schema which is not there.
        After MOST_UNKNOWN that are, the others that are new are taken for unknown as well. Raises RegistryUnavailable
        where the registry does not answer, or not as one: then nothing is known of any id.
        """
        wanted = sorted(set(ids))
        known = self._known
        if all(number in known for number in wanted):
            return {number: known[number] for number in wanted}  # without waiting for who waits for the registry
        with self._lock:
            return self._schemas(wanted)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _schemas(self, wanted: list[int]) -> dict[int, str | None]:
        found: dict[int, str | None] = {}
        unknown = 0
        for number in wanted:
            # Ids beyond 31 bits no registry gives out, and one that is asked for them may not say so in its own words.
            if number not in self._known and 0 <= number <= _LARGEST_ID and unknown < MOST_UNKNOWN:
                answer = self._fetched(number)
                found[number] = answer.text
                unknown += answer.text is None
                if answer.is_final:
                    self._known[number] = answer.text
            else:
                found[number] = self._known.get(number)
        return found

    def _fetched(self, number: int) -> _Answer:
        schema = self._client.schema(number)
        if schema is None:
            return _Answer(None, is_final=False)
        if schema.schema_type != "AVRO":
            return _Answer(None, is_final=True)
        text = schema.schema_str or ""
        if not schema.references:
            return _Answer(text, is_final=True)
        found = self._references(schema, {})
        if found is None:
            return _Answer(None, is_final=False)  # without a schema that it refers to it is none, for now
        try:
            alone = inlined(json.loads(text), [json.loads(reference) for reference in found.values()])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _Answer(text, is_final=True)
        return _Answer(json.dumps(alone), is_final=True)

    def _references(self, schema: Schema, found: dict[tuple[str, int], str]) -> dict[tuple[str, int], str] | None:
        """The texts of all that a schema refers to, those first that others refer to; None where one is missing."""
        for reference in schema.references or ():
            subject, version = str(reference.subject), int(reference.version or 0)
            if (subject, version) in found:
                continue
            found[subject, version] = ""  # so that a circle comes to an end
            one = self._client.version(subject, version)
            if one is None or self._references(one.schema, found) is None:
                return None
            del found[subject, version]
            found[subject, version] = one.schema.schema_str or ""
        return found


def registry_for(pipeline: Pipeline, settings: Settings) -> SchemaRegistry | None:
    """The registry that a pipeline's topics need, None where they need none; raises InvalidSettings.

    It is not asked for anything yet: a registry that is down does not keep the service from starting.
    """
    asking = [spec.table for spec in pipeline.bronze if spec.source.asks_registry]
    if not asking:
        return None
    if settings.registry.url is None:
        tables = ", ".join(f"`{table}`" for table in asking)
        raise InvalidSettings(
            [f"registry.url: It is not set, and {tables} can not be decoded without the schema registry. Set it."]
        )
    return SchemaRegistry(settings.registry)
