"""Settings from a file, the environment and the command line: the later wins, all complaints come at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from schemas.errors import InvalidSettings
from schemas.explain import explain
from schemas.settings import Settings
from schemas.suggest import did_you_mean
from schemas.yaml_lines import Document, NotYaml, parse

DEFAULT_FILE: Final = Path("sluice.yml")
PREFIX: Final = "SLUICE_"
FILE_VARIABLE: Final = "SLUICE_CONFIG"
OTHER_VARIABLES: Final = (FILE_VARIABLE, "SLUICE_BUILD_DIR", "SLUICE_FAILPOINTS", "SLUICE_FAILPOINTS_SEED")
"""Environment variables with the prefix that are no settings."""

ANY: Final = "<name>"
"""Stands in a setting's name for one that the user chooses: `sources.<name>.host`."""

SEE: Final = "runbooks/settings.md lists all settings."


@dataclass(frozen=True)
class Known:
    """One setting: its dotted name, its environment variable, and what may be said about it."""

    name: str
    default: object
    description: str
    secret: bool
    mapping: bool

    @property
    def variable(self) -> str | None:
        """`SLUICE_KAFKA__BOOTSTRAP_SERVERS` for `kafka.bootstrap_servers`; a mapping has none."""
        return None if self.mapping else PREFIX + self.name.replace(".", "__").upper()


class Names(Mapping[str, Known]):
    """The settings by dotted name, also those with a part that the user chooses: `sources.shop.host`."""

    def __init__(self, settings: Iterable[Known]) -> None:
        self._by_name = {setting.name: setting for setting in settings}
        self._patterns = [(name.split("."), setting) for name, setting in self._by_name.items() if ANY in name]

    def __getitem__(self, name: str) -> Known:
        """The setting that a name means; KeyError where it means none."""
        if name in self._by_name:
            return self._by_name[name]
        parts = name.split(".")
        for pattern, setting in self._patterns:
            if len(pattern) == len(parts) and _fits(parts, pattern):
                return setting
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """The names, with `<name>` where the user chooses one."""
        return iter(self._by_name)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_name)

    def is_above(self, name: str) -> bool:
        """Whether there are settings below a name."""
        parts = name.split(".")
        return any(len(parts) < len(whole) and _fits(parts, whole) for whole in (one.split(".") for one in self))


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    return all(wanted in (part, ANY) and part for part, wanted in zip(parts, pattern, strict=False))


def _model_of_values(kind: object) -> type[BaseModel] | None:
    """The model of a mapping's values, where they are of one."""
    values = get_args(kind)[1] if get_origin(kind) is dict else None
    return values if isinstance(values, type) and issubclass(values, BaseModel) else None


@dataclass(frozen=True)
class _Given:
    """A value and where it was given; `where` is a file's line, a variable or an option."""

    where: str
    value: object


def known_settings(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Known]:
    """Every setting there is, in the order of the model."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from known_settings(kind, f"{prefix}{name}.")
            continue
        if (below := _model_of_values(kind)) is not None:
            yield from known_settings(below, f"{prefix}{name}.{ANY}.")
            continue
        secret = kind is SecretStr or SecretStr in get_args(kind)
        mapping = get_origin(kind) is dict
        default = field.get_default(call_default_factory=True)
        yield Known(f"{prefix}{name}", default, field.description or "", secret, mapping)


def load_settings(
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of `file`, the environment, then `overrides` by dotted name: the last one given wins.

    Without `file`: `sluice.yml` in the working directory if there is one, else what `SLUICE_CONFIG` names,
    else none. Relative paths stay relative to the working directory. What is empty (a key without a value, a
    variable, an override that is None) counts as not set. Raises InvalidSettings with every complaint, and no
    secret.
    """
    environ = os.environ if environ is None else environ
    known = Names(known_settings())
    complaints: list[str] = []
    given: dict[str, _Given] = {}
    given |= _from_file(_choose_file(file, environ), known, complaints)
    given |= _from_environment(environ, known, complaints)
    given |= _from_overrides(overrides or {}, known, complaints)
    try:
        settings = Settings.model_validate(_nested(given, known))
    except ValidationError as error:
        complaints += [_complaint(detail, given, known) for detail in error.errors(include_url=False)]
        raise InvalidSettings(complaints) from None
    if complaints:
        raise InvalidSettings(complaints)
    return settings


def _choose_file(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if DEFAULT_FILE.exists():
        return DEFAULT_FILE
    return Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None


def _from_file(file: Path | None, known: Names, complaints: list[str]) -> dict[str, _Given]:
    if file is None:
        return {}
    try:
        document = parse(file.read_text(encoding="utf-8"), as_text=True)
    except FileNotFoundError:
        complaints.append(f"{file}: There is no such file. Name one that exists, with `--config` or `{FILE_VARIABLE}`.")
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        complaints.append(f"{file}: The file can not be read: {why}.")
        return {}
    except NotYaml as error:
        complaints.append(f"{file}:{error.line}: The file is not YAML: {error.why}. Correct it.")
        return {}
    complaints += [f"{file}:{fault.line}: {fault.what} Remove it." for fault in document.faults]
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        complaints.append(f"{file}:1: The file is not a mapping. Write `name: value` lines. {SEE}")
        return {}
    return dict(_flat(document.data, (), file, document, known, complaints))


def _flat(
    values: Mapping[str, Any],
    path: tuple[str, ...],
    file: Path,
    document: Document,
    known: Names,
    complaints: list[str],
) -> Iterator[tuple[str, _Given]]:
    for key, value in values.items():
        here = (*path, key)
        name = ".".join(here)
        where = f"{file}:{document.line(*here)}"
        if name in known and known[name].mapping and isinstance(value, dict):
            for item, text in value.items():
                yield f"{name}.{item}", _Given(f"{file}:{document.line(*here, item)}", text)
        elif name in known:
            if value is not None:
                yield name, _Given(where, value)
        elif not known.is_above(name):
            complaints.append(f"{where} {name}: There is no such setting. {did_you_mean(name, known, SEE)}")
        elif isinstance(value, dict):
            yield from _flat(value, here, file, document, known, complaints)
        elif value is not None:
            complaints.append(f"{where} {name}: It is not a mapping. Indent its settings below it. {SEE}")


def _from_environment(environ: Mapping[str, str], known: Names, complaints: list[str]) -> dict[str, _Given]:
    all_variables = [*(setting.variable for setting in known.values() if setting.variable), *OTHER_VARIABLES]
    given = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        where = f"environment variable {variable}"
        name = variable.removeprefix(PREFIX).replace("__", ".").lower()
        if name in known and known[name].variable and variable == PREFIX + name.replace(".", "__").upper():
            if environ[variable]:
                given[name] = _Given(where, environ[variable])
            continue
        if mapping := next((s.name for s in known.values() if s.mapping and f"{name}.".startswith(f"{s.name}.")), None):
            complaints.append(
                f"{where}: `{mapping}` holds several values and has no variable. "
                f"Set `{mapping}.<name>` in the settings file or on the command line."
            )
        else:
            complaints.append(f"{where}: There is no such setting. {did_you_mean(variable, all_variables, SEE)}")
    return given


def _from_overrides(overrides: Mapping[str, object], known: Names, complaints: list[str]) -> dict[str, _Given]:
    given = {}
    for name, value in overrides.items():
        if value is None:
            continue
        if name in known or _mapping_of(name, known):
            given[name] = _Given("command line", value)
        else:
            complaints.append(f"command line {name}: There is no such setting. {did_you_mean(name, known, SEE)}")
    return given


def _mapping_of(name: str, known: Names) -> Known | None:
    return next((s for s in known.values() if s.mapping and name.startswith(f"{s.name}.")), None)


def _nested(given: Mapping[str, _Given], known: Names) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, one in given.items():
        mapping = _mapping_of(name, known)
        parts = [*mapping.name.split("."), name.removeprefix(f"{mapping.name}.")] if mapping else name.split(".")
        level = nested
        for part in parts[:-1]:
            level = level.setdefault(part, {})
        level[parts[-1]] = one.value
    return nested


def _complaint(error: ErrorDetails, given: Mapping[str, _Given], known: Names) -> str:
    name = ".".join(str(part) for part in error["loc"] if part != "[key]")
    setting = known.get(name)
    what, remedy = explain(error, show_input=setting is not None and not setting.secret)
    where = given[name].where if name in given else "settings"
    return f"{where} {name}: {what} {remedy}"
