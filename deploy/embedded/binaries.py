"""PostgreSQL's programs, unpacked once from the jar that Maven brings, and the account that they run as."""

from __future__ import annotations

import lzma
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from deploy import build_folder, jars
from deploy.embedded.errors import NoAccountError
from deploy.embedded.process import Account

ACCOUNTS = ("postgres", "nobody")


def server_account() -> Account | None:
    """The account to change to: None unless the user is root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_gid)
    raise NoAccountError(ACCOUNTS)


def may_enter(account: Account | None, folder: Path) -> bool:
    """Whether the account can work in this folder: asked of the kernel, as the account."""
    if account is None:
        return True
    asked = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        cwd="/",
        user=account.name,
        group=account.gid,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def programs(account: Account | None, fallback: Path) -> Path:
    """The folder with `bin/postgres`: in the build folder, unpacked once for all stacks.

    If the account can not enter the build folder (a checkout in root's home), the programs are unpacked into
    `fallback`, for this stack alone.
    """
    jar = next(iter(sorted(jars.resolve("embedded").glob("embedded-postgres-binaries-*.jar"))))
    shared = build_folder() / "postgresql" / jar.stem
    if not shared.exists():
        _unpack(jar, shared)
    if may_enter(account, shared / "bin"):
        return shared
    own = fallback / "programs"
    if not own.exists():
        _unpack(jar, own)
    return own


def _unpack(jar: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        with zipfile.ZipFile(jar) as outer:
            archive = next(name for name in outer.namelist() if name.endswith(".txz"))
            with outer.open(archive) as packed, lzma.open(packed) as raw, tarfile.open(fileobj=raw) as inner:
                # Python before 3.11.4 has no filters; the archive is one that Maven has checked.
                inner.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                inner.extractall(fresh)  # noqa: S202
        fresh.chmod(0o755)
        try:
            fresh.rename(target)
        except OSError:
            # Another process was faster; its copy is the same.
            if not target.exists():
                raise
            shutil.rmtree(fresh)
