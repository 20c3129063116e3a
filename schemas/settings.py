"""The service's settings: one frozen model, read from a file, the environment and the command line, in that order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Model):
    """How to reach the brokers."""

    bootstrap_servers: str = Field("localhost:9092", description="Comma-separated host:port of the brokers.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How clients talk to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism, with a SASL_* protocol."
    )
    sasl_username: str | None = Field(None, description="SASL user.")
    sasl_password: SecretStr | None = Field(None, description="SASL password; never printed.")
    ssl_ca_location: Path | None = Field(
        None, description="PEM file of the authority that signed the brokers' certificates."
    )


def _without_user(urls: str) -> str:
    """Refuse what is no URL, and a password in one, without repeating it: a URL is shown in errors and logs."""
    for url in urls.split(","):
        if not re.fullmatch(r"https?://[^\s@]+", url.strip()):
            raise ValueError(
                "It has to begin with `http://` or `https://`, and to name no user (that is `registry.username`)"
            )
    return urls


class RegistrySettings(_Model):
    """How to reach the schema registry; only topics in Confluent's Avro format ask for it."""

    url: Annotated[str, AfterValidator(_without_user)] | None = Field(
        None, description="URL of the schema registry; several, with commas, are tried in turn."
    )
    username: str | None = Field(None, description="User of its basic authentication.")
    password: SecretStr | None = Field(None, description="Password of the same; never printed.")
    ssl_ca_location: Path | None = Field(
        None, description="PEM file of the authority that signed the registry's certificate."
    )
    ssl_certificate_location: Path | None = Field(
        None, description="PEM file of the certificate that is shown to the registry, where it asks for one."
    )
    ssl_key_location: Path | None = Field(
        None, description="PEM file of that certificate's key, where it is not in the same file."
    )
    timeout_seconds: PositiveSeconds = Field(10.0, description="How long one request to the registry may take.")


class SourceSettings(_Model):
    """How to reach a database that tables come from, to pull from it, bring history in, or reconcile with it."""

    dialect: Literal["postgresql", "redshift", "snowflake"] = Field(
        "postgresql", description="What kind of database it is; only PostgreSQL can be reconciled with."
    )
    plain_driver: bool = Field(
        False, description="Reach Redshift by PostgreSQL's driver, which comes with Sluice, and not by its own."
    )

    host: str | None = Field(None, description="Host of the database server.")
    port: Annotated[int, Field(gt=0, le=65535)] | None = Field(
        None, description="Port of the same; without, the usual one of its kind of database."
    )
    database: str | None = Field(None, description="Database on that server.")
    user: str | None = Field(None, description="User, who may read the tables that are compared; no more is needed.")
    password: SecretStr | None = Field(None, description="Password of the same; never printed.")
    password_file: Path | None = Field(None, description="File with the password, in place of `password`.")
    ssl_mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", description="How far the connection is secured, in PostgreSQL's words."
    )
    ssl_ca_location: Path | None = Field(
        None, description="PEM file of the authority that signed the server's certificate."
    )
    timeout_seconds: Annotated[int, Field(ge=2)] = Field(10, description="How long connecting may take, in seconds.")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("It has both `password` and `password_file`: keep one of them")
        return self

    def secret(self) -> str | None:
        """The password, wherever it is kept."""
        if self.password_file is not None:
            return self.password_file.read_text(encoding="utf-8").strip()
        return self.password.get_secret_value() if self.password is not None else None


class SparkSettings(_Model):
    """The engine's own settings."""

    master: str = Field("local[2]", description="Spark master URL.")
    driver_memory: str = Field("3g", pattern=r"^[1-9][0-9]*[mg]$", description="Heap of the driver, as 3g or 800m.")
    shuffle_partitions: Positive = Field(4, description="Partitions of a shuffle; a few times the cores.")
    conf: dict[str, str] = Field(default_factory=dict, description="Any other Spark settings, by name.")


class PiiSettings(_Model):
    """The secret of the columns that are hashed; see schemas/hash_key.py."""

    key: SecretStr | None = Field(
        None, description="Key of the columns that `pii` hashes, at least 32 bytes of text; never printed."
    )
    key_file: Path | None = Field(None, description="File that holds that key instead, and nothing else.")


class BreakerSettings(_Model):
    """When a batch is held back instead of being sent to the error lane."""

    most_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description="Share of a batch that may be rejected; with more, the query pauses. 1 lets all through.",
    )
    least_records: Annotated[int, Field(ge=0)] = Field(
        100, description="Batches of fewer records are not held back for the share of their rejects."
    )
    most_rejects: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Records of a batch that may be rejected; with more, the query pauses."
    )


class WatermarkSettings(_Model):
    """Where the watermarks of tables that are pulled are kept."""

    store: Literal["file", "ssm"] = Field(
        "file", description="`file` keeps them in the lake, `ssm` in the Parameter Store of AWS Systems Manager."
    )
    prefix: str = Field("/sluice", pattern=r"^/[A-Za-z0-9/_.-]*$", description="What parameters' names begin with.")


class Settings(_Model):
    """Everything that can be set, with its unit in its name."""

    lake: str = Field("./lake", description="Root folder or URI of the tables, checkpoints and error lanes.")
    pipeline: Path = Field(
        Path(__file__).parent, description="Folder with `contracts/`, `tables/` and `dq.yml`: what is built."
    )
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    spark: SparkSettings = SparkSettings()
    sources: dict[SourceName, SourceSettings] = Field(default_factory=dict)
    watermarks: WatermarkSettings = WatermarkSettings()
    breaker: BreakerSettings = BreakerSettings()
    pii: PiiSettings = PiiSettings()
    jars_dir: Path = Field(Path("build/jars/service"), description="Folder of the jars that Spark is given.")
    s3_jars_dir: Path = Field(
        Path("build/jars/s3"), description="Folder of those that it is given beside them where the lake is on S3."
    )
    trigger_seconds: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Least time between the starts of two micro-batches of one query, in seconds."
    )
    max_offsets_per_trigger: Positive = Field(
        200_000, description="Most records that one micro-batch reads from a topic."
    )
    max_record_bytes: Positive = Field(
        8_000_000, description="A record with a larger value is sent to the error lane unread, in bytes."
    )
    small_batch_rows: Annotated[int, Field(ge=0)] = Field(
        200_000,
        description="Up to this many rows a commit is made by the driver (delta-rs); above, by Spark's executors.",
    )
    pushdown_keys: Annotated[int, Field(ge=0)] = Field(
        1_000, description="Up to this many affected keys are pushed into a query as literals; above, as a semi-join."
    )
    handover_queue: Positive = Field(
        2, description="Batches that wait in memory for one table; with more it catches up from its upstream's log."
    )
    lease_seconds: PositiveSeconds = Field(
        15.0,
        description="Without a sign of life for so long the holder of the lake's lease is taken for dead, in seconds.",
    )
    drain_seconds: PositiveSeconds = Field(60.0, description="How long a stop waits for the work in hand.")
    restart_backoff_seconds: PositiveSeconds = Field(1.0, description="Wait before the first restart; doubles after.")
    restart_backoff_max_seconds: PositiveSeconds = Field(60.0, description="The longest wait between two restarts.")
    max_restarts: Annotated[int, Field(ge=0)] = Field(
        10, description="Restarts in a row, without a batch between them, before a query is given up."
    )
    stall_seconds: PositiveSeconds = Field(600.0, description="A batch that runs longer than this makes `/livez` fail.")
    lane_retention_days: Positive | None = Field(
        None,
        description="Days that error lanes keep records, unless a table's spec says otherwise; none is for ever.",
    )
    tombstone_days: Positive = Field(
        30,
        description="Days that deleted keys keep their positions; what is later is looked up in bronze.",
    )
    audit_seconds: Annotated[float, Field(ge=0)] = Field(
        300.0, description="Time between two audits of the bronze tables by the service, in seconds; 0 is never."
    )
    reconcile_seconds: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="Time between two reconciliations with the sources by the service, in seconds; 0 is never.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address that `/metrics`, `/livez`, `/readyz` listen on.")
    metrics_port: Port = Field(9464, description="Port of the same; 0 takes any free one.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is for people on a terminal and JSON lines elsewhere."
    )
