"""The writers' schemas of Avro records, from a schema registry by their ids, fetched once per driver."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.common.schema_registry_client import _SchemaCache

from schemas.avro.names import inlined
from schemas.errors import InvalidSettings, SluiceError
from schemas.pipeline import Pipeline
from schemas.settings import RegistrySettings, Settings

MOST_UNKNOWN: Final = 100
"""Ids of one batch that the registry may not have before it is asked for no more of them: bytes that are no Avro name a
new id with each record, and a batch has time for some requests, not for hundreds of thousands."""

_LARGEST_ID: Final = 2**31 - 1
_NOT_THERE: Final = (40401, 40402, 40403)  # subject, version, schema
_REFUSED: Final = (401, 403)
_RETRIES: Final = 1  # the query itself goes on asking
_RETRY_MS: Final = 200


class RegistryUnavailable(SluiceError):
    """The schema registry does not say which schemas there are: nothing can be decoded, and nothing is at fault."""

    def __init__(self, url: str, why: str) -> None:
        self.url, self.why = url, why
        super().__init__(
            f"The schema registry at {url} {why}. The query waits and asks again; no record is rejected for it."
        )


@dataclass(frozen=True)
class _Answer:
    """A schema's text, None where there is none; `is_final` says that it will be the same whenever it is asked for."""

    text: str | None
    is_final: bool


class _NoCache(_SchemaCache):
    """The client's own cache is left empty, since ours remembers also what is not there.

    It keys by a hash of the whole schema, which confluent-kafka 2.16.0 fails to take where its metadata has tags.
    """

    def set_schema(self, *_: Any) -> None:
        """Forget it."""

    def set_registered_schema(self, *_: Any) -> None:
        """Forget it."""


class SchemaRegistry:
    """The schemas of one registry; safe to share between queries. Raises InvalidSettings where it can not be asked.

    A schema never changes under its id, so that one that was found is kept for as long as the driver lives. One that
    was not is asked for again each time: a replica may lag behind a producer's, and a missing schema may be registered.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self.url = _required_url(settings)
        self._client = _client(settings, self.url)
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
        schema = self._ask(lambda: self._client.get_schema(number))
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
            one = self._ask(lambda of=subject, at=version: self._client.get_version(of, at, True))  # type: ignore[misc]
            if one is None or self._references(one.schema, found) is None:
                return None
            del found[subject, version]
            found[subject, version] = one.schema.schema_str or ""
        return found

    def _ask(self, question: Callable[[], Any]) -> Any:
        """The answer, None for one of "there is no such"; raises RegistryUnavailable for any other failure."""
        try:
            return question()
        except SchemaRegistryError as error:
            status, code = error.http_status_code, error.error_code
            if status == 404 and code in _NOT_THERE:
                return None
            if status in _REFUSED:
                why = f"refuses the credentials (HTTP {status}); correct `registry.username` and `registry.password`"
                raise RegistryUnavailable(self.url, why) from None
            hint = ", as a schema registry does not; check `registry.url`" if status == 404 else ""
            raise RegistryUnavailable(self.url, f"answers with HTTP {status}{hint}") from None
        except httpx2.TimeoutException:
            raise RegistryUnavailable(self.url, "does not answer in time") from None
        except (httpx2.HTTPError, OSError) as error:
            raise RegistryUnavailable(self.url, f"can not be reached ({_reason(error)})") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise RegistryUnavailable(self.url, "answers, but not as a schema registry does") from None


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


def _required_url(settings: RegistrySettings) -> str:
    if settings.url is None:
        raise InvalidSettings(["registry.url: It is not set. Set it to the URL of the schema registry."])
    return settings.url


def _client(settings: RegistrySettings, url: str) -> SchemaRegistryClient:
    if (settings.username is None) != (settings.password is None):
        raise InvalidSettings(["registry.username, registry.password: One is set without the other. Set both."])
    if settings.ssl_key_location is not None and settings.ssl_certificate_location is None:
        raise InvalidSettings(
            ["registry.ssl_key_location: It is the key of no certificate. Set `registry.ssl_certificate_location`."]
        )
    options: dict[str, Any] = {
        "url": url,
        "timeout": settings.timeout_seconds,
        "max.retries": _RETRIES,
        "retries.wait.ms": _RETRY_MS,
    }
    if settings.username is not None and settings.password is not None:
        options["basic.auth.user.info"] = f"{settings.username}:{settings.password.get_secret_value()}"
    for name in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location"):
        if (path := getattr(settings, name)) is not None:
            if not path.is_file():
                raise InvalidSettings([f"registry.{name}: There is no file {path}. Name one that exists."])
            options[name.replace("_", ".")] = str(path)
    try:
        client = SchemaRegistryClient(options)
    except (ssl.SSLError, OSError):
        raise InvalidSettings(
            ["registry.ssl_*: The files hold no certificate or key that can be used. They have to be PEM files."]
        ) from None
    client._cache = _NoCache()  # type: ignore[no-untyped-call]
    return client


def _reason(error: BaseException) -> str:
    """The system's own word for it, such as `Connection refused`, without addresses or headers."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
