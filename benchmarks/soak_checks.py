"""What has to be true when a soak is over, looked up in its recorder and its directory."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .soak import Soak

__all__ = ["broken", "count_ends", "live_job", "summary"]

LIVE = "status IN ('queued', 'running')"
# Written down by SQLite itself whoever writes, so that a second end is seen too.
ENDS = """
CREATE TABLE soak_ends (job_id TEXT, was TEXT, became TEXT);
CREATE TRIGGER soak_changed AFTER UPDATE OF status ON job_rows WHEN NEW.status IS NOT OLD.status
  AND (NEW.status NOT IN ('queued', 'running') OR OLD.status NOT IN ('queued', 'running'))
BEGIN INSERT INTO soak_ends VALUES (NEW.id, OLD.status, NEW.status); END;
CREATE TRIGGER soak_came AFTER INSERT ON job_rows WHEN NEW.status NOT IN ('queued', 'running')
BEGIN INSERT INTO soak_ends VALUES (NEW.id, NULL, NEW.status); END;
"""
SECOND_ENDS = """
SELECT j.id, j.status, (SELECT json_group_array(was || '→' || became) FROM soak_ends WHERE
  job_id = j.id) FROM job_rows j WHERE (SELECT count(*) FROM soak_ends WHERE job_id = j.id) <> 1
  AND j.id <> (SELECT id FROM job_rows ORDER BY queued_at, started_at, id LIMIT 1)
"""
APART = """
SELECT r.id, r.status, j.status FROM request_rows r JOIN job_rows j ON j.id = r.job_id
  WHERE r.status = 'completed' AND j.status <> 'completed'
"""
UNKILLED = """
SELECT job_id, signal, exit_code, error_message FROM attempts WHERE signal IS NOT 9
  AND error_category NOT IN ('canceled', 'orphaned')
"""


def count_ends(database: Path) -> None:
    """From now on every end of a job is counted; one job has ended before."""
    with closing(sqlite3.connect(database)) as conn:
        conn.executescript(ENDS)


def query(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as conn:
        return conn.execute(sql, values).fetchall()


def live_job(database: Path, where: str) -> str:
    """A job that has not ended, or nothing."""
    rows = query(database, f"SELECT id FROM job_rows WHERE {LIVE} AND {where} LIMIT 1")
    return str(rows[0][0]) if rows else ""


def broken(soak: Soak) -> list[str]:
    """Every promise that was not kept, in a line each; ghosts come before the last asks."""
    wrong = ghosts(soak.database)
    wrong += [f"did not end: {process.args}" for process in soak.askers]
    soak.ask_again()
    wrong += [f"waits for a key: {process.args}" for process in soak.askers]
    wrong += [f"is left: {one.pid} {told_of(one.pid)}" for one in soak.left()]
    wrong += [f"is left: {path}" for path in soak.tmp.iterdir()]
    wrong += ghosts(soak.database)
    looks = {"not one end": SECOND_ENDS, "told apart": APART, "failed by itself": UNKILLED}
    for what, sql in looks.items():
        wrong += [f"{what}: {row}" for row in query(soak.database, sql)]
    (sound,) = query(soak.database, "PRAGMA integrity_check")[0]
    wrong += [] if sound == "ok" else [f"integrity_check: {sound}"]
    return wrong + told_wrongly(soak) + tracebacks(soak.out)


def ghosts(database: Path) -> list[str]:
    """Rows of what does not run any more."""
    wrong = []
    for table, columns in (("job_rows", "id, kind, status, owner_pid, lease_until"),
                           ("request_rows", "id, status, outcome, job_id, asker")):  # fmt: skip
        rows = query(database, f"SELECT {columns} FROM {table} WHERE {LIVE}")
        wrong += [f"a ghost in {table}: {row}" for row in rows]
    return wrong


def told_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return "(gone meanwhile)"


def told_wrongly(soak: Soak) -> list[str]:
    """What an asker was told and the recorder does not have so."""
    wrong = []
    for fact in facts(soak.out):
        if "asked" in fact and fact["after"] > fact["before"]:
            wrong.append(f"descriptors and threads of the resident process: {fact}")
        if "answer" in fact:
            (status,) = query(
                soak.database, "SELECT status FROM job_rows WHERE id = ?", fact["job"]
            )[0]
            first = fact["answer"].splitlines()[:1]
            whole = fact["answer"].endswith("done\n") or fact["answer"].count("\n") == 1
            if status != "completed" or not first or not whole:
                wrong.append(f"told an answer, the job is {status}: {fact}")
        elif fact.get("category") in ("cli_error", "empty_reply", "spawn"):
            wrong.append(f"told something strange: {fact}")
    return wrong


def facts(out: Path) -> list[dict[str, Any]]:
    """What the askers printed; a killed one's last line may be half a line."""
    found = []
    for path in sorted(out.glob("*.json")):
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def tracebacks(out: Path) -> list[str]:
    """Errors that nobody meant; Ctrl-C is meant."""
    wrong = []
    for path in sorted(out.glob("*.err")):
        text = path.read_text(errors="replace")
        if "Traceback" in text and not text.rstrip().endswith("KeyboardInterrupt"):
            wrong.append(f"{path.name}: {text[-1500:]}")
    return wrong


def summary(soak: Soak) -> str:
    """What happened, in a few lines."""
    told = facts(soak.out)
    lines: list[tuple[str, object]] = [
        ("asked", pairs(soak.counts, but="harm: ")),
        ("harm", pairs({k[6:]: n for k, n in soak.counts.items() if k.startswith("harm: ")})),
        ("jobs", pairs(dict(query(soak.database, GROUPED.format("status", "job_rows"))))),
        ("requests", pairs(dict(query(soak.database, GROUPED.format("outcome", "request_rows"))))),
        ("errors", pairs(Counter(f["category"] for f in told if f.get("category")))),
        ("exit codes", pairs(soak.codes)),
        ("breaker", pairs(dict(query(soak.database, BREAKER)))),
        ("recorder", f"{soak.database.stat().st_size / 1e6:.1f} MB"),
    ]  # fmt: skip
    return "".join(f"{name + ':':12}{text}\n" for name, text in lines)


BREAKER = "SELECT to_state, count(*) FROM breaker_changes GROUP BY 1"
GROUPED = "SELECT {0}, count(*) FROM {1} GROUP BY 1"


def pairs(counts: dict[Any, Any], but: str = "\0") -> str:
    kept = sorted((str(k), n) for k, n in counts.items() if not str(k).startswith(but))
    return ", ".join(f"{name} {number}" for name, number in kept) or "none"
