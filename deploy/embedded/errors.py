"""Why the embedded stack, or a part of it, is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy import DeployError


class EmbeddedError(DeployError):
    """Base of what can go wrong with the embedded stack."""


class StartError(EmbeddedError):
    """A process could not be started, ended while starting, or did not become healthy in time."""

    def __init__(self, name: str, reason: str, log: Path, log_tail: str) -> None:
        self.name, self.reason, self.log, self.log_tail = name, reason, log, log_tail
        super().__init__(f"{name} {reason}. The end of its log, {log}:\n{log_tail or '(the log is empty)'}")


class ToolFailedError(EmbeddedError):
    """A tool that prepares a data folder (`initdb`, Kafka's storage tool) ended with an error."""

    def __init__(self, tool: str, exit_code: int, output: str) -> None:
        self.tool, self.exit_code, self.output = tool, exit_code, output
        super().__init__(f"{tool} ended with exit code {exit_code}:\n{output or '(no output)'}")


class AbandonedError(EmbeddedError):
    """The start of a process was called off, because another one failed or the user interrupted."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The start of {name} was called off before it was healthy.")


class NotRunningError(EmbeddedError):
    """A part of the stack was used that has not been started, or has been stopped."""

    def __init__(self, name: str, remedy: str) -> None:
        self.name = name
        super().__init__(f"{name} is not running. {remedy}")


class JavaMissingError(EmbeddedError):
    """There is no `java` in JAVA_HOME or on the PATH."""

    def __init__(self, looked_in: Sequence[str]) -> None:
        self.looked_in = tuple(looked_in)
        super().__init__(
            f"Java 17 or newer is needed; looked in {' and '.join(looked_in)}. "
            "Install it (Debian: apt-get install default-jdk-headless; macOS: brew install openjdk@17)."
        )


class NoAccountError(EmbeddedError):
    """The user is root, PostgreSQL refuses root, and none of the accounts to change to exists."""

    def __init__(self, tried: Sequence[str]) -> None:
        self.tried = tuple(tried)
        super().__init__(
            f"PostgreSQL does not run as root, and there is no account {' or '.join(tried)} to run it as. "
            "Create one (useradd --system postgres), or start Sluice as another user than root."
        )


class UnreachableFolderError(EmbeddedError):
    """The account that PostgreSQL runs as can enter neither the stack's folder nor the temporary folder."""

    def __init__(self, account: str, folders: Sequence[Path]) -> None:
        self.account, self.folders = account, tuple(folders)
        super().__init__(
            f"The account {account}, which PostgreSQL runs as, can not enter "
            f"{' or '.join(map(str, folders))}. Give a folder "
            "whose parents it may enter (chmod o+x), or set TMPDIR to one."
        )


class MissingTablesError(EmbeddedError):
    """Debezium was asked for tables that PostgreSQL does not have; it would leave them out silently."""

    def __init__(self, tables: Sequence[str], database: str) -> None:
        self.tables, self.database = tuple(tables), database
        super().__init__(
            f"Database {database} has no table {', '.join(tables)}. Create them before Connect is started: "
            "Debezium makes its publication from those that exist."
        )


class StackRunningError(EmbeddedError):
    """A stack is already up in this folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        self.folder, self.pid = folder, pid
        holder = f" (supervisor process {pid})" if pid is not None else ""
        super().__init__(
            f"A stack is already running, or being started, in {folder}{holder}. "
            f"Use it (addresses in {folder / 'stack.json'}), or stop it first with `sluice stack down`."
        )


class StackNotRunningError(EmbeddedError):
    """No stack is up in this folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"No stack is running in {folder}: there is no {folder / 'stack.json'}. "
            "Start one with `sluice stack up`, or give the folder that it was started with."
        )


class StackFailedError(EmbeddedError):
    """The detached stack ended, or was not healthy in time; its supervisor's log says why."""

    def __init__(self, folder: Path, reason: str, log_tail: str) -> None:
        self.folder, self.reason, self.log_tail = folder, reason, log_tail
        super().__init__(f"The stack in {folder} {reason}:\n{log_tail or '(its log is empty)'}")
