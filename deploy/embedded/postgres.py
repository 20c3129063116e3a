"""A PostgreSQL server with logical decoding, an application role, and a replication role for Debezium."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.embedded import binaries
from deploy.embedded.component import TIMEOUT_SECONDS, Component
from deploy.embedded.errors import UnreachableFolderError
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import Account

DATABASE = "shop"
ADMIN_ROLE, APP_ROLE, REPLICATION_ROLE = "sluice_admin", "shop", "debezium"


@dataclass(frozen=True)
class Login:
    """Where and as whom to connect."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)

    @property
    def dsn(self) -> str:
        """As a URI; it holds the password, so it does not belong into a log."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True)
class _Passwords:
    admin: str = field(repr=False)
    app: str = field(repr=False)
    replication: str = field(repr=False)


class PostgreSQL(Component):
    """One server on 127.0.0.1, without sockets in the file system, wal_level=logical, never run as root.

    `dsn` is for the application's role, which owns the database `shop`; `replication` is for Debezium: a
    role with REPLICATION that is a member of the application's role, since only an owner may put tables
    into a publication; `admin_dsn` is for tests that cut connections. Passwords are made up per data folder.
    """

    name = "postgresql"
    stop_signal = signal.SIGINT  # PostgreSQL's fast shutdown; SIGTERM would wait for its clients

    def __init__(
        self,
        folder: Path,
        *,
        logs: Path | None = None,
        settings: Mapping[str, str | int] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._server_account = binaries.server_account()
        self._settings = dict(settings or {})
        folder.mkdir(parents=True, exist_ok=True)
        self._home, self._home_is_temporary = _home(folder.resolve(), self._server_account)
        super().__init__(folder, logs=logs, timeout_seconds=timeout_seconds)

    @property
    def dsn(self) -> str:
        """The application role's connection URI."""
        return self._login(APP_ROLE, self._passwords().app).dsn

    @property
    def admin_dsn(self) -> str:
        """The superuser's connection URI, in the same database."""
        return self._login(ADMIN_ROLE, self._passwords().admin).dsn

    @property
    def replication(self) -> Login:
        """Debezium's login."""
        return self._login(REPLICATION_ROLE, self._passwords().replication)

    def drop_slot(self, name: str) -> None:
        """Drop a replication slot, and with it what the log keeps for it; harmless where there is none."""
        with psycopg.connect(self.admin_dsn, autocommit=True) as admin:
            slot = "FROM pg_replication_slots WHERE slot_name = %s"
            admin.execute(f"SELECT pg_terminate_backend(active_pid, 30000) {slot} AND active", (name,))
            admin.execute(f"SELECT pg_drop_replication_slot(slot_name) {slot}", (name,))

    @property
    def data_elsewhere(self) -> list[Path]:
        """What it holds outside of a folder that its account can not reach; the caller removes it."""
        return [self._home] if self._home_is_temporary else []

    def _login(self, user: str, password: str, database: str = DATABASE) -> Login:
        return Login(LOOPBACK, self._port(), database, user, password)

    def _account(self) -> Account | None:
        return self._server_account

    def _env(self) -> Mapping[str, str]:
        # Nothing of the user's: PGDATA, PGPORT, LC_ALL and others would change what is started.
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def _cwd(self) -> Path:
        return self._home

    def _prepare(self) -> Sequence[str]:
        programs, data = binaries.programs(self._server_account, self._home) / "bin", self._home / "data"
        if not (data / "PG_VERSION").exists():
            self._initialise(programs / "initdb", data)
        own: dict[str, str | int] = {
            "port": self._port(),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # nothing in /dev/shm to outlive a SIGKILL
            "wal_level": "logical",
            "max_connections": 50,
            "wal_sender_timeout": "30s",
            "fsync": "off",  # a killed process loses nothing by it; only a crash of the machine would
            "timezone": "UTC",
        }
        options = [part for key, value in (own | self._settings).items() for part in ("-c", f"{key}={value}")]
        return [str(programs / "postgres"), "-D", str(data), *options]

    def _healthy(self) -> bool:
        login = self._login(ADMIN_ROLE, self._passwords().admin, "postgres")
        try:
            psycopg.connect(login.dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _after_start(self) -> None:
        passwords = self._passwords()
        app, replication, database = (sql.Identifier(n) for n in (APP_ROLE, REPLICATION_ROLE, DATABASE))
        replicating = sql.SQL("CREATE ROLE {} LOGIN REPLICATION PASSWORD {} IN ROLE {}")
        login = self._login(ADMIN_ROLE, passwords.admin, "postgres")
        with psycopg.connect(login.dsn, autocommit=True) as admin:
            roles = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles").fetchall()}
            databases = {name for (name,) in admin.execute("SELECT datname FROM pg_database").fetchall()}
            if APP_ROLE not in roles:
                admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(app, passwords.app))
            if REPLICATION_ROLE not in roles:
                admin.execute(replicating.format(replication, passwords.replication, app))
            if DATABASE not in databases:
                admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, app))

    def _initialise(self, initdb: Path, data: Path) -> None:
        """Make the data folder under another name first, so that a killed run leaves no half-made one."""
        fresh = data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        passwords = _Passwords(*(secrets.token_urlsafe(18) for _ in range(3)))
        store = self.folder / "passwords.json"
        store.touch(mode=0o600)
        store.write_text(json.dumps(asdict(passwords)))
        handed = self._home / "admin.password"
        handed.touch(mode=0o600)
        handed.write_text(passwords.admin)
        if self._server_account is not None:
            shutil.chown(handed, self._server_account.name, self._server_account.gid)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        login = [f"--username={ADMIN_ROLE}", f"--pwfile={handed}", "--auth=scram-sha-256"]
        options = [*locale, *login, "--no-sync", "--no-instructions"]
        try:
            self._run_tool("initdb", [str(initdb), "-D", str(fresh), *options])
        finally:
            handed.unlink()
        fresh.rename(data)

    def _passwords(self) -> _Passwords:
        return _Passwords(**json.loads((self.folder / "passwords.json").read_text()))


def _home(folder: Path, account: Account | None) -> tuple[Path, bool]:
    """The folder that belongs to the server's account, and whether it is a temporary one outside of `folder`.

    A temporary one is linked from `folder`, where the next server of the same folder finds it.
    """
    home = folder / "server"
    if home.is_symlink() and home.is_dir():
        return home.resolve(), True
    if account is None:
        home.mkdir(mode=0o700, exist_ok=True)
        return home, False
    if binaries.may_enter(account, folder):
        home.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(home, account.name, account.gid)
        return home, False
    temporary = Path(tempfile.mkdtemp(prefix="sluice-postgresql-"))
    shutil.chown(temporary, account.name, account.gid)
    if not binaries.may_enter(account, temporary):
        shutil.rmtree(temporary)
        raise UnreachableFolderError(account.name, [folder, temporary.parent])
    home.unlink(missing_ok=True)
    home.symlink_to(temporary)
    return temporary, True
