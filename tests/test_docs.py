"""What the documentation names exists: commands, options, targets, files, folders; and it names no machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from streams.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
# What is tracked, and what would be with the next commit.
FILES = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\0")
PAGES = sorted(ROOT / file for file in set(FILES) if file.endswith(".md") and (ROOT / file).is_file())
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,}.+$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
# In brackets, so that this file is not among those that it finds.
NO_MACHINE = re.compile(
    r"repo1?[.]maven|pypi[.]org|python[h]osted|deb[.]debian|registry[.]npmjs"
    r"|/w[o]rk/|/h[o]me/[a-z]|/r[o]ot/|/[U]sers/|[A-Z]:\\[U]sers"
)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code(page: Path) -> Iterator[str]:
    """The pieces of a page that are code."""
    text = page.read_text()
    prose = FENCE.sub("", text)
    yield from FENCE.findall(text)
    yield from INDENTED.findall(prose)
    yield from INLINE.findall(prose)


def commands() -> dict[tuple[str, ...], Any]:
    """Every command by its words: `("stack", "up")`."""
    found: dict[tuple[str, ...], Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        found[words] = command
        for word, below in getattr(command, "commands", {}).items():
            walk(below, (*words, word))

    walk(typer.main.get_command(app), ())
    return found


COMMANDS = commands()
LEAVES = [words for words, command in COMMANDS.items() if not hasattr(command, "commands")]


def named_commands(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """(words, options) of each call of `sluice` in a piece of code."""
    for call in re.findall(r"(?:^|[\s$(/])sluice((?: +[\w./:<>=-]+)+)", text, re.MULTILINE):
        parts = call.split()
        words: list[str] = []
        while parts and re.fullmatch(r"[a-z]+", parts[0]) and tuple(words) not in LEAVES:
            words.append(parts.pop(0))
            assert tuple(words) in COMMANDS, f"there is no command `sluice {' '.join(words)}`"
        yield tuple(words), [part.partition("=")[0] for part in parts if part.startswith("-")]


def options(words: tuple[str, ...]) -> set[str]:
    return {"--help"} | {option for param in COMMANDS[words].params for option in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_are_named_exist(page: Path) -> None:
    for piece in code(page):
        for words, given in named_commands(piece):
            assert set(given) <= options(words), piece


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert COMMANDS[words].help


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_is_in_the_readme(words: tuple[str, ...]) -> None:
    assert words in {named for piece in code(README) for named, _ in named_commands(piece)}


def test_a_call_is_told_from_the_name() -> None:
    assert list(named_commands("$ sluice run --once --set lake=x")) == [(("run",), ["--once", "--set"])]
    assert list(named_commands(".venv/bin/sluice stack up")) == [(("stack", "up"), [])]
    assert list(named_commands("docker compose logs sluice | grep x")) == []
    with pytest.raises(AssertionError, match="no command `sluice fly`"):
        list(named_commands("sluice fly"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for piece in code(page):
        for call in re.findall(r"(?:^|[\s$])make((?: [a-z][a-z0-9-]*)+)", piece, re.MULTILINE):
            assert set(call.split()) <= targets, piece


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`, as GitHub makes it of a heading."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_the_map_of_the_readme_has_every_folder() -> None:
    section = README.read_text().split("\n## The folders\n")[1].split("\n## ")[0]
    mapped = set(re.findall(r"^\| `([\w./]+)/` \|", section, re.MULTILINE))
    assert all((ROOT / folder).is_dir() for folder in mapped)
    assert {file.split("/")[0] for file in FILES if "/" in file} <= mapped


def test_the_index_of_the_runbooks_has_every_page() -> None:
    index = ROOT / "runbooks" / "README.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)\)", index.read_text())}
    pages = {page for page in PAGES if page.is_relative_to(index.parent)}
    assert pages - linked == {index}


def test_no_file_names_a_registry_or_a_place_on_a_machine() -> None:
    for file in filter(None, set(FILES)):
        path = ROOT / file
        text = path.read_text(errors="replace") if path.is_file() else ""
        assert NO_MACHINE.search(text) is None, f"{file}: {NO_MACHINE.findall(text)[:3]}"
