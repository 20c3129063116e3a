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

    def name_of(self, column: str) -> str:
        """A column's name, quoted; Snowflake keeps names in capitals unless they were quoted when they were made."""
        return f'"{column.upper() if self.name == "snowflake" and column.islower() else column}"'

    def instant(self, at: datetime) -> str:
        """A time as a constant, to the microsecond, in UTC."""
        text = at.strftime("%Y-%m-%d %H:%M:%S.%f")
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
    return _ALL[source.dialect]
