"""YAML with the line of every key kept, for errors that point at one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD_TAGS = "tag:yaml.org,2002:"
_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"true|True|TRUE"), re.compile(r"false|False|FALSE")
_INT, _FLOAT = re.compile(r"[-+]?[0-9]+"), re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class NotYaml(ValueError):
    """A text that can not be read as one YAML document."""

    def __init__(self, line: int, why: str) -> None:
        self.line, self.why = line, why
        super().__init__(f"line {line}: {why}")


@dataclass(frozen=True)
class Fault:
    """Something that is YAML but not what a file of Sluice's may hold: a duplicate key, a tag."""

    line: int
    path: Path
    what: str


@dataclass(frozen=True)
class Document:
    """One YAML document: its values, its faults, and the line of each of its keys."""

    data: Any
    faults: tuple[Fault, ...] = ()
    _root: Any = field(default=None, repr=False, compare=False)

    def line(self, *path: str | int) -> int:
        """The line of the key or list item at `path`, or of the nearest one above it; 0 for an empty file."""
        found: int = 1 if self._root is not None else 0
        node = self._root
        for part in path:
            step = _child(node, part)
            if step is None:
                break
            mark, node = step
            found = mark.start_mark.line + 1
        return found

    def line_within(self, row: int, *path: str | int) -> int:
        """The line of the file where the `row`-th line, from 1, of the stripped text at `path` stands."""
        node = self._root
        for part in path:
            step = _child(node, part)
            if step is None:
                return self.line(*path)
            node = step[1]
        if not isinstance(node, yaml.ScalarNode) or node.style != "|":
            return self.line(*path)
        leading = node.value[: len(node.value) - len(node.value.lstrip())].count("\n")
        return int(node.start_mark.line + 1 + leading + row)


def parse(text: str, *, as_text: bool = False) -> Document:
    """Read one document; scalars by YAML 1.2's core schema (`no` is a word), or all `as_text` but null.

    Raises NotYaml. Duplicate keys and tags are faults of the document; the first of two equal keys is kept.
    """
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYaml(mark.line + 1 if mark else 0, error.problem or "it is not YAML") from None
    except yaml.YAMLError as error:
        raise NotYaml(0, str(error).splitlines()[0]) from None
    if root is None:
        return Document(None)
    builder = _Builder(as_text)
    return Document(builder.value(root, ()), tuple(builder.faults), root)


class _Builder:
    def __init__(self, as_text: bool) -> None:
        self.as_text = as_text
        self.faults: list[Fault] = []
        self._open: list[int] = []
        self._built: dict[int, Any] = {}

    def value(self, node: yaml.Node, path: Path) -> Any:
        if id(node) in self._open:
            self.faults.append(Fault(node.start_mark.line + 1, path, "An alias stands inside its own anchor."))
            return None
        if id(node) not in self._built:
            self._open.append(id(node))
            self._built[id(node)] = self._build(node, path)
            self._open.pop()
        return self._built[id(node)]

    def _build(self, node: yaml.Node, path: Path) -> Any:
        if not node.tag.startswith(_STANDARD_TAGS):
            what = f"The tag `{node.tag}` means nothing here."
            self.faults.append(Fault(node.start_mark.line + 1, path, what))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return _scalar(node, self.as_text)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(Fault(line, path, "A key has to be a word, not a list or a mapping."))
                continue
            key = key_node.value
            if key in built:
                what = f"The key `{key}` stands here for the second time; it was first set in line {lines[key]}."
                self.faults.append(Fault(line, (*path, key), what))
                continue
            lines[key] = line
            built[key] = self.value(value_node, (*path, key))
        return built


def _scalar(node: yaml.ScalarNode, as_text: bool) -> Any:
    text: str = node.value
    if node.style:  # quoted or a block; plain is None or, from libyaml, ''
        return text
    if _NULL.fullmatch(text):
        return None
    if as_text:
        return text
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _child(node: Any, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
