"""Where settings come from, which one wins, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import InvalidSettings
from schemas.explain import LOWER_NAME
from schemas.settings import Settings
from schemas.settings_sources import OTHER_VARIABLES, known_settings, load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def file_of(text: str, name: str = "given.yml") -> Path:
    file = Path(name)
    file.write_text(text, encoding="utf-8")
    return file


def complaints(
    file: str | None = None, overrides: dict[str, object] | None = None, environ: dict[str, str] | None = None
) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(file_of(file) if file is not None else None, overrides, environ or {})
    return raised.value.complaints


def test_nothing_given_is_the_defaults() -> None:
    assert load_settings(environ={}) == Settings()


def test_the_later_source_wins() -> None:
    file = file_of("lake: file\nmax_restarts: 1\ntrigger_seconds: 1\nkafka: {bootstrap_servers: file:1}\n")
    environ = {
        "SLUICE_MAX_RESTARTS": "2",
        "SLUICE_TRIGGER_SECONDS": "2",
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": "env:2",
    }
    settings = load_settings(file, {"trigger_seconds": "3"}, environ)
    assert (settings.lake, settings.max_restarts, settings.trigger_seconds) == ("file", 2, 3.0)
    assert settings.kafka.bootstrap_servers == "env:2"


def test_the_default_file_goes_before_the_variable() -> None:
    other = file_of("lake: other\n", "other.yml")
    environ = {"SLUICE_CONFIG": str(other)}
    assert load_settings(environ=environ).lake == "other"
    file_of("lake: default\n", "sluice.yml")
    assert load_settings(environ=environ).lake == "default"
    assert load_settings(file_of("lake: given\n"), environ=environ).lake == "given"


def test_what_is_empty_is_not_set() -> None:
    file = file_of("lake:\nkafka:\nspark:\n  conf:\n")
    assert load_settings(file, {"lake": None}, {"SLUICE_LAKE": ""}) == Settings()
    assert load_settings(file_of("# nothing\n"), environ={}) == Settings()


def test_values_are_read_as_they_are_written() -> None:
    file = file_of("kafka: {sasl_username: 007}\nspark: {conf: {spark.a: true, spark.b: 0x10}}\n")
    settings = load_settings(file, {"spark.conf.spark.c.d": "1"}, {})
    assert settings.kafka.sasl_username == "007"
    assert settings.spark.conf == {"spark.a": "true", "spark.b": "0x10", "spark.c.d": "1"}


def test_one_name_of_spark_conf_is_overridden_and_the_others_stay() -> None:
    file = file_of("spark: {conf: {spark.a: 1, spark.b: 2}}\n")
    assert load_settings(file, {"spark.conf.spark.a": "3"}, {}).spark.conf == {"spark.a": "3", "spark.b": "2"}


@pytest.mark.parametrize("variable", OTHER_VARIABLES)
def test_variables_that_are_no_settings_are_let_pass(variable: str) -> None:
    file_of("", "some.yml")
    assert load_settings(environ={variable: "some.yml"}) == Settings()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lakke: x", "given.yml:1 lakke: There is no such setting. Did you mean `lake`?"),
        (
            "kafka:\n  bootstrap_server: x",
            "given.yml:2 kafka.bootstrap_server: There is no such setting. Did you mean "
            "`kafka.bootstrap_servers`?",
        ),
        ("qqq: x", "given.yml:1 qqq: There is no such setting. runbooks/settings.md lists all settings."),
        (
            "kafka: x",
            "given.yml:1 kafka: It is not a mapping. Indent its settings below it. "
            "runbooks/settings.md lists all settings.",
        ),
        ("log_level: debug", "given.yml:1 log_level: `debug` is not a choice. Did you mean `DEBUG`?"),
        ("max_restarts: many", "given.yml:1 max_restarts: `many` is not a whole number. Write a whole "
        "number."),
        ("max_restarts: 1.5", "given.yml:1 max_restarts: `1.5` is not a whole number. Write a whole number."),
        ("max_restarts: -1", "given.yml:1 max_restarts: `-1` is below 0. Change it."),
        ("drain_seconds: 0", "given.yml:1 drain_seconds: `0` is not above 0. Change it."),
        ("drain_seconds: soon", "given.yml:1 drain_seconds: `soon` is not a number. Write a number."),
        ("metrics_port: 70000", "given.yml:1 metrics_port: `70000` is above 65535. Change it."),
        ("lake: [x]", "given.yml:1 lake: A list is not text. Write text."),
        (
            "spark:\n  driver_memory: 3gb",
            "given.yml:2 spark.driver_memory: `3gb` is not an amount of memory such as `3g` or `800m`. "
            "Change it.",
        ),
        ("a: b: c", "given.yml:1: The file is not YAML: mapping values are not allowed in this context. "
        "Correct it."),
        ("- a", "given.yml:1: The file is not a mapping. Write `name: value` lines. runbooks/settings.md "
        "lists all "
                "settings."),
        (
            "lake: a\nlake: b",
            "given.yml:2: The key `lake` stands here for the second time; it was first set in line 1. "
            "Remove it.",
        ),
    ],
)  # fmt: skip
def test_each_mistake_in_a_file_has_its_sentence(text: str, sentence: str) -> None:
    assert complaints(text) == (sentence,)


def test_a_file_that_is_missing_is_told() -> None:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(Path("nowhere.yml"), environ={})
    assert raised.value.complaints == (
        "nowhere.yml: There is no such file. Name one that exists, with `--config` or `SLUICE_CONFIG`.",
    )


def test_a_folder_is_no_file() -> None:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(Path(), environ={})
    assert raised.value.complaints == (".: The file can not be read: Is a directory.",)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "SLUICE_KAFKA_BOOTSTRAP_SERVERS",
            "x",
            "environment variable SLUICE_KAFKA_BOOTSTRAP_SERVERS: There is no such setting. "
            "Did you mean `SLUICE_KAFKA__BOOTSTRAP_SERVERS`?",
        ),
        (
            "SLUICE_SPARK__CONF",
            "x",
            "environment variable SLUICE_SPARK__CONF: `spark.conf` holds several values and has no variable. "
            "Set `spark.conf.<name>` in the settings file or on the command line.",
        ),
        (
            "SLUICE_MAX_RESTARTS",
            "x",
            "environment variable SLUICE_MAX_RESTARTS max_restarts: `x` is not a whole number. Write a whole number.",
        ),
    ],
)
def test_each_mistake_in_the_environment_has_its_sentence(variable: str, value: str, sentence: str) -> None:
    assert complaints(environ={variable: value, "PATH": "x"}) == (sentence,)


def test_mistakes_on_the_command_line_have_their_sentence() -> None:
    assert complaints(overrides={"trigger_second": "1", "metrics_port": "x"}) == (
        "command line trigger_second: There is no such setting. Did you mean `trigger_seconds`?",
        "command line metrics_port: `x` is not a whole number. Write a whole number.",
    )


def test_all_complaints_come_at_once() -> None:
    found = complaints("lakke: x\nmax_restarts: x\n", {"metrics_port": "x"}, {"SLUICE_LAKKE": "x"})
    assert [complaint.split(":")[0] for complaint in found] == [
        "given.yml",
        "environment variable SLUICE_LAKKE",
        "given.yml",
        "command line metrics_port",
    ]


def test_no_complaint_repeats_a_secret() -> None:
    canary = "hunter2"
    file = (
        f"kafka: {{sasl_password: [{canary}]}}\nspark: {{conf: {{x: [{canary}]}}}}\npasword: {canary}\nlog_level: x\n"
    )
    file += f"registry: {{password: [{canary}]}}\n"
    found = complaints(file, {"passwrd": canary}, {"SLUICE_KAFKA__SASL_PASSWD": canary})
    assert len(found) == 7
    assert canary not in str(InvalidSettings(found))
    settings = load_settings(None, None, {"SLUICE_KAFKA__SASL_PASSWORD": canary, "SLUICE_REGISTRY__PASSWORD": canary})
    assert settings.kafka.sasl_password is not None
    assert settings.registry.password is not None
    assert canary not in f"{settings} {settings!r}"


def test_a_registry_url_names_no_user_and_a_complaint_does_not_repeat_it() -> None:
    environ = {"SLUICE_REGISTRY__URL": "https://one:8081, http://two"}
    assert load_settings(environ=environ).registry.url == "https://one:8081, http://two"
    for url in ("https://me:hunter2@registry:8081", "https://one,https://me:hunter2@two", "registry:8081"):
        (found,) = complaints(environ={"SLUICE_REGISTRY__URL": url})
        assert found == (
            "environment variable SLUICE_REGISTRY__URL registry.url: It has to begin with `http://` or `https://`, "
            "and to name no user (that is `registry.username`). Change it."
        )


def test_a_source_is_set_by_file_environment_and_command_line() -> None:
    file = file_of("sources:\n  shop_db:\n    host: a\n    user: reader\n  other: {port: 5433}")
    environ = {"SLUICE_SOURCES__SHOP_DB__PASSWORD": "canary", "SLUICE_SOURCES__SHOP_DB__HOST": "b"}

    found = load_settings(file, {"sources.shop_db.host": "c", "sources.third.database": "d"}, environ).sources

    assert {name: (one.host, one.user, one.port, one.database) for name, one in found.items()} == {
        "shop_db": ("c", "reader", None, None),
        "other": (None, None, 5433, None),
        "third": (None, None, None, "d"),
    }
    assert found["shop_db"].password is not None
    assert found["shop_db"].password.get_secret_value() == "canary"
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("text", "environ", "sentence"),
    [
        (
            "sources: {shop_db: {hots: a}}",
            {},
            "given.yml:1 sources.shop_db.hots: There is no such setting. Did you mean `sources.<name>.host`?",
        ),
        (
            "sources: {shop_db: a}",
            {},
            "given.yml:1 sources.shop_db: It is not a mapping. Indent its settings below it. "
            "runbooks/settings.md lists all settings.",
        ),
        ("sources: {Shop: {host: a}}", {}, f"settings sources.Shop: The value is not {LOWER_NAME}. Change it."),
        (
            "sources: {db: {port: canary}}",
            {},
            "given.yml:1 sources.db.port: `canary` is not a whole number. Write a whole number.",
        ),
        (
            "sources: {db: {password: canary, password_file: x}}",
            {},
            "settings sources.db: It has both `password` and `password_file`: keep one of them. Change it.",
        ),
        (
            "",
            {"SLUICE_sources__db__host": "a"},
            "environment variable SLUICE_sources__db__host: There is no such setting. "
            "Did you mean `SLUICE_SOURCES__<NAME>__HOST`?",
        ),
    ],
)
def test_each_mistake_about_a_source_has_its_sentence(text: str, environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(file_of(text), environ=environ)
    assert raised.value.complaints == (sentence,)


def documented_default(default: object) -> str:
    return "none" if default is None or default == {} else f"`{default}`"


def test_every_setting_is_documented_and_nothing_else() -> None:
    text = (ROOT / "runbooks" / "settings.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| `")
    ]
    assert rows == [
        [
            f"`{setting.name}`",
            f"`{setting.variable}`" if setting.variable else "—",
            "the shop's folder" if setting.name == "pipeline" else documented_default(setting.default),
            setting.description,
        ]
        for setting in sorted(known_settings(), key=lambda setting: setting.name.rpartition(".")[0])
    ]
    assert set(OTHER_VARIABLES) == {word for word in OTHER_VARIABLES if f"`{word}`" in text}


def test_the_example_holds_every_setting_with_its_default() -> None:
    file = ROOT / "sluice.example.yml"
    assert load_settings(file, environ={}) == Settings()
    text = file.read_text(encoding="utf-8")
    missing = [s.name for s in known_settings() if f"{s.name.rpartition('.')[2]}:" not in text]
    assert missing == []
