"""A writer's record brought to its reader's schema, which is the contract.

What the contract says to a record that was written with another schema than it was made from:

| in the contract                | in the record                                                        |
|--------------------------------|----------------------------------------------------------------------|
| `default`                      | is set where the field is missing; a null that was written stays     |
| `x-aliases: [old_name]`        | the field of an older name takes the name of today                   |
| no such field                  | stays, and goes to `_rescued_data`                                   |

Whole numbers need nothing to become fractions. Both keywords count wherever an object can stand: in `properties`,
`items`, `additionalProperties`, behind `$ref`, in `allOf`, in the one branch of `anyOf` or `oneOf` that is not null.
https://avro.apache.org/docs/1.12.0/specification/#schema-resolution
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema_rs

ALIASES: Final = "x-aliases"

Step = Callable[[Any], Any]
"""From a value to the value resolved: the same object where nothing was to be done."""

_BASE: Final = "https://contracts.invalid/"


@dataclass(frozen=True)
class Resolver:
    """What a contract asks of records that were written with other schemas."""

    step: Step | None

    @classmethod
    def of(cls, contract: dict[str, Any], references: Any = None) -> Resolver:
        """The resolver of a contract.

        `references` is what finds its `$ref`s, a resolver of jsonschema_rs; without it, those in the contract itself.
        """
        if references is None:
            references = jsonschema_rs.Registry([(_BASE, contract)]).resolver(_BASE)
        return cls(_Compiler().step(contract, references))

    def __call__(self, value: Any) -> Any:
        """The value resolved; what is not an object or list where the contract has one is left for it to refuse."""
        return value if self.step is None else self.step(value)


def resolve(value: dict[str, Any], contract_schema: dict[str, Any]) -> dict[str, Any]:
    """The record resolved to a contract; for many records make a `Resolver` once."""
    return _resolver(json.dumps(contract_schema))(value)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=64)
def _resolver(contract: str) -> Resolver:
    return Resolver.of(json.loads(contract))


@dataclass(frozen=True)
class _Member:
    name: str
    aliases: tuple[str, ...]
    default: Callable[[], Any] | None
    step: Step | None


@dataclass
class _Compiler:
    """`made` has the steps of what `$ref`s name, so that a schema which contains itself comes to an end."""

    made: dict[str, Step | None] = field(default_factory=dict)

    def step(self, schema: Any, references: Any) -> Step | None:
        if not isinstance(schema, dict):
            return None
        steps = [
            self._referred(schema.get("$ref"), references),
            *(self.step(part, references) for part in _list(schema.get("allOf"))),
            *(self._branch(schema.get(word), references) for word in ("anyOf", "oneOf")),
            self._object(schema, references),
            self._array(schema, references),
        ]
        wanted = [step for step in steps if step is not None]
        return wanted[0] if len(wanted) == 1 else _all_of(wanted) if wanted else None

    def _referred(self, reference: Any, references: Any) -> Step | None:
        if not isinstance(reference, str):
            return None
        try:
            found = references.lookup(reference)
        except jsonschema_rs.ReferencingError:
            return None
        # What is found is a copy each time, so that its text tells whether it is the same.
        key = f"{found.resolver.base_uri}\0{json.dumps(found.contents)}"
        if key not in self.made:
            self.made[key] = lambda value: step(value) if (step := self.made[key]) is not None else value
            self.made[key] = self.step(found.contents, found.resolver)
        return self.made[key]

    def _branch(self, branches: Any, references: Any) -> Step | None:
        meant = [one for one in _list(branches) if not (isinstance(one, dict) and one.get("type") == "null")]
        return self.step(meant[0], references) if len(meant) == 1 else None

    def _object(self, schema: dict[str, Any], references: Any) -> Step | None:
        members = []
        properties = schema.get("properties")
        for name, sub in properties.items() if isinstance(properties, dict) else ():
            aliases = tuple(_list(sub.get(ALIASES))) if isinstance(sub, dict) else ()
            default = _default(sub["default"]) if isinstance(sub, dict) and "default" in sub else None
            step = self.step(sub, references)
            if aliases or default is not None or step is not None:
                members.append(_Member(name, aliases, default, step))
        others = self.step(schema.get("additionalProperties"), references)
        if others is not None:
            return _map_step(members, others, frozenset(properties or ()))
        return _object_step(members) if members else None

    def _array(self, schema: dict[str, Any], references: Any) -> Step | None:
        each = self.step(schema.get("items"), references)
        return _array_step(each) if each is not None else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _default(value: Any) -> Callable[[], Any]:
    """Each record has a default of its own to change where it is an object or a list."""
    if isinstance(value, dict | list):
        return lambda: copy.deepcopy(value)
    return lambda: value


def _all_of(steps: list[Step]) -> Step:
    def run(value: Any) -> Any:
        for step in steps:
            value = step(value)
        return value

    return run


def _object_step(members: list[_Member]) -> Step:
    def run(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        found = value
        for member in members:
            name = member.name
            if name not in found:
                alias = next((one for one in member.aliases if one in found), None)
                if alias is None and member.default is None:
                    continue
                if found is value:
                    found = dict(value)
                found[name] = found.pop(alias) if alias is not None else member.default()  # type: ignore[misc]
            if member.step is not None and (new := member.step(found[name])) is not found[name]:
                found = _with(found, value, name, new)
        return found

    return run


def _map_step(members: list[_Member], others: Step, named: frozenset[str]) -> Step:
    own = _object_step(members)

    def run(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        found = own(value)
        for name in [name for name in found if name not in named]:
            if (new := others(found[name])) is not found[name]:
                found = _with(found, value, name, new)
        return found

    return run


def _array_step(each: Step) -> Step:
    def run(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        found = [each(one) for one in value]
        return found if any(new is not old for new, old in zip(found, value, strict=True)) else value

    return run


def _with(found: dict[str, Any], value: dict[str, Any], name: str, new: Any) -> dict[str, Any]:
    """`found`, which is a copy by now unless it is the `value` that came, with one field changed."""
    changed = dict(found) if found is value else found
    changed[name] = new
    return changed
