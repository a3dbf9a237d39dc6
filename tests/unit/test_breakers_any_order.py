"""Whatever happens in whatever order, by a clock that is set at will: what always holds."""

from __future__ import annotations

import sqlite3

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from llm_gateway.errors import AuthFailed, BreakerOpen, GatewayError, Overloaded, RateLimited
from llm_gateway.store import breakers, schema, second

SCOPE, PROVIDER = "claude here key", "claude"
LONGEST = 7200.0


class Attempts(RuleBasedStateMachine):
    """Jobs come, are let through or not, and end; the clock goes on, or is set."""

    @initialize()
    def begin(self) -> None:
        self.conn = sqlite3.connect(":memory:", isolation_level=None)
        for statement in schema.FIRST:
            self.conn.execute(statement)
        second.apply(self.conn)
        self.now = 1_800_000_000.0
        self.jobs = 0
        self.under_way: dict[str, str] = {}
        self.in_a_row = 0

    def _try(self) -> str | None:
        self.jobs += 1
        job = f"j{self.jobs}"
        try:
            self.under_way[job] = breakers.admit(self.conn, SCOPE, PROVIDER, job, self.now)
        except BreakerOpen:
            return None
        return job

    def _end(self, job: str, error: GatewayError | None) -> None:
        del self.under_way[job]
        breakers.report(self.conn, SCOPE, PROVIDER, job, error, self.now)

    @rule()
    def asked(self) -> None:
        looked = breakers.peek(self.conn, SCOPE, PROVIDER, "looker", self.now)
        assert (self._try() is None) == (looked is not None)

    @rule(data=st.data(), stated=st.none() | st.floats(-100, LONGEST))
    def failed(self, data: st.DataObject, stated: float | None) -> None:
        if self.under_way:
            job = data.draw(st.sampled_from(sorted(self.under_way)))
            at = None if stated is None else self.now + stated
            self._end(job, RateLimited("limit", retry_at=at) if at else Overloaded("busy"))
            self.in_a_row += 1

    @rule(data=st.data())
    def said_nothing(self, data: st.DataObject) -> None:
        if self.under_way:
            job = data.draw(st.sampled_from(sorted(self.under_way)))
            self._end(job, AuthFailed("no"))

    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        if self.under_way:
            self._end(data.draw(st.sampled_from(sorted(self.under_way))), None)
            self.in_a_row = 0
            assert breakers.admit(self.conn, SCOPE, PROVIDER, "next", self.now) == "closed"

    @rule(seconds=st.floats(0.001, 2 * LONGEST))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.floats(-30 * 86_400, 30 * 86_400))
    def the_clock_is_set(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def it_is_never_held_open_for_ever(self) -> None:
        """Once nobody tries it any more, somebody may within the longest time that was stated."""
        for job in list(self.under_way):
            self._end(job, AuthFailed("no"))
        self._try()  # a clock that was put back is seen by whoever comes next
        self.now += LONGEST + 60
        job = next(iter(self.under_way), None) or self._try()
        assert job is not None

    @invariant()
    def one_probe_at_most(self) -> None:
        row = self.conn.execute("SELECT state, probe_job_id FROM breakers").fetchone()
        if row and row[0] == "half_open" and row[1] in self.under_way:
            looked = breakers.peek(self.conn, SCOPE, PROVIDER, "looker", self.now)
            assert looked is not None
        if row and row[0] == "closed":
            assert row[1] is None

    @invariant()
    def it_opens_for_a_reason(self) -> None:
        row = self.conn.execute("SELECT state, failures FROM breakers").fetchone()
        if row and row[0] != "closed":
            assert row[1] >= 1
        if row:
            assert row[1] == self.in_a_row

    def teardown(self) -> None:
        if hasattr(self, "conn"):
            self.conn.close()


TestAttempts = Attempts.TestCase
TestAttempts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
