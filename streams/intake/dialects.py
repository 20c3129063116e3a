"""What differs between the databases that rows are pulled from: how they are reached, and a few words of SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.settings import SourceSettings
from streams.intake.errors import NoBackfill


@dataclass(frozen=True)
class Dialect:
    """One kind of database; `driver` is the class of its JDBC driver, `jar` what to look for where it is missing."""

    name: str
    driver: str
    jar: str
    default_port: int

    def url(self, source: SourceSettings) -> str:
        """Its JDBC address; user and password are given beside it."""
        host, database = source.host or "", source.database or ""
        if self.name == "snowflake":
            return (
                f"jdbc:snowflake://{host}/?db={database}&CLIENT_SESSION_KEEP_ALIVE=true&JDBC_QUERY_RESULT_FORMAT=JSON"
            )
        port = source.port or self.default_port
        scheme = "redshift" if self.name == "redshift" and not source.plain_driver else "postgresql"
        return f"jdbc:{scheme}://{host}:{port}/{database}"

    def connection(self, source: SourceSettings) -> dict[str, str]:
        """How far the connection is secured, and how long it may take to make, in the words of its driver."""
        seconds, authority = str(source.timeout_seconds), str(source.ssl_ca_location or "")
        if self.name == "snowflake":  # there is no connection to it that is not secured
            return {"loginTimeout": seconds}
        if self.drivers_name(source) == REDSHIFT.driver:
            found = {"loginTimeout": seconds, "SSL": "false" if source.ssl_mode == "disable" else "true"}
            if source.ssl_mode.startswith("verify"):
                found["SSLMode"] = source.ssl_mode
            return found | ({"SSLRootCert": authority} if authority else {})
        found = {"connectTimeout": seconds, "loginTimeout": seconds, "tcpKeepAlive": "true", "sslmode": source.ssl_mode}
        return found | ({"sslrootcert": authority} if authority else {})

    @property
    def begin_session(self) -> str:
        """What each session begins with: times without a zone are UTC, in what is asked and in what is compared."""
        return "ALTER SESSION SET TIMEZONE = 'UTC'" if self.name == "snowflake" else "SET TIME ZONE 'UTC'"

    def name_of(self, column: str) -> str:
        """A column's name, quoted; Snowflake keeps names in capitals unless they were quoted when they were made."""
        return self.quoted(column.upper() if self.name == "snowflake" and column.islower() else column)

    def quoted(self, name: str) -> str:
        """A name as it is, in quotes."""
        return '"' + name.replace('"', '""') + '"'

    def instant(self, at: datetime) -> str:
        """A time as a constant, to the microsecond, in UTC."""
        text = at.replace(tzinfo=None).isoformat(" ", "microseconds")
        kind = "TIMESTAMP_TZ" if self.name == "snowflake" else "timestamptz"
        return f"CAST('{text}+00:00' AS {kind})"

    def drivers_name(self, source: SourceSettings) -> str:
        """The class of the driver; Redshift also speaks to PostgreSQL's."""
        return POSTGRESQL.driver if self.name == "redshift" and source.plain_driver else self.driver


POSTGRESQL: Final = Dialect("postgresql", "org.postgresql.Driver", "postgresql", 5432)
REDSHIFT: Final = Dialect("redshift", "com.amazon.redshift.Driver", "redshift-jdbc42", 5439)
SNOWFLAKE: Final = Dialect("snowflake", "net.snowflake.client.jdbc.SnowflakeDriver", "snowflake-jdbc", 443)
_ALL: Final = {one.name: one for one in (POSTGRESQL, REDSHIFT, SNOWFLAKE)}


def dialect_of(name: str, source: SourceSettings) -> Dialect:
    """The dialect of a source of the settings; raises NoBackfill where it is not said how to reach it."""
    missing = [word for word in ("host", "database", "user") if getattr(source, word) is None]
    if missing:
        raise NoBackfill(f"The settings do not say how to reach `{name}`: set `sources.{name}.{missing[0]}`.")
    try:
        source.secret()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise NoBackfill(f"`sources.{name}.password_file`: {source.password_file} can not be read: {why}.") from None
    return _ALL[source.dialect]
