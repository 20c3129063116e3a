"""Folders of pinned jars, resolved by Maven from the poms in this folder.

`pom.xml` names what the service gives to Spark, `s3/pom.xml` what it gives it beside for a lake on S3, a jar of
Sluice's own among it, and `embedded.xml` what only the embedded stack needs. A stamp beside the jars holds the hash of
the pom and of its sources, and the jars' names: as long as both still agree, nothing is started.
Maven's folder replaces the old one whole, so that a jar that left the pom is gone, and a failed or killed
run changes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from deploy import build_folder
from deploy.jars.errors import JarsError, MavenFailedError, MavenMissingError, UnknownJarSetError

__all__ = ["JarSet", "JarsError", "MavenFailedError", "MavenMissingError", "UnknownJarSetError", "resolve"]

JarSet = Literal["service", "s3", "embedded"]
POMS: dict[JarSet, Path] = {
    "service": Path(__file__).with_name("pom.xml"),
    "s3": Path(__file__).with_name("s3") / "pom.xml",
    "embedded": Path(__file__).with_name("embedded.xml"),
}
STAMP = ".stamp.json"
TAIL_LINES = 30


def resolve(name: JarSet) -> Path:
    """The folder with the jars of a set, fetched by Maven if the pom has changed since the last time.

    Errors: `MavenMissingError`, `MavenFailedError`, `UnknownJarSetError`. A re-run with an unchanged pom
    reads two small files. Processes that ask at the same time wait for each other, and only the first
    starts Maven.
    """
    if name not in POMS:
        raise UnknownJarSetError(str(name), get_args(JarSet))
    return resolve_pom(POMS[name], build_folder() / "jars" / name)


def resolve_pom(pom: Path, folder: Path) -> Path:
    """As `resolve`, for any pom and folder."""
    wanted = _fingerprint(pom)
    if _is_current(folder, wanted):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f".{folder.name}.lock")):
        if not _is_current(folder, wanted):
            _replace(folder, pom, wanted)
    return folder


def _fingerprint(pom: Path) -> str:
    # The machine is part of it: profiles in the pom choose PostgreSQL's binaries by it.
    machine = f"{platform.system()}-{platform.machine()}"
    sources = sorted((pom.parent / "src").rglob("*.java"))
    texts = [file.read_bytes() for file in (pom, *sources)]
    return hashlib.sha256(b"".join(texts) + machine.encode()).hexdigest()


def _is_current(folder: Path, wanted: str) -> bool:
    try:
        stamp = json.loads((folder / STAMP).read_text())
        return bool(stamp["pom"] == wanted) and all((folder / jar).is_file() for jar in stamp["jars"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _replace(folder: Path, pom: Path, wanted: str) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        _run_maven(pom, fresh, Path(scratch) / "work")
        jars = sorted(jar.name for jar in fresh.glob("*.jar"))
        (fresh / STAMP).write_text(json.dumps({"pom": wanted, "jars": jars}, indent=1))
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        fresh.rename(folder)


def _run_maven(pom: Path, target: Path, work: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MavenMissingError(pom, target.parent.parent)
    phases = ["package"] if (pom.parent / "src").is_dir() else []
    command = [maven, "--quiet", "--batch-mode", "--file", str(pom), *phases, "dependency:copy-dependencies"]
    ended = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-DoutputDirectory={target}", f"-DbuildDirectory={work}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode != 0 or not any(target.glob("*.jar")):
        tail = "\n".join(ended.stdout.strip().splitlines()[-TAIL_LINES:]) or "(no output)"
        raise MavenFailedError(pom, ended.returncode, tail)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
