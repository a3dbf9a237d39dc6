"""What a busy user's recorder has seen: plausible in shape, the same for the same seed.

Working hours and weekends, hours in which a script asks hundreds of times, sessions that go on for
days in a few hundred directories, durations and costs with long tails, incidents at a vendor during
which most requests fail and the breaker opens, denials, shared answers, retries.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from llm_gateway.store.text import iso, preview, prompt_hash

from .past_run import PROVIDERS, Session, run
from .past_words import Words, pick

__all__ = ["Entry", "Past"]

HOUR = 3600
OUTCOMES = {"ran": 0.925, "reused": 0.035, "joined": 0.015, "collected": 0.005, "denied": 0.02}
RULES = (
    ("full_auto", 2, "the request may edit"),
    ("sensitive_words", 3, "the prompt has a word such as token or delete"),
    ("no_tools_in_review", 6, "a review without tools"),
    ("bypass", 3, "every permission is asked for"),
)


class Entry(NamedTuple):
    """One request with all that belongs to it; each row by the names of its columns."""

    request: dict[str, Any]
    body: dict[str, Any]
    job: dict[str, Any] | None
    attempts: list[dict[str, Any]]
    events: list[tuple[Any, ...]]
    approval: dict[str, Any] | None


class Past:
    """All of it, oldest first; ``sessions`` and ``incidents`` are known when it has been told.

    :param until: seconds since 1970 at which the last request began.
    """

    def __init__(self, requests: int, seed: int, until: float, days: int) -> None:
        self.chance = random.Random(seed)
        self.count, self.until, self.days = requests, until, days
        self.sessions: list[Session] = []
        self.incidents: list[tuple[str, float, float]] = []
        self._open: list[Session] = []
        self._done: list[dict[str, Any]] = []
        self.words = Words(self.chance)
        self._cwds = [f"/home/user/src/{self.words.name()}" for _ in range(240)]
        self._plan_incidents()

    def __iter__(self) -> Iterator[Entry]:
        for number, at in enumerate(self._times()):
            yield self._entry(at, live=self.count - number <= 3)

    def breakers(self) -> list[dict[str, Any]]:
        """They are all closed again."""
        names = sorted({provider for provider, _, _ in self.incidents})
        return [{"scope": _scope(name), "provider": name} for name in names]

    def breaker_changes(self) -> list[dict[str, Any]]:
        """Open a little after an incident began, half open, closed."""
        rows = []
        for provider, begun, ended in self.incidents:
            steps = (("closed", "open", begun + 40), ("open", "half_open", ended))
            for before, after, at in (*steps, ("half_open", "closed", ended + 3)):
                rows.append(
                    {
                        "datetime_utc": iso(at),
                        "scope": _scope(provider),
                        "provider": provider,
                        "from_state": before,
                        "to_state": after,
                        "failures": 0 if after == "closed" else 5,
                        "last_error": "overloaded",
                    }
                )
        return sorted(rows, key=lambda row: row["datetime_utc"])

    # Times

    def _times(self) -> Iterator[float]:
        some = self.chance
        start = self.until - self.days * 24 * HOUR
        hours = range(self.days * 24)
        weights = [self._weight(start + hour * HOUR) * (0.4 + hour / len(hours)) for hour in hours]
        for _ in range(max(1, len(weights) // 200)):  # a script was let loose
            weights[some.randrange(len(weights))] += 12.0
        total, given, so_far = sum(weights), 0, 0.0
        for hour, weight in enumerate(weights):
            so_far += weight
            here = round(self.count * so_far / total) - given
            given += here
            begun = start + hour * HOUR
            yield from sorted(begun + some.random() * HOUR for _ in range(here))

    def _weight(self, at: float) -> float:
        hour, weekday = int(at // HOUR) % 24, int(at // (24 * HOUR) + 4) % 7
        at_work = 1.0 if 8 <= hour < 19 else 0.25 if 6 <= hour < 23 else 0.06
        return at_work * (0.3 if weekday in (0, 6) else 1.0) * (0.6 + 0.8 * self.chance.random())

    def _plan_incidents(self) -> None:
        some = self.chance
        start = self.until - self.days * 24 * HOUR
        for _ in range(self.days // 6):
            provider = some.choice(list(PROVIDERS))
            begun = start + some.random() * self.days * 24 * HOUR
            self.incidents.append((provider, begun, begun + some.lognormvariate(7.5, 0.8)))
        self.incidents.sort(key=lambda incident: incident[1])

    def _amiss(self, provider: str, at: float) -> bool:
        return any(who == provider and a <= at < b for who, a, b in self._near(at))

    def _near(self, at: float) -> list[tuple[str, float, float]]:
        return [i for i in self.incidents if i[1] <= at < i[2]]

    # Requests

    def _session(self) -> Session:
        some = self.chance
        if self._open and some.random() < 0.72:
            found = self._open[-1 - int(len(self._open) * some.random() ** 2) % len(self._open)]
            found.left -= 1
            if found.left <= 0:
                self._open.remove(found)
            return found
        provider = pick(some, {name: told[0] for name, told in PROVIDERS.items()})
        model = pick(some, PROVIDERS[provider][1])
        cwd = self._cwds[int(len(self._cwds) * some.random() ** 3)]
        access = pick(some, {"read": 0.72, "edit": 0.26, "full": 0.02})
        made = Session(provider, model, cwd, access, 1 + int(some.expovariate(1 / 5)))
        self.sessions.append(made)
        self._open.append(made)
        if len(self._open) > 60:
            self._open.pop(0)
        return made

    def _entry(self, at: float, live: bool) -> Entry:
        some = self.chance
        session = self._session()
        outcome = "ran" if live else pick(some, OUTCOMES)
        if outcome in ("reused", "joined", "collected") and self._done:
            return self._shared(at, session, outcome)
        prompt = self.words.text(1.4, 60)
        if some.random() < 0.2:
            prompt += f" See {self.words.name()}."
        row = self._asked(at, session, prompt)
        body = _body(row["id"], prompt)
        if outcome == "denied":
            self._deny(row)
            return Entry(row, body, None, [], [], self._approval(row, False))
        approval = self._approval(row, True) if some.random() < 0.05 else None
        job, attempts, events = self._run(at, session, row, body, live)
        return Entry(row, body, job, attempts, events, approval)

    def _asked(self, at: float, session: Session, prompt: str) -> dict[str, Any]:
        if not session.id:
            session.id, session.thread = self.words.uuid(), self.words.id(at)
            session.title = preview(prompt)[:60]
        return {
            "id": self.words.id(at),
            "provider": session.provider,
            "model": session.model,
            "requested_model": session.model,
            "outcome": "ran",
            "datetime_utc": iso(at),
            "session_id": session.id,
            "turn_id": self.words.id(at),
            "thread_id": session.thread,
            "access": session.access,
            "cwd": session.cwd,
            "options_json": f'{{"access":"{session.access}"}}',
            "prompt_chars": len(prompt),
            "prompt_preview": preview(prompt),
            "prompt_hash": prompt_hash(prompt),
        }

    def _deny(self, row: dict[str, Any]) -> None:
        row.update(
            status="failed",
            outcome="denied",
            error_category="permission_denied",
            error_message="Denied: the prompt has a word such as token or delete (3).",
            duration_ms=self.chance.randint(1, 9),
            approval_decision="denied",
            finished_at=row["datetime_utc"],
        )

    def _shared(self, at: float, session: Session, outcome: str) -> Entry:
        """The prompt of somebody before, and that one's answer."""
        first = self.chance.choice(self._done)
        row = self._asked(at, session, first["prompt"])
        copied = ("provider", "model", "resolved_model", "job_id", "session_id", "cwd", "access")
        row.update({name: first[name] for name in copied})
        took = 4 if outcome == "reused" else first["duration_ms"] // 2
        row.update(
            status="completed",
            outcome=outcome,
            duration_ms=took,
            finished_at=iso(at + took / 1000),
            response_chars=len(first["response"]),
        )
        body = _body(row["id"], first["prompt"], first["response"])
        return Entry(row, body, None, [], [], None)

    def _approval(self, row: dict[str, Any], approved: bool) -> dict[str, Any]:
        some = self.chance
        rules = some.sample(RULES, k=some.randint(0, 1) if approved else some.randint(2, 3))
        score = sum(points for _, points, _ in rules)
        row["approval_decision"] = "approved" if approved else "denied"
        told = [{"rule": name, "points": n, "reason": why} for name, n, why in rules]
        return {
            "id": self.words.uuid(),
            "request_id": row["id"],
            "datetime_utc": row["datetime_utc"],
            "provider": row["provider"],
            "operation": "prompt",
            "access": row["access"],
            "policy": "balanced" if approved else "strict",
            "decision": row["approval_decision"],
            "score": score,
            "threshold": 5 if approved else 2,
            "rules_json": json.dumps(told),
        }

    def _run(
        self, at: float, session: Session, row: dict[str, Any], body: dict[str, Any], live: bool
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[tuple[Any, ...]]]:
        job, attempts, events = run(
            self.words, session, row, body, at, self._amiss(session.provider, at), live
        )
        if row["status"] == "completed":
            done = {**row, "prompt": body["prompt"], "response": body["response"]}
            if len(self._done) < 200:
                self._done.append(done)
            else:
                self._done[self.chance.randrange(200)] = done
            session.turns += 1
            session.cost += row.get("cost_usd", 0.0)
        session.first, session.last = session.first or row, row
        return job, attempts, events


def _body(id: str, prompt: str, response: str | None = None) -> dict[str, Any]:
    """All have the same columns, so that they are written in the order of time."""
    return {"id": id, "prompt": prompt, "response": response, "stderr": None}


def _scope(provider: str) -> str:
    return f"{provider}:/home/user/.{provider}:login"
