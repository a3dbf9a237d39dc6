"""Any order of asking, ending, crashing, looking and pruning keeps what the store promises."""

from __future__ import annotations

import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llm_gateway.ids import new_id
from llm_gateway.request import Request
from llm_gateway.store import claims, jobs, location, operations, rows
from llm_gateway.store.claims import Claim, Full, Limits, Wanted
from llm_gateway.store.connection import write
from llm_gateway.store.owner import this_process
from llm_gateway.store.recorder import open_file
from llm_gateway.store.text import now

LIMITS = Limits(total=2, of_provider=2, queue=2, reserve=1)
LIVE = ("queued", "running")
ENDS = st.sampled_from(["completed", "failed", "canceled"])


@cache
def empty() -> bytes:
    """A recorder's file in which there is nothing yet."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_GATEWAY_HOME", folder)
        path = location.locate(print)
        assert path is not None
        return path.read_bytes()


def new_file(folder: str) -> sqlite3.Connection:
    """A recorder's file of its own, whose disk nobody waits for."""
    path = Path(folder, "logs.db")
    path.write_bytes(empty())
    conn = open_file(path, print)
    conn.execute("PRAGMA synchronous=OFF")
    return conn


class Jobs(RuleBasedStateMachine):
    """What was seen to end is kept apart from what the store says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.conn = new_file(self.folder.name)
        self.ended: dict[str, str] = {}
        self.crashed: set[str] = set()

    def teardown(self) -> None:
        self.conn.close()
        self.folder.cleanup()

    def jobs(self, *statuses: str) -> list[dict[str, Any]]:
        cursor = self.conn.execute("SELECT * FROM job_rows ORDER BY queued_at, id")
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor]
        return [job for job in found if job["status"] in statuses]

    @rule(key=st.sampled_from("abc"), kind=st.sampled_from(["foreground", "submitted"]))
    def ask(self, key: str, kind: str) -> None:
        request, job_id = Request(id=new_id(), provider="claude", prompt=key), new_id()
        setting = rows.Setting(now(), "running", None, "read", "/", ())
        owner = this_process()
        joins = ("submitted",) if kind == "submitted" else ("foreground", "submitted")
        wanted = Wanted(
            {**rows.request_row(request, job_id, setting), "asker": owner.text},
            {**rows.job_row(request, job_id, setting, kind, owner), "key": key},
            rows.body_row(request),
            limits=LIMITS,
            joins=joins,
        )
        before = {job["key"]: job for job in self.jobs(*LIVE) if job["key"]}
        full = len(self.jobs("queued")) >= LIMITS.queue  # a place that is free is theirs first
        try:
            with write(self.conn):
                claim = claims.claim(self.conn, wanted)
        except Full:
            assert (
                full
                and not self.conn.execute(
                    "SELECT 1 FROM request_rows WHERE id = ?", (request.id,)
                ).fetchone()
            )
            return
        self.check(claim, before.get(key), key, kind)

    def check(self, claim: Claim, live: dict[str, Any] | None, key: str, kind: str) -> None:
        """Whose answer it is, by what was there before."""
        if live is not None:
            may = live["kind"] == "submitted" or kind == "foreground"
            if may and live["cancel_requested_at"] is None:
                assert (claim.outcome, claim.job_id) == ("joined", live["id"])
            else:
                assert claim.outcome in ("ran", "queued")
        elif claim.outcome == "collected":
            job = claim.job
            assert job["status"] == "completed" and job["delivered_at"] is None
            assert job["key"] == key
        else:
            assert claim.outcome in ("ran", "queued")

    @precondition(lambda self: self.jobs("running"))
    @rule(status=ENDS, which=st.integers(0, 5))
    def end(self, status: str, which: int) -> None:
        running = self.jobs("running")
        job = running[which % len(running)]
        self.finish(job, status)
        self.ended[job["id"]] = status

    def finish(self, job: dict[str, Any], status: str) -> None:
        ended = {"status": status, "finished_at": now(), "error_category": None}
        with write(self.conn):
            operations.finish(
                self.conn,
                job["request_id"],
                job["id"],
                {**ended, "output_tokens": 1},
                ended,
                {"response": "r", "messages": None},
                None,
            )

    @precondition(lambda self: self.ended)
    @rule(status=ENDS, which=st.integers(0, 5))
    def end_again(self, status: str, which: int) -> None:
        """A late word of somebody who was slow changes nothing (the invariant sees it)."""
        job_id = list(self.ended)[which % len(self.ended)]
        self.finish(jobs.get(self.conn, job_id) | {"id": job_id}, status)

    @precondition(lambda self: self.jobs(*LIVE))
    @rule(which=st.integers(0, 5))
    def crash(self, which: int) -> None:
        """Its owner is another process by now: the start time says so."""
        live = self.jobs(*LIVE)
        job = live[which % len(live)]
        self.crashed.add(job["id"])
        with write(self.conn):
            self.conn.execute("UPDATE job_rows SET owner_pid_start = 1 WHERE id = ?", (job["id"],))

    @rule()
    def look(self) -> None:
        dead = {job["id"] for job in self.jobs(*LIVE)} & self.crashed
        assert set(jobs.reap(self.conn)) == dead
        self.ended.update(dict.fromkeys(dead, "orphaned"))
        assert not {job["id"] for job in self.jobs(*LIVE)} & self.crashed

    @precondition(lambda self: self.jobs("queued"))
    @rule(which=st.integers(0, 5))
    def promote(self, which: int) -> None:
        queued = self.jobs("queued")
        job = queued[which % len(queued)]
        room = len(self.jobs("running")) < LIMITS.total
        with write(self.conn):
            runs = claims.promote(self.conn, job["id"], LIMITS)
        ahead = [other["id"] for other in queued].index(job["id"])
        free = LIMITS.total - len(self.jobs("running")) + runs
        assert runs == (room and ahead < free)

    @precondition(lambda self: self.jobs("completed"))
    @rule(which=st.integers(0, 5))
    def deliver(self, which: int) -> None:
        done = self.jobs("completed")
        jobs.delivered(self.conn, done[which % len(done)]["id"])

    @precondition(lambda self: self.jobs(*LIVE))
    @rule(which=st.integers(0, 5))
    def cancel(self, which: int) -> None:
        live = self.jobs(*LIVE)
        assert jobs.request_cancel(self.conn, live[which % len(live)]["id"])

    @rule()
    def prune(self) -> None:
        """Everything that has ended is old enough; what lives is left alone."""
        from llm_gateway.store.prune import prune

        live = {job["id"] for job in self.jobs(*LIVE)}
        with write(self.conn):
            self.conn.execute(
                "UPDATE job_rows SET finished_at = '2001-01-01T00:00:00.000Z'"
                " WHERE finished_at IS NOT NULL"
            )
        prune(self.conn)
        assert {job["id"] for job in self.jobs(*LIVE)} == live
        assert all(job["pruned_at"] is None for job in self.jobs(*LIVE))

    @invariant()
    def one_live_job_a_key(self) -> None:
        keys = [job["key"] for job in self.jobs(*LIVE) if job["key"]]
        assert len(keys) == len(set(keys))

    @invariant()
    def an_end_never_changes(self) -> None:
        for job_id, status in self.ended.items():
            assert jobs.get(self.conn, job_id)["status"] == status

    @invariant()
    def no_more_run_than_may(self) -> None:
        assert len(self.jobs("running")) <= LIMITS.total

    @invariant()
    def askers_end_with_their_job(self) -> None:
        """But for those who joined a job that was canceled, and may run it again."""
        left = self.conn.execute(
            "SELECT r.id FROM request_rows r JOIN job_rows j ON j.id = r.job_id"
            " WHERE r.status IN ('queued', 'running')"
            " AND j.status NOT IN ('queued', 'running', 'canceled')"
        ).fetchall()
        assert left == []

    @invariant()
    def tokens_count_once(self) -> None:
        told = self.conn.execute(
            "SELECT max(n) FROM (SELECT count(output_tokens) AS n FROM request_rows"
            " GROUP BY job_id)"
        ).fetchone()[0]
        assert (told or 0) <= 1


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=20, stateful_step_count=25, deadline=None, database=None)
