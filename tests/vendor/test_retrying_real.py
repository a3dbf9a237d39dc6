"""A real CLI that gives up on a busy vendor is started again by us, with the same prompt."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from runner import RunFunction, Runner

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(120)]


def test_claude_is_started_again(
    run_llm: RunFunction, repo: Path, vendor: Callable[[str], Path], runner: Runner
) -> None:
    """In a session of its own, which the conversation then goes on in."""
    vendor("claude")
    env = {"LLM_GATEWAY_RETRIES": "1", "CLAUDE_CODE_MAX_RETRIES": "0"}
    busy_once = "MOCK:STATUS=529 MOCK:TIMES=1 MOCK:SAY=late"
    done = run_llm("prompt", "-m", "gateway-claude", busy_once, cwd=repo, env=env)
    assert done.stdout.strip() == "late", done
    assert "(attempt 2 of 2)" in done.stderr.splitlines()[-1], done
    with sqlite3.connect(runner.gateway_home / "logs.db") as conn:
        attempts = conn.execute(
            "select error_category, wait_ms, session_plan from attempts order by n"
        ).fetchall()
    assert [(row[0], row[2]) for row in attempts] == [("overloaded", "new"), (None, "new")]
    assert attempts[0][1] is None and attempts[1][1] is not None
    again = run_llm("prompt", "-c", "and now?", cwd=repo)
    assert "turn 2 of this conversation" in again.stdout, again
