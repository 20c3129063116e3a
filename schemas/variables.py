"""`variables.yml`: values that a pipeline's specs name as `${name}`, for what differs from company to company."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.errors import Problem
from schemas.suggest import did_you_mean
from schemas.yaml_lines import NotYaml, parse

FILE: Final = "variables.yml"
_NAMED: Final = re.compile(r"\$\{([^}\n]*)\}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/ -]*")


@dataclass(frozen=True)
class Variables:
    """Values by name as text, and the problems of the file that they stand in."""

    values: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def filled(self, text: str) -> str:
        """A spec's text with the values in their places; what is not known stays."""
        return _NAMED.sub(lambda found: self.values.get(found[1], found[0]), text)

    def unknown(self, file: Path, text: str) -> Iterator[Problem]:
        """What a spec names and the pipeline does not have."""
        for number, line in enumerate(text.splitlines(), start=1):
            for found in _NAMED.finditer(line.partition(" #")[0]):
                if found[1] not in self.values:
                    remedy = did_you_mean(found[1], self.values, f"Write `{found[1]}: <value>` into `{FILE}`.")
                    yield Problem(file, number, "", f"There is no variable `{found[1]}`.", remedy)


NO_VARIABLES: Final = Variables()


def read_variables(folder: Path) -> Variables:
    """Those of a pipeline's folder, none where there is no file; never raises for what a user wrote."""
    file = folder / FILE
    if not file.is_file():
        return NO_VARIABLES
    try:
        document = parse(file.read_text(encoding="utf-8"))
    except NotYaml as error:
        return _only(Problem(file, error.line, "", f"The file is not YAML: {error.why}.", "Correct it."))
    except (OSError, UnicodeDecodeError):
        return _only(Problem(file, 0, "", "The file can not be read as UTF-8 text.", "Make it readable."))
    if document.data is None:
        return NO_VARIABLES
    if not isinstance(document.data, dict):
        what = "The file is not a mapping."
        return _only(Problem(file, document.line(), "", what, "Write `name: value` lines."))
    problems = [Problem(file, fault.line, "", fault.what, "Remove it.") for fault in document.faults]
    for name, value in document.data.items():
        if (why := _why_not(str(name), value)) is not None:
            problems.append(Problem(file, document.line(name), str(name), *why))
    return Variables({str(name): str(value) for name, value in document.data.items()}, tuple(problems))


def _only(problem: Problem) -> Variables:
    return Variables(problems=(problem,))


def _why_not(name: str, value: Any) -> tuple[str, str] | None:
    if not _NAME.fullmatch(name):
        return "It is not a name.", "Use small letters, digits and `_`, a letter first."
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not _VALUE.fullmatch(str(value)):
        return (
            "It is neither an integer nor a plain text.",
            "It is put into specs as it is: use letters, digits, spaces and `_.:/-`.",
        )
    return None
