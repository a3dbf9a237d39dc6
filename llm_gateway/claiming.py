"""What an asker brings to the claim, and what it is told of the answer that it gets."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import Any

from . import nesting, sessions, settings
from .errors import Saturated
from .pacing import end_turn
from .providers.base import Provider
from .records import record
from .request import Access, SessionPlan
from .run import Run
from .spec import spec_of
from .store.claims import Claim, Full, Limits
from .store.jobs import heard_at
from .store.recorder import Recorder
from .store.text import iso, seconds_of

__all__ = ["Claiming", "joined_note", "limits"]

WORKER_KINDS = ("submitted", "durable")


def limits() -> Limits:
    """How many jobs may run and wait, as the settings have it."""
    return Limits(*settings.limits())


@record
class Claiming:
    """One request that is about to be answered by somebody.

    :param kind: ``foreground``, ``submitted`` or ``durable``.
    """

    run: Run
    recorder: Recorder
    provider: Provider
    executable: str
    access: Access
    plan: SessionPlan
    kind: str

    def __post_init__(self) -> None:
        self.request = self.run.request
        self.environment: tuple[dict[str, str], tuple[str, ...]] | None = None
        self.key = self._key() if self._holds_key() else None

    def claim(self) -> Claim | None:
        """Decide who answers; None where there is no recorder to ask.

        :raises Saturated: there is no room for one more.
        """
        conn, o = self.recorder.connection, self.request.options
        if conn is None:
            return None
        from .dedup.fingerprint import head
        from .store.fetching import reap_if_possible

        reap_if_possible(conn)
        since = iso(time.time() - settings.dedup_window())
        at = head(o.cwd or "") if self.key else None
        try:
            return self.recorder.claim(
                self.request,
                self.run.job_id,
                model=o.model,
                access=self.access,
                cwd=o.cwd,
                add_dirs=o.add_dirs or (),
                kind=self.kind,
                columns=self._columns(at),
                head=at,
                fingerprint=self._fingerprint(since),
                since=since,
                limits=limits(),
                joins=WORKER_KINDS if self.kind in WORKER_KINDS else ("foreground", *WORKER_KINDS),
                ancestors=frozenset(nesting.ancestors()),
            )
        except Full as error:
            raise Saturated(f"{error}; try again later, or see: llm gateway jobs") from None

    def _columns(self, head: str | None) -> dict[str, Any]:
        inside = nesting.ancestors()
        return {
            "key": self.key,
            "head": head,
            "parent_job_id": inside[-1] if inside else None,
            "spec_json": spec_of(self.request, self.access) if self.kind in WORKER_KINDS else None,
        }

    def _holds_key(self) -> bool:
        """Whether another ask may have this one's answer, or this one another's.

        What is not to be kept is never on disk for others, and a turn of a session is one of a
        kind: only a durable one is found again, by the same turn of the same session.
        """
        o = self.request.options
        if o.force_refresh or not self.request.keep_bodies or settings.dedup_window() <= 0:
            return False
        new = self.plan.kind == "new" and not self.request.history and self.plan.name is None
        return new or (self.kind == "durable" and bool(sessions.turn_of(self.request, self.plan)))

    def _key(self) -> str:
        from .dedup.key import request_key

        self.environment = self.provider.environment(os.environ, self.access, settings.pass_env())
        return request_key(
            self.request,
            self.provider,
            self.executable,
            self.environment[0],
            self.access,
            session=sessions.turn_of(self.request, self.plan),
        )

    def _fingerprint(self, since: str) -> str | None:
        """Of the workspace, where there is an answer that it may be good for."""
        asked = self.request.options.reuse
        default = self.kind == "submitted" or settings.reuse()
        if self.key is None or self.access is not Access.READ:
            return None
        if not (default if asked is None else asked):
            return None
        if not self.recorder.can_reuse(self.key, since):
            return None
        from .dedup.fingerprint import fingerprint

        end_turn()  # it mostly waits for Git
        return fingerprint(self.request.options.cwd or "")


def joined_note(conn: sqlite3.Connection, claim: Claim) -> str:
    """One line for the person who gets the answer of a job."""
    job = claim.job
    if claim.outcome in ("ran", "queued"):
        return f"job {job['id']} (llm gateway job result {job['id']})"
    if claim.outcome == "joined":
        heard = heard_at(conn, job["id"])
        silent = "silent since" if heard is None else f"silent for {_since(heard)}"
        return (
            f"joined job {job['id']}, begun {_ago(job['started_at'])} ago, {silent}; "
            "-o force_refresh 1 runs its own"
        )
    age = _ago(job["finished_at"])
    return (
        f"{claim.outcome} the answer of job {job['id']}, {age} old; "
        "-o force_refresh 1 runs it again"
    )


def _ago(moment: str) -> str:
    return _since(seconds_of(moment))


def _since(moment: float) -> str:
    """How long ago that was, in the largest unit that fits."""
    seconds = max(0.0, time.time() - moment)
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
