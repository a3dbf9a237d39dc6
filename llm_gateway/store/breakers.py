"""Circuit breakers, shared by every process: a provider that keeps failing is left alone a while.

closed → open (enough failed attempts in a row, all of them transient, or a time that the vendor
stated) → half_open (its time is over: exactly one attempt, the probe, tries the vendor again)
→ closed (it answered) or open (it failed again).

What counts. A vendor that answers closes it, whoever asked and whatever comes of the run. A
transient failure counts one. Any other failure (a login, a model that does not exist, Ctrl-C, a
time-out) says nothing about whether the vendor answers: it neither counts nor begins the count
anew; a probe that ends so gives way to the next one.

Admission and the probe's lease are one transaction. A closed breaker is one read by primary key
and no write. Whether a probe is still there is told by its process, never by the wall clock where
that can be helped: the lease runs on the machine's own clock, which never steps. What was opened
in the future, because the clock was put back, is open for its length from now.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_gateway import settings
from llm_gateway.digest import sha256
from llm_gateway.errors import BreakerOpen, GatewayError, Transient
from llm_gateway.policy.child_env import is_secret
from llm_gateway.policy.redact import redact
from llm_gateway.store.connection import write
from llm_gateway.store.owner import lives, of_text, this_process
from llm_gateway.store.text import clean, iso, seconds_of, span

if TYPE_CHECKING:
    from llm_gateway.providers.base import Provider

__all__ = ["LEASE_SECONDS", "State", "admit", "peek", "report", "reset", "scope", "states"]

# A probe that has been silent for so long is taken over: its process may be stopped for days.
LEASE_SECONDS = 300.0
# A vendor that asks to wait less states a pace, which a retry keeps, and no quota.
PACE_SECONDS = 5.0
LONGEST_OPEN = 32 * 86_400.0
PATIENCE = 2.0
_LONGEST_ERROR = 500
_COLUMNS = "state, failures, since, until, probe_job_id, probe_until, probe_owner, last_error"


class State(NamedTuple):
    """A breaker; times are Unix seconds. ``until`` is None where it may be tried now."""

    scope: str
    provider: str
    state: str = "closed"
    failures: int = 0
    since: float | None = None
    until: float | None = None
    probe_job_id: str | None = None
    probe_until: float | None = None
    probe_owner: str | None = None
    last_error: str | None = None


def scope(provider: Provider, env: Mapping[str, str]) -> str:
    """Whose failures count together: provider, configuration directory, hash of the API keys.

    :param env: the child's environment.
    """
    vendor = provider.environment_names(env)
    keys = [name for name in sorted(env) if is_secret(name) and vendor.pass_(name, env)]
    told = "\0".join(env[name] for name in keys)
    key = sha256(told.encode("utf-8", "replace")).hexdigest()[:12] if told else "no-key"
    return clean(f"{provider.name} {provider.config_dir(env)} {key}")


def admit(
    conn: sqlite3.Connection, scope: str, provider: str, job_id: str, now: float | None = None
) -> str:
    """Let an attempt through, or raise BreakerOpen; the state in which it goes.

    ``half_open`` means that this attempt is the probe: its outcome has to be reported.
    """
    now = time.time() if now is None else now
    found = _read(conn, scope, provider)
    if found.state == "closed" or not settings.breaker_threshold():
        return "closed"
    if _waits(found, now) or (found.probe_job_id != job_id and _probed(found, now)):
        raise refusal(found, now)
    with write(conn, PATIENCE):
        found = _read(conn, scope, provider)
        if found.state != "closed":
            found = _decide(conn, found, job_id, now)
    if found.state == "closed" or found.probe_job_id == job_id:
        return found.state
    raise refusal(found, now)


def peek(
    conn: sqlite3.Connection, scope: str, provider: str, job_id: str, now: float
) -> BreakerOpen | None:
    """Why an attempt would be refused at that time, as far as one can tell; takes nothing."""
    found = _as_met(_read(conn, scope, provider), now)
    free = found.state == "closed" or found.probe_job_id == job_id
    if free or not settings.breaker_threshold():
        return None
    return refusal(found, now) if found.state == "open" or _probed(found, now) else None


def report(
    conn: sqlite3.Connection,
    scope: str,
    provider: str,
    job_id: str,
    error: GatewayError | None,
    now: float | None = None,
) -> None:
    """What became of an attempt; ``error`` is None as soon as the vendor has answered."""
    now = time.time() if now is None else now
    if isinstance(error, Transient):
        if settings.breaker_threshold():
            with write(conn, PATIENCE):
                _save(conn, _after_failure(_read(conn, scope, provider), job_id, error, now))
        return
    found = _read(conn, scope, provider)
    idle = found.state == "closed" and not found.failures
    if idle or (error is not None and found.probe_job_id != job_id):
        return
    with write(conn, PATIENCE):
        found = _read(conn, scope, provider)
        if error is None:
            _save(conn, _closed(found, now))
        elif found.probe_job_id == job_id:
            _save(conn, _without_probe(found))


def states(conn: sqlite3.Connection, now: float | None = None) -> list[State]:
    """Every breaker there has been, as a prompt would meet it now."""
    now = time.time() if now is None else now
    rows = conn.execute(f"SELECT scope, provider, {_COLUMNS} FROM breakers ORDER BY scope")
    return [_as_met(_state(row), now) for row in rows.fetchall()]


def reset(conn: sqlite3.Connection, provider: str, now: float | None = None) -> int:
    """Close every breaker of a provider; how many there were to close."""
    now = time.time() if now is None else now
    with write(conn):
        rows = conn.execute(
            f"SELECT scope, provider, {_COLUMNS} FROM breakers"
            " WHERE provider = ? AND (state <> 'closed' OR failures > 0)",
            (provider,),
        ).fetchall()
        for row in rows:
            _save(conn, _closed(_state(row), now))
    return len(rows)


def refusal(found: State, now: float) -> BreakerOpen:
    """The error of an attempt that is not let through."""
    why = f"{found.provider} is left alone after {_times(found.failures)}"
    if found.last_error:
        why += f" ({found.last_error.rstrip('.')})"
    if found.state == "half_open":
        return BreakerOpen(f"{why}; another prompt is trying it at this moment")
    assert found.until is not None
    return BreakerOpen(f"{why}; it will be tried again {_when(found.until, now)}",
                       retry_at=found.until)  # fmt: skip


def _times(failures: int) -> str:
    return f"{failures} failed attempts" if failures != 1 else "a failed attempt"


def _when(until: float, now: float) -> str:
    """A moment by the person's own clock, and how far off that is."""
    left = span(max(1, round(until - now)))
    there, here = time.localtime(until), time.localtime(now)
    form = "%H:%M:%S" if there[:3] == here[:3] else "%Y-%m-%d %H:%M:%S"
    return f"at {time.strftime(form, there)} (in {left})"


# Transitions. Each gives the state that is to be kept.


def _decide(conn: sqlite3.Connection, found: State, job_id: str, now: float) -> State:
    """Inside the transaction: who gets the probe, and what a clock that was put back means."""
    if _in_the_future(found, now):
        return _save(conn, _anchored(found, now))
    if _waits(found, now) or _probed(found, now):
        return found
    probe = found._replace(
        state="half_open",
        since=found.since if found.state == "half_open" else now,
        until=None,
        probe_job_id=job_id,
        probe_until=now + LEASE_SECONDS,
        probe_owner=f"{this_process().text}|{_ticks() + LEASE_SECONDS:.3f}",
    )
    return _save(conn, probe)


def _after_failure(found: State, job_id: str, error: Transient, now: float) -> State:
    told = clean(redact(error.message))[:_LONGEST_ERROR]
    failed = found._replace(failures=found.failures + 1, last_error=told)
    stated = _stated(error, now)
    until = stated or now + settings.breaker_seconds()
    if found.state == "open":
        # Whoever was under way when it opened is no news, unless the vendor says more now.
        return failed._replace(until=max(found.until or 0.0, stated or 0.0))
    if found.state == "half_open" and found.probe_job_id not in (job_id, None):
        return failed
    opens = stated or found.state == "half_open" or failed.failures >= settings.breaker_threshold()
    return (
        _without_probe(failed._replace(state="open", since=now, until=until)) if opens else failed
    )


def _closed(found: State, now: float) -> State:
    since = now if found.state != "closed" else found.since
    return _without_probe(found._replace(state="closed", failures=0, since=since, until=None))


def _without_probe(found: State) -> State:
    return found._replace(probe_job_id=None, probe_until=None, probe_owner=None)


def _anchored(found: State, now: float) -> State:
    """The same length from now: the clock was put back since it was opened."""
    assert found.since is not None
    until = None if found.until is None else now + found.until - found.since
    return found._replace(since=now, until=until)


def _stated(error: Transient, now: float) -> float | None:
    """When the vendor said it would answer again, where that is a quota's end."""
    at = error.retry_at
    return at if at is not None and now + PACE_SECONDS < at < now + LONGEST_OPEN else None


def _waits(found: State, now: float) -> bool:
    """Whether it is open and its time is not over, by a clock that can be believed."""
    if found.state != "open" or found.since is None or found.until is None:
        return False
    return found.since <= now < found.until


def _in_the_future(found: State, now: float) -> bool:
    return found.state == "open" and found.since is not None and now < found.since


def _as_met(found: State, now: float) -> State:
    if found.state != "open" or _waits(found, now):
        return found
    if _in_the_future(found, now):
        return _anchored(found, now)
    return found._replace(state="half_open", since=found.until, until=None)


# The probe.


def _probed(found: State, now: float) -> bool:
    """Whether somebody who may still report holds the probe."""
    if found.state != "half_open" or found.probe_job_id is None:
        return False
    told, _, lease = (found.probe_owner or "").rpartition("|")
    owner, here, until = of_text(told), this_process(), found.probe_until
    if owner is not None and lives(owner) is False:
        return False
    if owner is not None and (owner.boot_id or owner.host) == (here.boot_id or here.host):
        return _ticks() < float(lease)
    return until is not None and until - LEASE_SECONDS <= now < until


def _ticks() -> float:
    """Seconds on a clock that all processes of this machine share and nobody can set."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


# Rows.


def _read(conn: sqlite3.Connection, scope: str, provider: str) -> State:
    row = conn.execute(f"SELECT {_COLUMNS} FROM breakers WHERE scope = ?", (scope,)).fetchone()
    return _state((scope, provider, *row)) if row else State(scope, provider)


def _state(row: tuple[Any, ...]) -> State:
    scope, provider, state, failures, since, until, job_id, probe_until, owner, error = row
    return State(
        scope,
        provider,
        state,
        failures,
        _seconds(since),
        _seconds(until),
        job_id,
        _seconds(probe_until),
        owner,
        error,
    )


def _save(conn: sqlite3.Connection, found: State) -> State:
    values = {**found._asdict(), **{name: _iso(getattr(found, name)) for name in _TIMES}}
    names = list(values)
    sets = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
    conn.execute(
        f"INSERT INTO breakers ({', '.join(names)}) VALUES (:{', :'.join(names)})"
        f" ON CONFLICT (scope) DO UPDATE SET {sets}",
        values,
    )
    return found


_TIMES = ("since", "until", "probe_until")


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def _seconds(text: str | None) -> float | None:
    return seconds_of(text) if text else None
