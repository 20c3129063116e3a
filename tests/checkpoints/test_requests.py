"""What a request says of who asks."""

from __future__ import annotations

import pytest

from checkpoints.requests import Author


def test_a_secret_of_the_command_line_is_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["replay", "--tables", "silver.a", "--set", "sources.w.password=hush-1", "-spii.key=hush-2", "--yes"]
    given += ["--set=kafka.sasl_password=hush-3", "--set", "spark.conf.spark.hadoop.fs.s3a.secret.key=hush\n-4"]
    given += ["--set", "lake=/data/keys=1", "--from", '{"a": {"0": 1}}']
    monkeypatch.setattr("sys.argv", ["sluice", *given])

    assert Author.here("me").command == (
        "sluice replay --tables silver.a --set sources.w.password=*** -spii.key=*** --yes "
        "--set=kafka.sasl_password=*** "
        '--set spark.conf.spark.hadoop.fs.s3a.secret.key=*** --set lake=/data/keys=1 --from {"a": {"0": 1}}'
    )
