"""PostgreSQL is there for two roles, for this machine alone, and never as root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.embedded import binaries, postgres
from deploy.embedded.errors import NoAccountError, StartError, ToolFailedError, UnreachableFolderError
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.postgres import PostgreSQL
from deploy.embedded.stack import EmbeddedStack

pytestmark = pytest.mark.stack
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")


def remove_data(server: PostgreSQL) -> None:
    for folder in server.data_elsewhere:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgreSQL]:
    one = PostgreSQL(tmp_path / "postgresql")
    yield one
    one.kill()
    remove_data(one)


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_no_process_of_it_runs_as_root(stack: EmbeddedStack) -> None:
    server = psutil.Process(stack.postgres.pids[0])
    for process in [server, *server.children(recursive=True)]:
        assert 0 not in process.uids()
        assert 0 not in process.gids()


def test_it_listens_on_the_loopback_interface_alone(stack: EmbeddedStack, listening: Callable[[int], set[str]]) -> None:
    assert listening(stack.postgres.pids[0]) == {LOOPBACK}
    assert value(stack.postgres.admin_dsn, "SHOW unix_socket_directories") == ""


def test_it_decodes_its_log_for_replication(stack: EmbeddedStack) -> None:
    assert value(stack.postgres.dsn, "SHOW wal_level") == "logical"


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("shop", {"superuser": False, "replication": False}),
        ("debezium", {"superuser": False, "replication": True}),
        ("sluice_admin", {"superuser": True, "replication": True}),
    ],
)
def test_each_role_may_do_its_own(stack: EmbeddedStack, role: str, may: dict[str, bool]) -> None:
    with psycopg.connect(stack.postgres.dsn) as connection:
        query = "SELECT rolsuper, rolreplication FROM pg_roles WHERE rolname = %s"
        found = connection.execute(query, [role]).fetchone()
    assert found == (may["superuser"], may["replication"])


def test_a_wrong_password_is_refused(stack: EmbeddedStack) -> None:
    login = stack.postgres.replication
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(login.dsn.replace(login.password, "guessed"))


def test_no_password_is_shown_by_accident(stack: EmbeddedStack) -> None:
    assert stack.postgres.replication.password not in repr(stack.postgres.replication)
    assert stack.postgres.replication.password not in stack.postgres.log.read_text()


def test_rows_survive_a_crash_and_a_restart(server: PostgreSQL) -> None:
    server.start()
    dsn = server.dsn
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'Zürich' AS city")
    open_connection = psycopg.connect(dsn)
    server.kill()
    server.start()
    assert server.dsn == dsn
    assert value(dsn, "SELECT upper(city) FROM kept") == "ZÜRICH"
    server.restart()
    assert value(dsn, "SELECT count(*) FROM kept") == 1
    open_connection.close()


def test_a_setting_that_it_refuses_is_shown_by_the_end_of_its_log(tmp_path: Path) -> None:
    server = PostgreSQL(tmp_path / "postgresql", settings={"wal_level": "sideways"})
    with pytest.raises(StartError) as failure:
        server.start()
    remove_data(server)
    assert "postgresql ended with exit code 1 while starting" in str(failure.value)
    assert 'invalid value for parameter "wal_level": "sideways"' in str(failure.value)


def test_a_tool_that_fails_is_quoted(server: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "ADMIN_ROLE", "pg_admin")
    with pytest.raises(ToolFailedError, match=r"initdb ended with exit code 1:\n.*pg_admin"):
        server.start()


@as_root
def test_it_runs_as_nobody_where_there_is_no_account_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "ACCOUNTS", ("no-such-account", "nobody"))
    server = PostgreSQL(tmp_path / "postgresql")
    server.start()
    try:
        assert psutil.Process(server.pids[0]).username() == "nobody"
    finally:
        server.stop()
        remove_data(server)


@as_root
def test_without_any_account_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "ACCOUNTS", ("no-such-account",))
    with pytest.raises(NoAccountError, match="useradd --system postgres"):
        PostgreSQL(tmp_path / "postgresql")


@as_root
def test_a_folder_and_programs_out_of_its_accounts_reach_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    account = binaries.server_account()
    assert account is not None
    server = PostgreSQL(closed / "postgresql")
    monkeypatch.setattr(binaries, "may_enter", lambda _, folder: "sluice-postgresql-" in str(folder))
    server.start()
    home = Path(psutil.Process(server.pids[0]).cwd()).parent
    assert value(server.dsn, "SELECT 1") == 1
    assert not home.is_relative_to(closed)
    server.stop()
    remove_data(server)
    assert not home.exists()


@as_root
def test_a_folder_that_its_account_can_not_reach_at_all_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UnreachableFolderError, match=r"can not enter .*chmod o\+x"):
        PostgreSQL(tmp_path / "postgresql")
