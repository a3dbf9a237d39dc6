"""The circuit breaker as one job sees it; where there is no recorder, there is no breaker."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from . import settings
from .errors import BreakerOpen, GatewayError
from .providers import all_providers
from .providers.base import Provider
from .store import breakers
from .store.recorder import Recorder

__all__ = ["Breaker"]


class Breaker:
    """Asked before each attempt and told what became of it; it never fails itself.

    :param ignored: the person asks whatever it says; it is told all the same.

    ``state`` is how it stood when the job was first let through, or refused.
    """

    def __init__(
        self,
        recorder: Recorder,
        provider: Provider,
        env: Mapping[str, str],
        job_id: str,
        ignored: bool,
    ) -> None:
        self.recorder, self.provider = recorder, provider
        self.job_id, self.ignored = job_id, ignored
        self.scope = breakers.scope(provider, env)
        self.state: str | None = None
        self._told = True

    def admit(self) -> None:
        """Let an attempt through, or say who may be asked meanwhile.

        :raises BreakerOpen: the provider is left alone at present.
        """
        self._told = False
        try:
            state = self._try(breakers.admit)
        except BreakerOpen as refused:
            self.state = self.state or ("half_open" if refused.retry_at is None else "open")
            if self.ignored:
                return
            self._told = True
            refused.message += f".{self._meanwhile()} Ask anyway with -o ignore_breaker 1."
            raise
        self.state = self.state or state

    def refuses(self, at: float) -> BreakerOpen | None:
        """Why an attempt would be refused at that time; None where it would not, or is anyhow."""
        refused: BreakerOpen | None = self._try(breakers.peek, at)
        return None if self.ignored else refused

    def answered(self) -> None:
        """The vendor has said something: whatever comes of the attempt, it answers."""
        if not self._told:
            self._told = True
            self._try(breakers.report, None)

    def ended(self, error: GatewayError | None) -> None:
        """The attempt is over."""
        if error is None:
            self.answered()
        else:
            self._try(breakers.report, error)

    def _try(self, work: Callable[..., object], *more: object) -> Any:
        conn = self.recorder.connection
        if conn is None:
            return None
        try:
            return work(conn, self.scope, self.provider.name, self.job_id, *more)
        except (sqlite3.Error, ValueError):
            return None  # what cannot be kept stops no prompt

    def _meanwhile(self) -> str:
        """The other providers that are installed and not left alone themselves."""
        conn, away = self.recorder.connection, {self.provider.name, "demo"}
        try:
            states = breakers.states(conn) if conn is not None else []
        except (sqlite3.Error, ValueError):
            states = []
        away.update(state.provider for state in states if state.state == "open")
        found = [
            f"-m gateway-{name}"
            for name, provider in all_providers().items()
            if name not in away
            and provider.find_executable(os.environ, settings.cli_override(name))
        ]
        return f" Meanwhile there is {' or '.join(found)}." if found else ""
