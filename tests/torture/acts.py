"""What an operator may do in a round, beside the faults: every way back, with the service running or in its absence."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from pyarrow import fs

from tests.support.service import is_drained
from tests.support.town import Town

_IN_A_BACKFILL = ["backfill.before_batch", "bronze.before_lane", "bronze.before_append", "bronze.after_append"]


def reset(town: Town, chance: random.Random) -> str:
    """A query reads its topic again from somewhere, while the service runs; what is held is not written twice.

    All is read before: a time that is later than what was read would leave records out, as it should.
    """
    _has_begun(town)
    town.service.wait_for(is_drained, "all is read before the reset")
    table = chance.choice(list(town.topics))
    to = chance.choice(["earliest", "batch:0", _ago(chance, 30)])
    _sluice(town, "checkpoints", "reset", table, "--to", to)
    return f"{table} was reset to {to}"


def backfill_cut_short(town: Town, chance: random.Random) -> str:
    """A reset leaves records out; they are brought in from their topic, which dies in the middle and is asked again."""
    _has_begun(town)
    table = chance.choice(list(town.topics))
    town.service.kill()
    town.live(60)
    town.settle()
    _sluice(town, "checkpoints", "reset", table, "--to", "latest")
    town.service.start()
    town.service.wait_for(is_drained, "the query has read on from where it was reset to")
    command = _backfill(town, table)
    if chance.random() < 0.5:
        town.service.kill()
        rule = f"{chance.choice(_IN_A_BACKFILL)}=kill@{chance.randrange(1, 4)}"
        end = _cut_short(town, rule, *command)
        town.sluice(*command)
        return f"{table}, {end}"
    with ThreadPoolExecutor(1) as asking:
        asked = asking.submit(town.sluice, *command, "--rate", "20")
        time.sleep(chance.uniform(2, 8))
        town.service.kill()
        town.service.start()
        asked.result()
    return f"{table}, the service was killed"


def bring_in_again(town: Town) -> None:
    """A rewind may take back what backfills brought in: they are asked for once more."""
    if town.backfills:
        for table in town.topics:
            town.sluice(*_backfill(town, table))
        town.service.wait_for(is_drained, "what was brought in again is in every table")


def _backfill(town: Town, table: str) -> list[str]:
    town.backfills += 1
    known = ["--table", table, "--source", "kafka", "--batch-rows", "15"]
    return ["backfill", *known, "--again", str(town.backfills), "--yes"]


def replay(town: Town, chance: random.Random) -> str:
    """The tables below bronze take all up again, while the service runs."""
    _has_begun(town)
    _sluice(town, "replay")
    return "replayed"


def rewind(town: Town, chance: random.Random) -> str:
    """Everything goes back by up to a minute while the service runs, which reads on from there; now and then undone."""
    _has_begun(town)
    to = _ago(chance, 60)
    done = _sluice(town, "rewind", "--to", to)
    if "Done: act " not in done or chance.random() < 0.5:
        return f"back to {to}"
    town.live(10)
    time.sleep(chance.uniform(0, 3))
    act = done.split("Done: act ")[1].split(";")[0]
    _sluice(town, "rewind", "--to", f"act:{act}")
    return f"back to {to}, and that was taken back"


def rewind_cut_short(town: Town, chance: random.Random) -> str:
    """A rewind without a service dies between two tables; the service that starts next brings it to its end."""
    _has_begun(town)
    town.service.kill()
    rule = f"rewind.between_tables=kill@{chance.randrange(1, 4)}"
    to = _ago(chance, 60)
    return f"back to {to}, {_cut_short(town, rule, 'rewind', '--to', to, '--yes')}"


def lose_checkpoint(town: Town, chance: random.Random) -> str:
    """The service dies and a checkpoint is gone, whole or in part; it is made anew from the ledger."""
    _has_begun(town)
    town.service.kill()
    table = chance.choice(list(town.topics))
    newest = town.lake.checkpoint(table, town.lake.generation(table))
    place = chance.choice([f"{town.lake.root}/_checkpoints/{table}", f"{newest}/offsets", f"{newest}/metadata"])
    filesystem, path = town.lake.filesystem(place)
    if filesystem.get_file_info(path).type == fs.FileType.File:
        filesystem.delete_file(path)
    else:
        filesystem.delete_dir(path)
    shown = town.sluice("checkpoints", "show", code=1)
    if "recover" not in shown:
        raise AssertionError(f"nothing says what to do about {place}: {shown}")
    _sluice(town, "checkpoints", "recover", table)
    return f"{place.removeprefix(town.lake.root)} was lost"


def _has_begun(town: Town) -> None:
    town.service.wait_for(
        lambda status: all(status[table]["rows"] for table in town.topics), "every bronze table has rows"
    )


def _ago(chance: random.Random, most_seconds: float) -> str:
    at = datetime.now(UTC) - timedelta(seconds=chance.uniform(1, most_seconds))
    return at.isoformat(timespec="milliseconds")


def _cut_short(town: Town, rule: str, *command: str) -> str:
    """Run a command that is to die by a failpoint; how it ended."""
    done = town.service.command(*command, failpoints=rule)
    if done.returncode not in (0, -9):
        raise AssertionError(
            f"{command[0]}, which was to die, ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
    return f"{'killed' if done.returncode else 'in fewer steps than'} at {rule}"


def _sluice(town: Town, *arguments: str) -> str:
    return town.sluice(*arguments, "--yes")
