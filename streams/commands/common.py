"""What every command shares: its options, where it prints, and how an error reaches a person."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console

from checkpoints import s3
from deploy import DeployError
from schemas.errors import InvalidPipeline, InvalidSettings, SluiceError, WrongUsage
from schemas.settings import Settings
from schemas.settings_sources import load_settings
from streams import logs

DONE, FAILED, WRONG = 0, 1, 2
"""The exit codes: done; failed or found something; wrong usage, settings or spec."""

_P = ParamSpec("_P")

_PIPE_WIDTH = 140  # a pipe has no width of its own; 80 columns would fold tables in two

out = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings file; default `sluice.yml`, or what SLUICE_CONFIG names.", show_default=False
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="NAME=VALUE",
        help="One setting, by its dotted name; may be repeated.",
        show_default=False,
    ),
]


def reporting(command: Callable[_P, int | None]) -> Callable[_P, None]:
    """Turn errors that are meant for a person into a sentence and an exit code."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or DONE
        except (InvalidPipeline, InvalidSettings, WrongUsage) as error:
            err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            code = WRONG
        except (SluiceError, DeployError) as error:
            err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            code = FAILED
        except Exception as error:
            if (failure := s3.failure(error)) is None:
                raise
            err.print(str(failure), style="red", markup=False, highlight=False, soft_wrap=True)
            code = FAILED
        raise typer.Exit(code)

    return run


def settings_of(config: Path | None, overrides: list[str] | None) -> Settings:
    """The settings that a command was given, with the log set up as they say; raises InvalidSettings."""
    given: dict[str, object] = {}
    for text in overrides or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidSettings([f"--set {text}: it has no `=`. Write it as --set name=value."])
        given[name.strip()] = value
    settings = load_settings(config, given)
    logs.configure(settings.log_level, settings.log_format)
    return settings


def agreed(question: str = "Go on?") -> bool:
    """Ask a person; where nobody answers, as in a script without --yes, that is a no."""
    try:
        yes = typer.confirm(question)
    except typer.Abort:
        out.print()
        yes = False
    if not yes:
        err.print("Nothing was done.", highlight=False)
    return yes


def counted(number: int, noun: str) -> str:
    """`1 table`, `2 tables`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
