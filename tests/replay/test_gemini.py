"""What Gemini CLI 0.61.0 printed, through its parser: exact events, replies and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    Exit,
    answer,
    assert_same_however_cut,
    chunkings,
    cut_at,
    cuts,
    error,
    lines,
    load,
    load_stderr,
    replay,
)

from llm_gateway import errors
from llm_gateway.errors import GatewayError
from llm_gateway.events import Notice, Reply, Session, Text, ToolCall, ToolResult, Usage
from llm_gateway.providers.gemini_output import GeminiParser

FLASH, FAST = "gemini-3.8-flash", "gemini-2.5-flash"
ONE_CALL = Usage(1200, 34, cache_read=1000, reasoning=5)
TWO_CALLS = Usage(2400, 68, cache_read=2000, reasoning=10)
NOTHING = Usage(0, 0, cache_read=0, reasoning=0)
HERE = Path(__file__).parent / "gemini"


def recorded(name: str) -> bytes:
    return load("gemini", name)


def ended(name: str, code: int) -> Exit:
    return Exit(code, stderr=load_stderr("gemini", name))


# What went well.


def test_an_answer() -> None:
    """Routed by gemini: the router's tokens count, but the model is the one that answered."""
    name = "stream-json.ok.jsonl"
    events, reply = answer(GeminiParser(), recorded(name), ended(name, 0))
    id, text = "938796ff-597d-43b4-af47-792e02c0982b", "echo[22 chars]: MOCK:THINK hello there"
    assert events == [Session(id), Text(text), TWO_CALLS]
    assert reply == Reply(text, [text], id, FLASH, None, None, TWO_CALLS)


def test_actions_and_refusals() -> None:
    """At read: what is not offered, and what lies outside, counts as refused."""
    name = "stream-json.denied.jsonl"
    events, reply = answer(GeminiParser(), recorded(name), ended(name, 0))
    calls = [e for e in events if isinstance(e, ToolCall)]
    results = [e for e in events if isinstance(e, ToolResult)]
    assert [(c.name, c.arguments) for c in calls] == [
        ("read_file", {"file_path": "README.md"}),
        ("read_file", {"file_path": "/etc/hostname"}),
        ("write_file", {"file_path": "a.txt", "content": "x"}),
        ("enter_plan_mode", {"reason": "x"}),
    ]
    assert [(r.is_error, r.refused) for r in results] == [(False, False), *[(True, True)] * 3]
    assert [e for e in events if isinstance(e, Text)] == [Text("I look first."), Text("done", 1)]
    assert reply.text == "done"
    assert reply.messages == ["I look first.", "done"]
    assert (reply.refused_actions, reply.tools_run) == (3, ["read_file"])


@pytest.mark.parametrize(
    ("name", "tool", "failed", "refused", "output"),
    [
        ("tool-yolo", "run_shell_command", False, False, "hello-from-tool"),
        ("tool-auto_edit-write", "write_file", False, False, ""),
        (
            *("tool-allowed-rule-mismatch", "run_shell_command", True, True),
            "Tool execution denied by policy.",
        ),
        (
            *("tool-allowed", "run_shell_command", True, True),
            'Tool execution for "Shell" requires user confirmation, which is not supported in '
            "non-interactive mode.",
        ),
        (
            *("tool-notoffered", "run_shell_command", True, True),
            'Tool "run_shell_command" not found. Did you mean one of: "update_topic", '
            '"grep_search", "invoke_agent"?',
        ),
    ],
)
def test_how_an_action_ends(name: str, tool: str, failed: bool, refused: bool, output: str) -> None:
    file = f"stream-json.{name}.jsonl"
    events, reply = answer(GeminiParser(), recorded(file), ended(file, 0))
    (result,) = [e for e in events if isinstance(e, ToolResult)]
    assert (result.name, result.is_error, result.refused) == (tool, failed, refused)
    assert result.output == output
    assert reply.refused_actions == int(refused)
    assert reply.usage == TWO_CALLS


def test_a_protected_file_at_edit() -> None:
    events, reply = answer(GeminiParser(), recorded("stream-json.edit.jsonl"))
    assert [e.refused for e in events if isinstance(e, ToolResult)] == [False, True]
    assert reply.tools_run == ["write_file"]


# Its own retries.


@pytest.mark.parametrize(
    ("name", "notice"),
    [
        (
            "503-once",
            Notice(
                "retry",
                "gemini waits 5 s after a server error (attempt 1)",
                5.0,
                errors.Overloaded,
            ),
        ),
        (
            "429-once",
            Notice(
                "retry", "gemini waits 5 s after a rate limit (attempt 1)", 5.0, errors.RateLimited
            ),
        ),
    ],
)
def test_a_retry(name: str, notice: Notice) -> None:
    file = f"stream-json.{name}.jsonl"
    events, reply = answer(GeminiParser(), recorded(file), ended(file, 0))
    assert events[0] == notice
    assert reply.text == "late"


def retries(text: str) -> list[tuple[float | None, type[GatewayError] | None]]:
    return [(e.seconds, e.error) for e in GeminiParser().feed_stderr(text) if type(e) is Notice]


def test_how_long_it_waits() -> None:
    """It says how long after a rate limit, also where its message has two lines; else we know."""
    limited = retries(load_stderr("gemini", "stream-json.429.jsonl"))
    assert [kind for _, kind in limited] == [errors.RateLimited] * 9
    assert [s for s, _ in limited[:3]] == [5.831, 10.035, 23.017]
    failed = retries(load_stderr("gemini", "json.503.json"))
    assert failed == [(s, errors.Overloaded) for s in (5.0, 10.0, 20.0, *[30.0] * 6)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Attempt 1 failed. Retrying with backoff... Error: fetch failed", errors.NetworkFailed),
        ("Attempt 1 failed with status 499. Retrying with backoff...", errors.Overloaded),
        ("Attempt 1 failed with 5xx error. Retrying with backoff...", errors.Overloaded),
        (
            "Attempt 1 failed with 429 error (no Retry-After header). Retrying with backoff...",
            errors.RateLimited,
        ),
        ("Attempt 1 failed: The model is overloaded. Retrying after 900ms...", errors.Overloaded),
    ],
)
def test_why_it_waits(line: str, kind: type[GatewayError]) -> None:
    assert [error for _, error in retries(line + "\n")] == [kind]


@given(cuts)
def test_stderr_may_be_cut_anywhere(places: list[int]) -> None:
    text = load_stderr("gemini", "stream-json.429.jsonl")
    parser, whole = GeminiParser(), GeminiParser().feed_stderr(text)
    pieces = cut_at(text.encode(), places)
    assert [e for piece in pieces for e in parser.feed_stderr(piece.decode())] == whole
    assert len(whole) == 9


def test_noise_on_stderr_is_no_event() -> None:
    for file in HERE.glob("*.stderr"):
        events = GeminiParser().feed_stderr(file.read_text())
        assert all(type(e) is Notice and e.kind == "retry" for e in events), file


def test_an_endless_stderr_is_not_kept() -> None:
    parser = GeminiParser()
    for _ in range(100):
        parser.feed_stderr("Attempt 1 failed: " + "x" * 10_000)
    assert len(parser._stderr) <= 65_536


# Failures.

ASK = "log in with: gemini (once, at a terminal), or set GEMINI_API_KEY"
FAILURES = [
    ("400", 144, errors.RejectedInput, "The mock rejects this request (HTTP 400)."),
    (
        *("401", 144, errors.AuthFailed),
        f"API key not valid. Please pass a valid API key; {ASK}",
    ),
    (
        *("403", 147, errors.AuthFailed),
        f"The caller does not have permission (HTTP 403); {ASK}",
    ),
    (
        *("404-model", 1, errors.ModelNotFound),
        "models/nope-model is not found for API version v1beta, or is not supported for "
        "generateContent; choose another with -o model NAME, e.g. -o model flash",
    ),
    ("429", 173, errors.RateLimited, "You exceeded your current quota; try again later"),
    (
        *("drop", 1, errors.NetworkFailed),
        "The connection to Gemini broke (terminated); try again later",
    ),
    ("empty", 0, errors.EmptyReply, "Gemini ended without an answer."),
    (
        *("loop", 0, errors.LimitReached),
        "Gemini was repeating itself and was stopped; the answer is cut off.",
    ),
    (
        *("too-long", 0, errors.RejectedInput),
        "The conversation is longer than the context of the Gemini model.",
    ),
    ("sigint", 0, errors.ProtocolError, "Gemini CLI ended before it said that it was done."),
    ("sigterm", 0, errors.ProtocolError, "Gemini CLI ended before it said that it was done."),
]


@pytest.mark.parametrize(("name", "code", "kind", "message"), FAILURES)
def test_a_failure(name: str, code: int, kind: type[GatewayError], message: str) -> None:
    """The same category also where only the output is left of the run, without its exit code."""
    file = f"stream-json.{name}.jsonl"
    _, failed = error(kind, GeminiParser(), recorded(file), ended(file, code))
    assert failed.message == message
    assert failed.session_id == json.loads(recorded(file).splitlines()[0])["session_id"]


STARTUP = [
    ("stream-json.nokey.jsonl", 41, errors.AuthFailed, f"Gemini CLI is not logged in; {ASK}"),
    (
        *("stream-json.resume-unknown.jsonl", 42, errors.SessionLost),
        "Gemini CLI does not have the session in this directory.",
    ),
    (
        *("json.sessionid-again.json", 42, errors.SessionLost),
        "Gemini CLI already has such a session.",
    ),
    (
        *("stream-json.yolo-untrusted.jsonl", 55, errors.ActionDenied),
        "Gemini CLI refuses to run in a directory that it does not trust.",
    ),
    (
        *("text.untrusted.txt", 55, errors.ActionDenied),
        "Gemini CLI refuses to run in a directory that it does not trust.",
    ),
    (
        *("text.badflag.txt", 1, errors.CliError),
        "This gemini does not know the flag --such-flag; upgrade it with: "
        "npm install -g @google/gemini-cli@latest",
    ),
    (
        *("stream-json.includedirs-missing.jsonl", 1, errors.CliError),
        "Gemini CLI failed with exit code 1: An unexpected critical error occurred:"
        "Error: Directory does not exist: /home/user/nodir.",
    ),
    (
        *("text.stdin-empty.txt", 42, errors.RejectedInput),
        "Gemini CLI failed with exit code 42: No input provided via stdin. Input can be provided "
        "by piping data into gemini or using the --prompt option.",
    ),
]


def test_an_unknown_trouble_with_the_login() -> None:
    noise = "\x1b[31mAuthentication consent could not be obtained.\x1b[0m\n    at f (x.js:1)\n}\n"
    _, failed = error(errors.AuthFailed, GeminiParser(), b"", Exit(41, stderr=noise))
    assert failed.message == (
        "Gemini CLI failed with exit code 41: Authentication consent could not be obtained; " + ASK
    )


@pytest.mark.parametrize(("file", "code", "kind", "message"), STARTUP)
def test_a_failure_at_the_start(
    file: str, code: int, kind: type[GatewayError], message: str
) -> None:
    _, failed = error(kind, GeminiParser(), recorded(file), ended(file, code))
    assert failed.message == message


def result(message: str) -> bytes:
    stats = {"models": {FAST: {"total_tokens": 0}}, "total_tokens": 0}
    return lines(
        {"type": "init", "session_id": "s", "model": FAST},
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "result", "status": "error", "error": {"message": message}, "stats": stats},
    )


@pytest.mark.parametrize(
    ("message", "exit", "kind"),
    [
        ("[API Error: internal]", Exit(244), errors.Overloaded),
        ("[API Error: internal]", Exit(247), errors.Overloaded),
        ("[API Error: odd]", Exit(1, stderr="x {\n  status: 503\n}"), errors.Overloaded),
        ("[API Error: odd]", Exit(1), errors.CliError),
        ("[API Error: You have exhausted your daily quota on this model.]", Exit(173), None),
        ("[API Error: exception TypeError: fetch failed sending request]", Exit(1), None),
        ("[API Error: ]", Exit(0), errors.CliError),
        ("Reached max session turns for this session.", Exit(53), errors.LimitReached),
    ],
)
def test_what_is_left_of_an_error(
    message: str, exit: Exit, kind: type[GatewayError] | None
) -> None:
    """The status is in the message, at the end of stderr, or in the exit code."""
    if kind is None:
        kind = errors.RateLimited if "quota" in message else errors.NetworkFailed
    error(kind, GeminiParser(), result(message), exit)


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        ("The model response was blocked due to safety settings.", errors.Refused),
        (
            "Model response was truncated because it exceeded the token limit. Try /compress.",
            errors.LimitReached,
        ),
        ("The model returned reasoning thoughts but no final response text.", errors.EmptyReply),
        ("Invalid stream: something new.", errors.CliError),
    ],
)
def test_an_invalid_answer(problem: str, kind: type[GatewayError]) -> None:
    """Then the result says ``error`` without one, and gemini exits with 0."""
    data = lines(
        {"type": "init", "session_id": "s", "model": FAST},
        {"type": "error", "severity": "error", "message": problem},
        {"type": "result", "status": "error", "stats": {"models": {FAST: {}}}},
    )
    error(kind, GeminiParser(), data, Exit(0))


def test_a_warning_is_told() -> None:
    data = lines({"type": "error", "severity": "warning", "message": "Agent execution blocked: no"})
    assert GeminiParser().feed(data) == [Notice("warning", "gemini: Agent execution blocked: no")]


# However the bytes come.

RECORDINGS = sorted(path.name for path in HERE.glob("stream-json.*.jsonl"))


@given(st.sampled_from(RECORDINGS), cuts)
def test_any_chunking_gives_the_same_events(name: str, places: list[int]) -> None:
    assert_same_however_cut(GeminiParser, recorded(name), places, ended(name, 0))


@given(chunkings(recorded("stream-json.denied.jsonl")))
def test_drawn_chunks(chunks: list[bytes]) -> None:
    events, _ = replay(GeminiParser(), chunks)
    assert sum(isinstance(event, ToolCall) for event in events) == 4


@given(st.lists(st.sampled_from(recorded("stream-json.denied.jsonl").splitlines())))
def test_lines_may_be_lost_or_repeated(chosen: list[bytes]) -> None:
    """Whatever comes in whatever order, the end is a reply or a typed error."""
    _, end = replay(GeminiParser(), lines(*chosen))
    assert isinstance(end, (Reply, GatewayError))


# The answer to a schema.


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('\n``` \n{"a":\n 1}\n```\n', '{"a":\n 1}'),
        ('{"a": 1}', '{"a": 1}'),
        ("```json\nno end", "```json\nno end"),
    ],
)
def test_a_fence_around_json(said: str, text: str) -> None:
    data = lines(
        {"type": "init", "session_id": "s", "model": FAST},
        {"type": "message", "role": "assistant", "content": said, "delta": True},
        {"type": "result", "status": "success", "stats": {}},
    )
    assert answer(GeminiParser(structured=True), data)[1].text == text
    assert answer(GeminiParser(), data)[1].text == said
