"""What a run leaves in the recorder."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
from llm_gateway.request import Access, Attachment, Options, Request
from llm_gateway.store import codec, jobs
from llm_gateway.store.recorder import Recorder, open_recorder

EVENTS: list[Event] = [
    Session("s-1", "opus", "2.0"),
    Reasoning("let me "),
    Reasoning("think"),
    Text("Hel"),
    Text("lo"),
    ToolCall("t1", "Read", {"path": "/etc/hosts"}),
    ToolResult("t1", "Read", "127.0.0.1", is_error=False, refused=True),
    Text("Bye", message=1),
    Usage(input=10, output=5),
    Notice("retry", "waiting", 2.5),
    Done(Reply("Bye", Messages(["Hello", "Bye"]), "s-1")),
]
REPLY = Reply(
    "Bye",
    Messages(["Hello", "Bye"]),
    "s-1",
    "claude-opus-4",
    "end_turn",
    "2.0",
    Usage(10, 5, 3, 2, 1, 0.25, "reported", 1.75),
    refused_actions=1,
    tools_run=["Read"],
    facts={"num_turns": 2},
)


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    warnings: list[str] = []
    opened = open_recorder(warnings.append)
    yield opened
    opened.close()
    assert warnings == []


def ask(name: str = "1", **fields: Any) -> Request:
    """A request of claude."""
    return Request(id=f"R{name}", provider="claude", **{"prompt": "why?", **fields})


def run(recorder: Recorder, request: Request, status: str = "completed", **end: Any) -> None:
    """A whole run of one attempt."""
    job = "J" + request.id[1:]
    recorder.begin(request, job, model="opus", access=Access.READ, cwd="/w", add_dirs=("/a",))
    recorder.attempt_started(job, 1, ["/bin/claude", "-p"], ["PATH", "HOME"], "/w", 12, 34)
    recorder.events(job, 1, list(enumerate(EVENTS)))
    recorder.attempt_ended(job, 1, exit_code=0, stderr_tail="warn: sk-ant-abcdefgh12345678")
    end = {"reply": REPLY, "duration_ms": 1500, **end}
    recorder.finish(request.id, job, status, **end)


def rows(query: str, *parameters: Any) -> list[dict[str, Any]]:
    """What another program sees in the file."""
    home = Path(__import__("os").environ["LLM_GATEWAY_HOME"])
    conn = sqlite3.connect(home / "logs.db")
    conn.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in conn.execute(query, parameters)]
    finally:
        conn.close()


def test_selects_written_for_the_original_run(recorder: Recorder) -> None:
    """requests, gateway_metadata and jobs have every column of the original, and filled."""
    run(recorder, ask(system="be brief"), exit_code=0)
    [row] = rows(
        "select requests.id, cli, model, prompt, system, response, session_id, duration_ms,"
        " datetime_utc, input_tokens, output_tokens, m.status as state, m.retry_count,"
        " circuit_breaker_state, m.cost_usd, m.approval_decision, optimization_applied,"
        " thinking_blocks, m.exit_code, m.error_message, async_job_id"
        " from requests join gateway_metadata m on m.request_id = requests.id"
    )
    assert (row["id"], row["cli"], row["model"]) == ("R1", "claude", "claude-opus-4")
    assert (row["prompt"], row["system"], row["response"]) == ("why?", "be brief", "Bye")
    assert (row["session_id"], row["duration_ms"], row["cost_usd"]) == ("s-1", 1500, 0.25)
    assert (row["state"], row["circuit_breaker_state"]) == ("completed", "closed")
    assert json.loads(row["thinking_blocks"]) == ["let me think"]
    assert row["datetime_utc"].endswith("Z") and len(row["datetime_utc"]) == 24
    [job] = rows(
        "select id, correlation_id, request_key, cli, args_json, output_format, status, exit_code,"
        " stdout, stderr, output_truncated, error, started_at, finished_at, pid, expires_at"
        " from jobs"
    )
    assert (job["stdout"], job["stderr"]) == ("Bye", "warn: sk-ant-[redacted]")
    assert (job["args_json"], job["status"], job["pid"]) == ('["-p"]', "completed", 12)
    assert job["expires_at"] > job["finished_at"] >= job["started_at"]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("completed", "completed"),
        ("failed", "failed"),
        ("canceled", "failed"),
        ("timed_out", "failed"),
        ("orphaned", "failed"),
    ],
)
def test_the_originals_status_has_three_values(recorder: Recorder, status: str, told: str) -> None:
    """A running request is started; every end that is no answer is failed."""
    recorder.begin(ask(), "J1", model=None, access="read", cwd="/w")
    assert rows("select status from gateway_metadata") == [{"status": "started"}]
    recorder.finish("R1", "J1", status)
    assert rows("select status from gateway_metadata") == [{"status": told}]


def test_the_row_is_there_before_the_spawn(recorder: Recorder) -> None:
    """begin() commits request, body and job with the owner's identity."""
    recorder.begin(ask(), "J1", model=None, access=Access.EDIT, cwd="/w")
    [row] = rows("select * from requests join jobs on jobs.id = job_id")
    assert (row["status"], row["prompt"], row["access"]) == ("running", "why?", "edit")
    [job] = rows("select * from job_rows")
    assert job["owner_pid"] == __import__("os").getpid()
    assert job["lease_until"] > job["heartbeat_at"]


def test_everything_a_reply_tells_is_kept(recorder: Recorder) -> None:
    """Tokens by kind, cost with basis, resolved model, stop reason, tools and options."""
    options = Options(model="opus", access=Access.READ, correlation_id="c-1", native={"k": "v"})
    run(recorder, ask(options=options, turn_id="T", thread_id="TH"))
    [row] = rows("select * from request_rows")
    assert (row["cache_read_tokens"], row["cache_write_tokens"], row["reasoning_tokens"]) == (
        3,
        2,
        1,
    )
    assert (row["requested_model"], row["resolved_model"]) == ("opus", "claude-opus-4")
    assert (row["cost_basis"], row["stop_reason"], row["cli_version"]) == (
        "reported",
        "end_turn",
        "2.0",
    )
    assert (row["turn_id"], row["thread_id"], row["correlation_id"]) == ("T", "TH", "c-1")
    assert json.loads(row["tools_run"]) == ["Read"] and row["refused_actions"] == 1
    assert json.loads(row["options_json"])["native"] == {"k": "v"}
    assert json.loads(rows("select messages from bodies")[0]["messages"]) == ["Hello", "Bye"]


def test_events_are_kept_in_order_with_adjacent_pieces_joined(recorder: Recorder) -> None:
    """Text of one message and reasoning become one row where nothing lies between."""
    run(recorder, ask())
    found = rows("select seq, attempt, kind, data from events order by seq")
    kinds = [row["kind"] for row in found]
    assert kinds == [
        "session",
        "reasoning",
        "text",
        "tool_call",
        "tool_result",
        "text",
        "usage",
        "notice",
        "done",
    ]
    assert [row["seq"] for row in found] == list(range(9))
    back = [codec.decode(row["kind"], row["data"]) for row in found]
    assert back[:8] == [EVENTS[0], Reasoning("let me think"), Text("Hello"), *EVENTS[5:10]]
    assert isinstance(back[8], Done) and back[8].reply.session_id == "s-1"


def test_without_bodies_no_word_is_kept(recorder: Recorder) -> None:
    """llm -n leaves names, sizes, tokens and cost."""
    request = ask(
        prompt="PRIVATE",
        system="PRIVATE",
        keep_bodies=False,
        schema={"PRIVATE": 1},
        attachments=(Attachment("text/plain", "/PRIVATE"),),
    )
    recorder.begin(request, "J1", model=None, access="read", cwd="/w")
    argv = ["/bin/claude", "--append-system-prompt", "PRIVATE " * 30]
    recorder.attempt_started("J1", 1, argv, [], "/w")
    words: list[Event] = [
        Text("PRIVATE"),
        Text("PRIVATE"),
        Reasoning("PRIVATE"),
        ToolCall("t", "Bash", {"command": "PRIVATE"}),
        ToolResult("t", "Bash", "PRIVATE"),
        Notice("noise", "PRIVATE"),
        Done(Reply("PRIVATE", Messages(["PRIVATE"]))),
    ]
    recorder.events("J1", 1, list(enumerate(words)))
    recorder.attempt_ended("J1", 1, stderr_tail="PRIVATE")
    recorder.finish("R1", "J1", "completed", reply=Reply("PRIVATE", Messages(["PRIVATE"])))
    tables = ("requests", "jobs", "gateway_metadata", "bodies", "attempts", "events", "sessions")
    assert "PRIVATE" not in json.dumps([rows(f"select * from {table}") for table in tables])
    [text] = rows("select data from events where kind = 'text'")
    assert json.loads(text["data"]) == {"chars": 14, "message": 0}
    assert rows("select response_chars from requests") == [{"response_chars": 7}]
    for row in rows("select kind, data from events"):
        assert codec.decode(row["kind"], row["data"]) is not None


def test_text_that_utf8_cannot_hold_is_kept_as_well_as_can_be(recorder: Recorder) -> None:
    """Lone surrogates are replaced, NUL and everything else comes back as it was."""
    run(recorder, ask(prompt="a\ud800b\0c\U0001f600"), reply=Reply("\udfff\0é", session_id="s"))
    [row] = rows("select prompt, response from requests")
    assert row == {"prompt": "a\ufffdb\0c\U0001f600", "response": "\ufffd\0é"}


def test_secrets_leave_argv_errors_and_stderr_and_values_leave_the_environment(
    recorder: Recorder,
) -> None:
    """Prompts and answers stay verbatim."""
    key = "sk-ant-abcdefgh12345678"
    recorder.begin(ask(prompt=key), "J1", model=None, access="read", cwd="/w")
    recorder.attempt_started("J1", 1, ["c", "--api-key", "pw", key], {"A": "b"}, "/w")
    recorder.attempt_ended("J1", 1, error_category="auth", error_message=key, stderr_tail=key)
    recorder.finish("R1", "J1", "failed", error_message=f"no {key}", partial_text=key)
    [attempt] = rows("select * from attempts")
    assert json.loads(attempt["argv_json"]) == ["c", "--api-key", "[redacted]", "sk-ant-[redacted]"]
    assert attempt["env_names"] == '["A"]'
    assert key not in json.dumps(
        [attempt, rows("select * from job_rows"), rows("select stderr from bodies")]
    )
    assert rows("select prompt, response from requests") == [{"prompt": key, "response": key}]


def test_an_end_state_never_changes(recorder: Recorder) -> None:
    """The first word counts, for the request, its job, its answer and its session."""
    run(recorder, ask())
    recorder.finish("R1", "J1", "failed", partial_text="other", session_id="s-1")
    [row] = rows("select status, response from requests")
    assert row == {"status": "completed", "response": "Bye"}
    assert rows("select status from jobs") == [{"status": "completed"}]
    assert rows("select turns from sessions") == [{"turns": 1}]


def test_the_callers_correlation_id_may_come_twice(recorder: Recorder) -> None:
    """Two requests that say the same word are two rows with an answer each."""
    for name in ("1", "2"):
        run(recorder, ask(name, options=Options(correlation_id="same")), reply=Reply(name))
    assert [row["response"] for row in rows("select response from requests order by id")] == [
        "1",
        "2",
    ]


def test_a_session_is_found_by_its_id_and_by_its_conversation(recorder: Recorder) -> None:
    """With what a continuation inherits, and running sums to tell the next turn's."""
    run(recorder, ask(thread_id="TH", turn_id="T1"), usage_totals={"input": 10})
    run(recorder, ask("2", thread_id="TH", turn_id="T2"))
    found = recorder.session_for_thread("claude", "TH")
    assert found is not None and found == recorder.session("claude", "s-1")
    assert (found.cwd, found.model, found.access, found.add_dirs) == ("/w", "opus", "read", ("/a",))
    assert (found.turns, found.last_turn_id) == (2, "T2")
    assert (found.cost_total_usd, found.usage_totals) == (1.75, {"input": 10})
    assert recorder.session("codex", "s-1") is None
    assert recorder.session_for_thread("claude", "other") is None


def test_a_session_is_known_as_soon_as_the_cli_names_it(recorder: Recorder) -> None:
    """Without counting a turn that has not ended."""
    recorder.session_seen("claude", "s-9", thread_id="TH", cwd="/w", add_dirs=["/a"])
    found = recorder.session_for_thread("claude", "TH")
    assert found is not None and (found.session_id, found.turns, found.add_dirs) == (
        "s-9",
        0,
        ("/a",),
    )


def test_a_failed_run_keeps_its_session_and_its_partial_text(recorder: Recorder) -> None:
    """So that the user can go on."""
    run(recorder, ask(), "failed", reply=None, session_id="s-7", partial_text="half")
    assert rows("select response, session_id from requests") == [
        {"response": "half", "session_id": "s-7"}
    ]
    assert recorder.session("claude", "s-7") is not None


def test_stderr_of_all_attempts_is_kept(recorder: Recorder) -> None:
    """A retry does not hide what the first attempt said."""
    recorder.begin(ask(), "J1", model=None, access="read", cwd="/w")
    for n in (1, 2):
        recorder.attempt_started("J1", n, ["x"], [], "/w")
        recorder.attempt_ended("J1", n, stderr_tail=f"said {n}")
    assert rows("select stderr from bodies") == [{"stderr": "said 1\nsaid 2"}]
    assert rows("select attempts from jobs") == [{"attempts": 2}]


def test_exit_code_and_retries_are_those_of_the_attempts(recorder: Recorder) -> None:
    """Nobody has to say them again at the end."""
    recorder.begin(ask(), "J1", model=None, access="read", cwd="/w")
    for n in (1, 2):
        recorder.attempt_started("J1", n, ["x"], [], "/w")
        recorder.attempt_ended("J1", n, exit_code=n + 1)
    recorder.finish("R1", "J1", "failed")
    found = rows("select exit_code, retry_count from gateway_metadata")
    assert found == [{"exit_code": 3, "retry_count": 1}]


def test_kinds_of_event_that_a_newer_version_writes_are_passed_over(recorder: Recorder) -> None:
    """However many: who follows the job gets what comes after them."""
    recorder.begin(ask(), "J1", model=None, access=Access.READ, cwd="/w")
    recorder.events("J1", 1, [(1, Text("before")), (2, ToolCall("t", "Read", {})), (3, Text("z"))])
    recorder.attempt_ended("J1", 1)
    conn = recorder.connection
    assert conn is not None
    conn.execute("update events set seq = 5000 where kind = 'text' and seq > 0")
    conn.execute("delete from events where kind = 'tool_call'")
    new = [("J1", seq, 1, seq, "smell", "{}") for seq in range(10, 3000)]
    conn.executemany("insert into events values (?, ?, ?, ?, ?, ?)", new)
    (_, _, first), *rest = jobs.events_after(conn, "J1", -1, 1000)
    assert (first, rest) == (Text("before"), [])
    assert jobs.events_after(conn, "J1", 9, 1000) == [(5000, 3, Text("z"))]


def test_events_reach_the_file_while_the_run_goes_on(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tick() writes what has waited, without further events."""
    recorder.begin(ask(), "J1", model=None, access="read", cwd="/w")
    recorder.events("J1", 1, [(0, Text("a"))])
    assert rows("select * from events") == []
    __import__("time").sleep(0.11)
    recorder.tick()
    assert len(rows("select * from events")) == 1


def test_another_process_may_go_on_with_a_job(recorder: Recorder) -> None:
    """A worker numbers its events after those that are there and keeps to the asker's wish."""
    run(recorder, ask(keep_bodies=False))
    worker = open_recorder(lambda text: None)
    worker.events("J1", 2, [(0, Text("PRIVATE"))])
    worker.close()
    assert rows("select count(*) as n, max(seq) as last from events") == [{"n": 10, "last": 9}]
    assert "PRIVATE" not in json.dumps(rows("select * from events"))


def test_lists_do_not_read_bodies(recorder: Recorder) -> None:
    """SQLite leaves the join out where no body is selected, and walks the index of times."""
    plan = rows(
        "explain query plan select id, cli, model, status, duration_ms from requests"
        " order by datetime_utc desc limit 50"
    )
    told = " / ".join(row["detail"] for row in plan)
    assert "bodies" not in told and "SEARCH b" not in told
    assert "request_rows_time" in told and "TEMP B-TREE" not in told
    for query in ("select count(*) from requests", "select cli, count(*) from jobs group by cli"):
        assert "bodies" not in str(rows(f"explain query plan {query}"))
    told = str(rows("explain query plan select * from jobs where status = 'running'"))
    assert "SCAN" not in told
    told = str(rows("explain query plan select * from jobs order by started_at desc limit 9"))
    assert "TEMP B-TREE" not in told


def test_numbers_that_sqlite_cannot_hold_cost_no_answer(tmp_path: Path) -> None:
    """A CLI that reports 2**70 tokens is recorded in the spill file, with one warning."""
    warnings: list[str] = []
    recorder = open_recorder(warnings.append)
    run(recorder, ask(), reply=Reply("x", usage=Usage(input=2**70)))
    recorder.close()
    assert len(warnings) == 1


def test_the_end_of_a_run_is_one_transaction(recorder: Recorder) -> None:
    """What it said last, how its attempt ended and how it ended itself: others see all or none."""
    recorder.begin(ask(), "J1", model=None, access=Access.READ, cwd="/w")
    recorder.attempt_started("J1", 1, ["x"], [], "/w")
    recorder.events("J1", 1, [(1, Text("at last"))])
    conn = recorder.connection
    assert conn is not None
    begun: list[str] = []
    conn.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith("BEGIN") else None)
    recorder.attempt_ended("J1", 1, exit_code=0, stderr_tail="said", finishing=True)
    assert begun == [] and rows("select exit_code from attempts") == [{"exit_code": None}]
    recorder.finish("R1", "J1", "completed", reply=Reply("at last"))
    conn.set_trace_callback(None)
    assert len(begun) == 1
    assert rows("select exit_code from attempts") == [{"exit_code": 0}]
    assert rows("select stderr, response from bodies") == [
        {"stderr": "said", "response": "at last"}
    ]
    assert [event for _, _, event in jobs.events_after(conn, "J1")] == [Text("at last")]


def test_an_attempt_that_was_to_be_the_last_is_written_at_the_latest_when_it_closes() -> None:
    """Whatever kept the job from being finished."""
    opened = open_recorder(print)
    opened.begin(ask(), "J1", model=None, access=Access.READ, cwd="/w")
    opened.attempt_started("J1", 1, ["x"], [], "/w")
    opened.attempt_ended("J1", 1, exit_code=0, finishing=True)
    opened.close()
    assert rows("select exit_code from attempts") == [{"exit_code": 0}]
