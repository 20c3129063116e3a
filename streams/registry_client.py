"""Questions to a schema registry, by Confluent's client: each has an answer, or none, or a reason in one sentence."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final

import httpx2
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.common.schema_registry_client import _SchemaCache

from schemas.errors import InvalidSettings
from schemas.settings import RegistrySettings
from streams.errors import RegistryUnavailable

_NOT_THERE: Final = (40401, 40402, 40403)  # subject, version, schema
_REFUSED: Final = (401, 403)
_RETRIES: Final = 1  # the query itself goes on asking
_RETRY_MS: Final = 200


class _NoCache(_SchemaCache):
    """The client's own cache is left empty, since ours remembers also what is not there.

    It keys by a hash of the whole schema, which confluent-kafka 2.16.0 fails to take where its metadata has tags.
    """

    def set_schema(self, *_: Any) -> None:
        """Forget it."""

    def set_registered_schema(self, *_: Any) -> None:
        """Forget it."""


class RegistryClient:
    """The client of one registry. Raises InvalidSettings where it can not be asked."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.url = _required_url(settings)
        self._client = _client(settings, self.url)

    def schema(self, number: int) -> Schema | None:
        """The schema of an id, None where there is none; raises RegistryUnavailable."""
        found: Schema | None = self._ask(lambda: self._client.get_schema(number))
        return found

    def version(self, subject: str, version: int) -> RegisteredSchema | None:
        """A version of a subject, deleted or not, None where there is none; raises RegistryUnavailable."""
        found: RegisteredSchema | None = self._ask(lambda: self._client.get_version(subject, version, True))
        return found

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

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
