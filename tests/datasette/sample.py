"""A small recorder as a week of work leaves it, written by the gateway's own recorder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from llm_gateway.events import (
    Done,
    Event,
    Messages,
    Notice,
    Reasoning,
    Reply,
    Session,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from llm_gateway.ids import new_id
from llm_gateway.request import Access, Options, Request
from llm_gateway.store import idle, rollups
from llm_gateway.store.recorder import Recorder, open_recorder

__all__ = ["ANSWER", "Sample", "hostile", "make"]

ANSWER = """The bug is in `parse_header`: it splits on **every** colon, so a value with a port loses it.

| input | before | after |
| --- | --- | --- |
| `Host: a:80` | `a` | `a:80` |
| `Host: b` | `b` | `b` |

```python
name, _, value = line.partition(":")
return name.strip(), value.strip()
```

1. The test in `tests/test_headers.py` now covers a port.
2. Nothing else calls it with more than one colon. See [the RFC](https://example.org/rfc).
"""
ANSWERS = (
    "The gateway turns a prompt into one run of a vendor's CLI. It records the run before it starts."
    " Sessions stay the vendor's own. Access is read-only unless asked. Retries never repeat work.",
    "1. `split_frames` trusts the length in the header.\n2. `load_config` evaluates dates as code.\n"
    "3. `retry` sleeps while it holds the lock.",
    "Apache-2.0, by the `LICENSE` file and `pyproject.toml`.",
    "The test starts two servers on one port. The second fails on a machine that reuses ports"
    " slowly; ask the system for a free one instead:\n\n```python\nserver.bind(('127.0.0.1', 0))\n```",
    "**Parsing** keeps ports in `Host`.\n\n**Speed** lists open twice as fast.\n\n**Fixes** three"
    " crashes on empty input.",
)
# Not everybody says it in the same words.
WORDED = {
    "demo": {
        "one run of": "a single run of",
        "Access is read-only unless asked": "It may only read until more is asked for",
    },
    "grok": {
        "before it starts": "first",
        "Retries never repeat work": "What has run is not tried again",
    },
}
MODELS = {
    "claude": "claude-opus-4-6",
    "codex": "gpt-5.4-codex",
    "gemini": "gemini-3-pro",
    "grok": "grok-code-2",
    "demo": "demo-1",
}
FAILURES = {
    "rate_limited": "Claude is rate limited until 16:00; the request may be asked again then.",
    "auth": "Codex is not logged in. Run: codex login",
    "timeout": "The run was stopped after 600 s; allow more with -o timeout SECONDS.",
    "permission_denied": "An action was not allowed at access read; -o access edit allows more.",
}


class Sample:
    """Writes runs one after another, each at its own time."""

    def __init__(self, path: Path) -> None:
        os.environ["LLM_GATEWAY_LOGS_DB"] = str(path)
        self.path = path
        self.recorder: Recorder = open_recorder(self._never)
        self.conn = self.recorder.connection
        assert self.conn is not None

    @staticmethod
    def _never(text: str) -> None:
        raise AssertionError(text)

    def run(
        self,
        provider: str,
        prompt: str,
        *,
        answer: str = ANSWER,
        age: timedelta = timedelta(hours=1),
        status: str = "completed",
        category: str | None = None,
        took: int = 14_200,
        session: str | None = None,
        thread: str | None = None,
        access: str = "read",
        cwd: str = "/home/ada/code/webserver",
        tools: Sequence[tuple[str, dict[str, Any], str]] = (),
        cost: float | None = 0.0412,
        tokens: tuple[int, int] = (18_230, 940),
        stderr: str = "",
        model: str | None = None,
        system: str | None = None,
        attempts: int = 1,
        keep: bool = True,
        kind: str = "foreground",
        options: dict[str, Any] | None = None,
    ) -> str:
        """One request with its job; returns the request's id."""
        session = session or f"{new_id()[:8]}-5f2c-4b7e-9a10-{new_id()[-12:]}"
        request = Request(
            new_id(),
            provider,
            prompt,
            Options(access=Access(access), cwd=cwd, **(options or {})),
            system=system,
            thread_id=thread,
            turn_id=new_id(),
            keep_bodies=keep,
        )
        job = new_id()
        live = status in ("queued", "running")
        self.recorder.begin(
            request,
            job,
            model=model,
            access=access,
            cwd=cwd,
            kind=kind,
            status=status if live else "running",
        )
        usage = Usage(
            tokens[0],
            tokens[1],
            tokens[0] * 7 // 10,
            1200,
            tokens[1] // 3,
            cost,
            cost and "reported",
        )
        for n in range(1, attempts + 1):
            self.recorder.attempt_started(
                job, n, [f"/usr/bin/{provider}", "-p", "--output-format", "stream-json"],
                ["HOME", "PATH"], cwd, 4242, 99, session_plan="new", wait_ms=2000 * (n - 1) or None,
            )  # fmt: skip
            if n == attempts:
                break
            self.recorder.attempt_ended(
                job, n, exit_code=1, error_category="overloaded", duration_ms=1800,
                error_message="The vendor's servers are overloaded (529).",
            )  # fmt: skip
        if status != "queued":
            self.recorder.events(job, attempts, _events(session, provider, answer, tools, took))
        if live:
            self.recorder.tick()
        else:
            self._end(
                request,
                job,
                attempts,
                status,
                category,
                answer,
                usage,
                session,
                took,
                stderr,
                tools,
            )
        self._date(request.id, job, age, took)
        return request.id

    def _end(self, request, job, n, status, category, answer, usage, session, took, stderr, tools):  # type: ignore[no-untyped-def]
        good = status == "completed"
        message = FAILURES.get(category or "", category) if category else None
        model = MODELS.get(request.provider, "other")
        reply = Reply(
            answer if good else "", Messages([answer] if good else []), session, model, "end_turn" if good else None,
            "2.1.32", usage, 0, [tool[0] for tool in tools], {},
        )  # fmt: skip
        if good:
            self.recorder.events(job, n, [(took, Done(reply))])
        self.recorder.attempt_ended(
            job, n, exit_code=0 if good else 1, error_category=category, error_message=message,
            stderr_tail=stderr, first_output_ms=640, duration_ms=took,
        )  # fmt: skip
        self.recorder.finish(
            request.id, job, status, reply=reply, error_category=category, error_message=message,
            duration_ms=took, session_title=request.prompt[:60],
        )  # fmt: skip

    def _date(self, request: str, job: str, age: timedelta, took: int) -> None:
        """Move what was just written to the time at which it happened."""
        begun = datetime.now(timezone.utc) - age
        first, last = iso(begun), iso(begun + timedelta(milliseconds=took))
        assert self.conn is not None
        for statement, values in (
            ("UPDATE request_rows SET datetime_utc = ?, finished_at = CASE WHEN finished_at IS NULL"
             " THEN NULL ELSE ? END WHERE id = ?", (first, last, request)),
            ("UPDATE job_rows SET queued_at = ?, started_at = ?, finished_at = CASE WHEN finished_at"
             " IS NULL THEN NULL ELSE ? END WHERE id = ?",
             (first, iso(begun + timedelta(milliseconds=180)), last, job)),
            ("UPDATE job_rows SET heartbeat_at = ?, lease_until = ? WHERE id = ? AND status = 'running'",
             (iso(datetime.now(timezone.utc)), "2099-01-01T00:00:00.000Z", job)),
            ("UPDATE attempts SET started_at = strftime('%Y-%m-%dT%H:%M:%fZ', ?, ((n - 1) * 3.8) || ' seconds')"
             " WHERE job_id = ?", (iso(begun + timedelta(milliseconds=200)), job)),
        ):  # fmt: skip
            self.conn.execute(statement, values)

    def close(self) -> None:
        """Everything is on disk after this, and added up at the times that it was given."""
        assert self.conn is not None
        for table in ("hourly", "daily", "hourly_durations", "daily_durations"):
            self.conn.execute(f"DELETE FROM {table}")
        rollups.fill(self.conn)
        self.recorder.close()
        idle.close_all()
        del os.environ["LLM_GATEWAY_LOGS_DB"]


def iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def _events(
    session: str,
    provider: str,
    answer: str,
    tools: Sequence[tuple[str, dict[str, Any], str]],
    took: int,
) -> list[tuple[int, Event]]:
    found: list[tuple[int, Event]] = [
        (420, Session(session, MODELS.get(provider), "2.1.32")),
        (640, Reasoning("The header is split on every colon. Look at the parser first.")),
    ]
    t = 900
    for number, (name, arguments, output) in enumerate(tools):
        found.append((t, ToolCall(f"t{number}", name, arguments)))
        t += max(120, took // (len(tools) + 2))
        found.append((t, ToolResult(f"t{number}", name, output, is_error="rror" in output)))
    if "retry" in answer:
        found.append((t, Notice("retry", "overloaded", 2.0)))
    for part in answer.splitlines(keepends=True):
        found.append((min(t, took), Text(part)))
        t += max(60, (took - t) // (answer.count("\n") + 1))
    return found


def worded(answer: str, provider: str) -> str:
    """An answer as a provider says it."""
    for ours, theirs in WORDED.get(provider, {}).items():
        answer = answer.replace(ours, theirs)
    return answer


TOOLS = [
    ("Read", {"file_path": "src/headers.py"}, "def parse_header(line):\n    return line.split(':')[:2]\n"),
    ("Grep", {"pattern": "parse_header", "path": "src"}, "src/headers.py:1\nsrc/server.py:88\n"),
    ("Bash", {"command": "pytest -q tests/test_headers.py"}, "Error: 1 failed, 11 passed"),
    ("Edit", {"file_path": "src/headers.py", "old_string": "split(':')", "new_string": "partition(':')"}, "ok"),
]  # fmt: skip


def make(path: Path) -> dict[str, str]:
    """The sample; gives the ids of the requests that tests look at."""
    sample, ids = Sample(path), {}
    threads = {"fix": new_id(), "plan": new_id()}
    prompts = [
        "Summarise docs/architecture.md in five sentences.", "the three riskiest functions",
        "Which licence does this project have?", "Explain the failing test in CI",
        "Draft the release notes for 1.4 from the git log since v1.3, grouped by area, one line each.",
    ]  # fmt: skip
    for number in reversed(range(54)):
        provider = ("claude", "codex", "gemini", "claude", "grok", "demo")[number % 6]
        ids["asked"] = sample.run(
            provider, prompts[number % 5], answer=worded(ANSWERS[number % 5], provider), age=timedelta(hours=3 * number + 2, minutes=number * 7 % 60),
            took=900 + (number * 7919) % 64_000, cost=None if provider in ("codex", "demo") else 0.004 + number % 9 / 40,
            tokens=(900 + number * 731, 60 + number * 37), cwd=f"/home/ada/code/{('webserver', 'notes', 'infra')[number % 3]}",
            access=("read", "read", "edit")[number % 3],
        )  # fmt: skip
    for number, category in enumerate(FAILURES):
        ids[category] = sample.run(
            ("claude", "codex", "gemini", "grok")[number], "Port the build to the new runner",
            status="timed_out" if category == "timeout" else "failed", category=category, answer="",
            age=timedelta(hours=5 * number + 4), cost=None, stderr="HTTP 429 Too Many Requests\n" * 3,
        )  # fmt: skip
    ids["canceled"] = sample.run("gemini", "Rewrite everything in Rust", status="canceled", category="canceled",
                                 answer="", age=timedelta(hours=9), took=3100)  # fmt: skip
    ids["unkept"] = sample.run("claude", "secret prompt", keep=False, age=timedelta(hours=11))
    sid = "0b9f2c44-77aa-4c1e-9d2f-5c0ffee00001"
    ids["first"] = sample.run(
        "claude", "Why does the server drop the port from Host headers?", session=sid, thread=threads["fix"],
        age=timedelta(minutes=42), tools=TOOLS[:2], took=21_400, system="You are terse.",
    )  # fmt: skip
    ids["edit"] = sample.run(
        "claude", "Fix it, and add a test.", session=sid, thread=threads["fix"], access="edit", attempts=2,
        age=timedelta(minutes=38), tools=TOOLS, took=74_900, cost=0.2231, tokens=(61_402, 3_120),
        stderr="(node) Warning: something harmless",
    )  # fmt: skip
    ids["second"] = sample.run(
        "codex", "Review the change of the last commit.", thread=threads["fix"], age=timedelta(minutes=31),
        tools=[("shell", {"command": ["git", "show", "--stat"]}, "3 files changed")], cost=None, took=33_000,
    )  # fmt: skip
    ids["running"] = sample.run(
        "claude", "Migrate the settings page to the new form library", status="running", kind="worker",
        access="edit", age=timedelta(minutes=3), tools=TOOLS[:3], answer="I have moved the first two forms; ",
    )  # fmt: skip
    ids["queued"] = sample.run("codex", "Add type hints to utils/", status="queued", kind="worker",
                               age=timedelta(seconds=50), answer="")  # fmt: skip
    _approvals(sample, ids)
    turn = sample.conn.execute(
        "SELECT turn_id, job_id FROM request_rows WHERE id = ?", (ids["edit"],)
    )
    ids["turn"], ids["job"] = turn.fetchone()
    sample.close()
    return {**ids, "session": sid, "thread": threads["fix"]}


def _approvals(sample: Sample, ids: dict[str, str]) -> None:
    rules = [
        {"rule": "access_edit", "points": 3, "reason": "edit access was asked for"},
        {"rule": "many_tools", "points": 2, "reason": "more than three tools"},
    ]
    assert sample.conn is not None
    sample.conn.execute(
        "INSERT INTO approvals (id, request_id, datetime_utc, provider, operation, access, policy, decision,"
        " score, threshold, rules_json, prompt_preview) SELECT ?, id, datetime_utc, provider, 'prompt', access,"
        " 'balanced', 'approved', 5, 6, ?, 'Fix it, and add a test.' FROM request_rows WHERE id = ?",
        (new_id(), json.dumps(rules), ids["edit"]),
    )
    sample.conn.execute(
        "UPDATE request_rows SET approval_decision = 'approved' WHERE id = ?", (ids["edit"],)
    )


EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "[x](javascript:alert(1)) ![y](https://evil.example/a.png) <javascript:alert(1)>",
    "[a](data:text/html;base64,PHNjcmlwdD4=) [b](vbscript:msgbox) [c](JaVaScRiPt:alert(1))",
    '```"><script>alert(1)</script>\n</code></pre><script>alert(2)</script>\n```',
    "</textarea></title></style></script><script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd",
    "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[31mred",
    "'; DROP TABLE request_rows; --",
    "{{ 7*7 }} {% raw %} ${7*7}",
    "\u202eevil\u2066 \u200b",
    "javascript:alert(1)",
    "&#x6A;avascript:alert(1) &lt;script&gt;",
    "<a href='javascript:alert(1)'>x</a><iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "onmouseover=alert(1) ' onfocus=alert(1) autofocus='",
]


def hostile(path: Path) -> list[str]:
    """A recorder in which every text that anybody can influence is an attack."""
    sample, found = Sample(path), []
    for number, evil in enumerate(EVIL):
        found.append(
            sample.run(
                "claude",
                evil,
                answer=evil,
                session=evil,
                thread=evil,
                cwd=evil,
                system=evil,
                stderr=evil,
                tools=[(evil, {evil: evil}, evil)],
                age=timedelta(minutes=number),
                model=evil,
            )
        )
    sample.run(
        "claude",
        EVIL[0],
        status="running",
        answer=EVIL[0],
        tools=[(EVIL[1], {}, EVIL[2])],
        cwd=EVIL[1],
    )
    assert sample.conn is not None
    for number, id in enumerate(found):
        evil = EVIL[number]
        values = {"id": id, "evil": evil}
        for column in ("error_message", "error_category", "stop_reason", "cli_version", "correlation_id",
                       "resolved_model", "tools_run", "facts_json", "options_json", "cost_basis"):  # fmt: skip
            sample.conn.execute(f"UPDATE request_rows SET {column} = :evil WHERE id = :id", values)
        sample.conn.execute("UPDATE attempts SET error_message = :evil, argv_json = json_array(:evil, :evil),"
                            " error_category = :evil WHERE job_id = (SELECT job_id FROM request_rows WHERE id = :id)", values)  # fmt: skip
        sample.conn.execute(
            "INSERT INTO approvals (id, request_id, datetime_utc, provider, operation, access, policy, decision, score,"
            " threshold, rules_json, prompt_preview) VALUES (:id || :evil, :id, '2026-01-01T00:00:00.000Z', :evil, :evil,"
            " :evil, :evil, :evil, 5, 6, json_array(json_object('rule', :evil, 'points', 5, 'reason', :evil)), :evil)",
            values,
        )
        sample.conn.execute(
            "INSERT INTO breakers (scope, provider, state, last_error) VALUES (:id, :evil, :evil, :evil)",
            values,
        )
    sample.close()
    return found


if __name__ == "__main__":
    import sys

    for name in ("", "-wal", "-shm"):
        Path(sys.argv[1] + name).unlink(missing_ok=True)
    (hostile if "hostile" in sys.argv else make)(Path(sys.argv[1]).absolute())
