"""Alerts and dashboards: tested by promtool, asking for metrics that exist, each alert with its runbook."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.metrics import Metrics

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Verify"]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, which comes with Prometheus")
    return subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)


def series() -> set[str]:
    """The names under which the service's metrics can be asked for."""
    names = set()
    for family in Metrics.create("1").registry.collect():
        suffixes = {"counter": ["_total"], "info": ["_info"], "histogram": ["_bucket", "_sum", "_count"]}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return names


def dashboard_expressions() -> Iterator[str]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield target["expr"]


def test_prometheus_accepts_its_files() -> None:
    for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"]):
        checked = promtool(*arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_and_stay_silent_as_they_should() -> None:
    tested = promtool("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_both_ways() -> None:
    cases = [
        case
        for group in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
        for case in group["alert_rule_test"]
    ]
    for rule in RULES:
        expected = [bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]]
        assert {True, False} <= set(expected), rule["alert"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    runbook = ROOT / rule["annotations"]["runbook_url"]
    assert runbook.name == f"{rule['alert']}.md"
    text = runbook.read_text()
    assert text.startswith(f"# {rule['alert']}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


def test_every_alert_runbook_has_its_alert() -> None:
    pages = {page.stem for page in (ROOT / "runbooks" / "alerts").glob("*.md")}
    assert pages == {rule["alert"] for rule in RULES}


def test_every_metric_that_is_asked_for_exists() -> None:
    runbooks = [page.read_text() for page in (ROOT / "runbooks" / "alerts").glob("*.md")]
    texts = [rule["expr"] for rule in RULES] + list(dashboard_expressions()) + runbooks
    asked = {name for text in texts for name in re.findall(r"\bsluice_\w+", text)}
    assert asked
    assert asked <= series() | {"sluice_batch_seconds"}


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for text in dashboard_expressions() for name in re.findall(r"\bsluice_\w+", text)}
    assert series() - shown <= {"sluice_batch_seconds_sum", "sluice_batch_seconds_count"}


def test_dashboards_use_the_provisioned_data_source() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    known = {source["uid"] for source in sources}
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        panels = dashboard["panels"]
        assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} <= known
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_prometheus_asks_the_service_where_it_listens() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    port = re.findall(r"SLUICE_METRICS_PORT=(\d+)", (ROOT / "Dockerfile").read_text())[0]
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert jobs == {"sluice": [f"sluice:{port}"]}
