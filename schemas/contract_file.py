"""One file of `contracts/`: read, and held against JSON Schema and against what a table can store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from schemas.contract import Contract, UntypedContract
from schemas.contract import load as load_contract
from schemas.errors import Problem
from schemas.json_schema import Flaw, flaws
from schemas.schema_set import SchemaSet, uri_of
from schemas.yaml_lines import Document, NotYaml, parse

UNSTORABLE: Final = frozenset(" ,;{}()\n\t=")
"""Characters that Delta refuses in a column's name."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass(frozen=True)
class ContractFile:
    """What a file gave: its contract where it is right, and the problems where it is not.

    `storage_problems` tell why no table can be made of it; they do not matter to a file that others only refer to.
    """

    file: Path
    contract: Contract | None
    document: Document
    problems: tuple[Problem, ...]
    storage_problems: tuple[Problem, ...] = ()


def read_contract(file: Path, folder: SchemaSet) -> ContractFile:
    """Read one contract; `folder` are the schemas that it may refer to. Never raises for what a user wrote."""
    nothing = Document(None)
    try:
        text = file.read_bytes().decode("utf-8-sig")
        schema = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        problem = Problem(file, error.lineno, "", f"The file is not JSON: {error.msg}.", "Correct it.")
        return ContractFile(file, None, nothing, (problem,))
    except UnicodeDecodeError:
        problem = Problem(file, 0, "", "The file is not UTF-8.", "Save it as UTF-8.")
        return ContractFile(file, None, nothing, (problem,))
    except OSError as error:
        problem = Problem(file, 0, "", f"The file can not be read: {error.strerror}.", "Make it readable.")
        return ContractFile(file, None, nothing, (problem,))
    except (ValueError, RecursionError) as error:
        problem = Problem(file, 0, "", f"The file is not JSON: {error}.", "Correct it.")
        return ContractFile(file, None, nothing, (problem,))
    document = _with_lines(text)
    problems = [Problem(file, fault.line, _pointer(fault.path), fault.what, "Remove one.") for fault in document.faults]
    if not isinstance(schema, dict):
        problems.append(Problem(file, 1, "", "A contract is a JSON object.", "Describe the payload in one."))
        return ContractFile(file, None, document, tuple(problems))
    problems += [_problem(file, document, flaw) for flaw in flaws(schema, folder, uri_of(file.name, schema))]
    if problems:
        return ContractFile(file, None, document, tuple(problems))
    contract = load_contract(file, folder)
    unstorable = tuple(_problem(file, document, flaw) for flaw in _storage_flaws(contract))
    return ContractFile(file, None if unstorable else contract, document, (), unstorable)


def _storage_flaws(contract: Contract) -> Iterator[Flaw]:
    """Why a table could not hold what the contract describes."""
    try:
        row = contract.row_type
    except UntypedContract as error:
        path = tuple(part.replace("~1", "/").replace("~0", "~") for part in error.pointer.split("/")[1:])
        if path:
            yield Flaw(path, f"{error.why[0].upper()}{error.why[1:]}.", "Correct it, or describe the value in place.")
        else:
            what = "It describes no object with `properties`, so that a table made of it has no columns."
            yield Flaw((), what, "Name the fields of the payload under `properties`.")
        return
    yield from _name_flaws(row, ())


def _name_flaws(kind: DataType, path: tuple[str, ...]) -> Iterator[Flaw]:
    match kind:
        case StructType():
            seen: dict[str, str] = {}
            for field in kind.fields:
                here = (*path, "properties", field.name)
                if not field.name or UNSTORABLE.intersection(field.name):
                    what = f"`{field.name}` can not be a column: its name is empty or holds one of ` ,;{{}}()=`."
                    yield Flaw(here, what, "Leave it out of `properties`; it is then kept in `_rescued_data`.")
                if (other := seen.setdefault(field.name.casefold(), field.name)) != field.name:
                    what = f"`{other}` and `{field.name}` are one column to Spark, which does not tell case."
                    yield Flaw(here, what, "Leave one out of `properties`; it is then kept in `_rescued_data`.")
                yield from _name_flaws(field.dataType, here)
        case ArrayType():
            yield from _name_flaws(kind.elementType, (*path, "items"))
        case MapType():
            yield from _name_flaws(kind.valueType, (*path, "additionalProperties"))


def _problem(file: Path, document: Document, flaw: Flaw) -> Problem:
    return Problem(file, document.line(*flaw.path), _pointer(flaw.path), flaw.what, flaw.remedy)


def _pointer(path: tuple[str | int, ...]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _with_lines(text: str) -> Document:
    """The lines of a JSON text, read as the YAML that it is but for tabs and surrogate escapes."""
    try:
        return parse(_SURROGATE.sub(r"\\u0041", text.replace("\t", " ")))
    except NotYaml:
        return Document(None)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
