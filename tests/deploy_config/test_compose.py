"""The compose file: it parses, what it mounts and waits for exists, and it holds no secret."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = dict(
    line.split("=", 1)
    for line in (DEPLOY / "compose.env.example").read_text().splitlines()
    if line and not line.startswith("#")
)


def test_everything_that_is_needed_is_there() -> None:
    assert set(SERVICES) == {
        "kafka",
        "topics",
        "registry",
        "postgres",
        "connect",
        "connector",
        "sluice",
        "prometheus",
        "grafana",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_mounts_are_files_of_ours_or_declared_volumes(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (DEPLOY / source).exists(), mount
            assert mount.endswith(":ro"), mount
        else:
            assert source in COMPOSE["volumes"], mount


@pytest.mark.parametrize("name", SERVICES)
def test_who_waits_for_health_waits_for_one_that_tells_it(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], other
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no", other


def test_images_have_versions_and_ports_stay_on_this_machine() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"]), name
        assert not service["image"].endswith(":latest"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_secrets_come_from_the_environment_and_the_example_names_each() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == set(EXAMPLE)
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key:
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), key


def test_the_services_variables_are_settings() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    names = set(re.findall(r"\b(SLUICE_\w+)=", dockerfile)) | set(SERVICES["sluice"]["environment"])
    for name in names:
        model: Any = Settings
        for part in name.removeprefix("SLUICE_").lower().split("__"):
            assert part in model.model_fields, name
            model = model.model_fields[part].annotation
    assert SERVICES["sluice"]["volumes"] == ["lake:" + re.findall(r"SLUICE_LAKE=(\S+)", dockerfile)[0]]


def test_a_stop_waits_for_longer_than_a_drain() -> None:
    grace = int(SERVICES["sluice"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_seconds"].default


def test_the_connector_is_what_the_tables_expect() -> None:
    connector = json.loads((DEPLOY / "connect" / "shop.json").read_text())
    assert connector["skipped.operations"] == "none"
    assert connector["database.password"] == "${env:DEBEZIUM_PASSWORD}"
    captured = {f"{connector['topic.prefix']}.{table}" for table in connector["table.include.list"].split(",")}
    [script] = SERVICES["topics"]["command"]
    created = set(re.findall(r"for topic in ([\w ]+);", script)[0].split())
    specs = [yaml.safe_load(path.read_text()) for path in (ROOT / "schemas" / "tables").glob("bronze.*.yml")]
    assert {spec["source"]["topic"] for spec in specs} == captured | created
    ddl = (DEPLOY / "postgres" / "10-shop.sh").read_text()
    for table in captured:
        name = table.rsplit(".", 1)[1]
        contract = json.loads((ROOT / "schemas" / "contracts" / f"{name}.schema.json").read_text())
        columns = re.findall(rf"CREATE TABLE {name} \((.*?)\n\);", ddl, re.DOTALL)[0]
        assert set(re.findall(r"^    (\w+)", columns, re.MULTILINE)) == set(contract["properties"])


def test_docker_reads_it() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the docker command with its compose plugin")
    checked = subprocess.run(
        ["docker", "compose", "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"],
        env={**os.environ, **EXAMPLE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_file_with_the_secrets_is_not_committed() -> None:
    assert "compose.env" in (ROOT / ".gitignore").read_text().split()
