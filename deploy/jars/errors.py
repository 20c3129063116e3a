"""Why a set of jars could not be put in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy import DeployError


class JarsError(DeployError):
    """Base of what can go wrong between a pom and its folder of jars."""


class UnknownJarSetError(JarsError):
    """A set was asked for that has no pom."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(f"There is no set of jars named {name!r}. Use one of: {', '.join(known)}.")


class MavenMissingError(JarsError):
    """The jars of a pom are not in the build folder yet, and there is no `mvn` to fetch them."""

    def __init__(self, pom: Path, folder: Path) -> None:
        self.pom, self.folder = pom, folder
        super().__init__(
            f"Maven is needed to fetch the jars of {pom} into {folder}, and `mvn` is not on the PATH. "
            "Install it (Debian: apt-get install maven; macOS: brew install maven) and try again."
        )


class MavenFailedError(JarsError):
    """Maven ended with an error or fetched nothing; the end of its output is part of the sentence."""

    def __init__(self, pom: Path, exit_code: int, output_tail: str) -> None:
        self.pom, self.exit_code, self.output_tail = pom, exit_code, output_tail
        super().__init__(
            f"Maven could not resolve {pom} (exit code {exit_code}). Check the versions in it, and that "
            f"Maven reaches its repository (a mirror belongs in ~/.m2/settings.xml). The end of its output:\n"
            f"{output_tail}"
        )
