"""What codex 0.169.0 printed, through its parser: exact events, replies and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from support import (
    Exit,
    answer,
    assert_same_however_cut,
    cuts,
    error,
    lines,
    load,
    load_stderr,
    replay,
)

from llm_gateway import errors
from llm_gateway.errors import GatewayError
from llm_gateway.events import (
    Notice,
    Reasoning,
    Reply,
    Session,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from llm_gateway.providers.codex_output import CodexParser

ONE_CALL = Usage(1200, 34, cache_read=1000, cache_write=0, reasoning=5)
TWO_CALLS = Usage(2400, 68, cache_read=2000, cache_write=0, reasoning=10)
THREE_CALLS = Usage(3600, 102, cache_read=3000, cache_write=0, reasoning=15)
SUMS = {
    "input_tokens": 1200,
    "cached_input_tokens": 1000,
    "cache_write_input_tokens": 0,
    "output_tokens": 34,
    "reasoning_output_tokens": 5,
}
RECORDINGS = (
    *("json.ok.jsonl", "json.messages.jsonl", "json.mcp-read.jsonl", "json.tool-patch.jsonl"),
    *("json.maxtok.jsonl", "json.503.jsonl", "json.unicode.jsonl", "json.tool-sleep-sigterm.jsonl"),
)


def new(before: Mapping[str, int] | None = None) -> CodexParser:
    """A parser as for a new thread, or as for one whose sums so far are known."""
    parser = CodexParser()
    parser.usage_before = before or {}
    return parser


def recorded(name: str) -> bytes:
    return load("codex", name)


def thread(name: str) -> str:
    return str(json.loads(recorded(name).splitlines()[0])["thread_id"])


# What went well.


def test_an_answer() -> None:
    """The one message is the answer; codex names neither model nor version nor stop reason."""
    events, reply = answer(new(), recorded("json.ok.jsonl"))
    id = "01a20223-f454-7cf0-a998-9031976cca57"
    text = "echo[11 chars]: hello there"
    assert events == [Session(id), Text(text), ONE_CALL]
    assert reply == Reply(text, [text], id, usage=ONE_CALL, facts={"usage_totals": SUMS})


def test_the_model_that_was_asked_for() -> None:
    """What the request or the user's file says stands for what codex does not tell."""
    parser = new()
    parser.model = "gpt-6-luna"
    events, reply = answer(parser, recorded("json.ok.jsonl"))
    assert events[0] == Session(thread("json.ok.jsonl"), "gpt-6-luna")
    assert reply.model == "gpt-6-luna"


def test_thinking() -> None:
    events, reply = answer(new(), recorded("json.think.jsonl"))
    assert events[1:] == [
        Reasoning("**Thinking** about this.\n\n"),
        Text("echo[16 chars]: MOCK:THINK hello"),
        ONE_CALL,
    ]
    assert reply.messages == ["echo[16 chars]: MOCK:THINK hello"]


def test_all_messages_but_the_last_are_reasoning() -> None:
    """A message is held until the next item shows whether more follows."""
    events, reply = answer(new(), recorded("json.messages.jsonl"))
    thought = "Let me think about this.\n\n"
    command = "/bin/bash -lc 'echo hi'"
    assert events[1:] == [
        Reasoning(thought + "I look first.\n\n"),
        ToolCall("item_2", "command_execution", {"command": command}),
        ToolResult("item_2", "command_execution", "hi\n"),
        Reasoning(thought),
        Text("done", 1),
        TWO_CALLS,
    ]
    assert (reply.text, reply.messages) == ("done", ["I look first.", "done"])
    assert reply.tools_run == ["command_execution"]


def test_an_answer_before_the_last_action() -> None:
    """Where nothing is said after an action, the last message is the answer all the same."""
    started = {"type": "item.started", "item": {"id": "item_1", "type": "web_search", "query": "x"}}
    data = lines(
        {"type": "thread.started", "thread_id": "t"},
        {"type": "item.completed", "item": {"id": "i", "type": "agent_message", "text": "so"}},
        started,
        {**started, "type": "item.completed"},
        {"type": "turn.completed", "usage": SUMS},
    )
    events, reply = answer(new(), data)
    assert [e for e in events if isinstance(e, (Reasoning, Text))] == [
        Reasoning("so\n\n"),
        Text("so"),
    ]
    assert (reply.text, reply.tools_run) == ("so", ["web_search"])


def test_changed_files() -> None:
    events, reply = answer(new(), recorded("json.tool-patch.jsonl"))
    changes = [{"path": "/home/user/project-ctool/a.txt", "kind": "add"}]
    assert events[1:3] == [
        ToolCall("item_0", "file_change", {"changes": changes}),
        ToolResult("item_0", "file_change", "add /home/user/project-ctool/a.txt"),
    ]
    assert (reply.tools_run, reply.refused_actions) == (["file_change"], 0)


def test_a_command_that_failed_by_itself() -> None:
    events, reply = answer(new(), recorded("json.tool-fail-exit3.jsonl"))
    assert events[2] == ToolResult("item_0", "command_execution", "oops\n", is_error=True)
    assert (reply.tools_run, reply.refused_actions) == (["command_execution"], 0)


def test_servers() -> None:
    """A call that would need approval is refused; what it answers is the result of the other."""
    events, reply = answer(new(), recorded("json.mcp-read.jsonl"))
    needs = "MCP tool call requires approval, but approval policy is never"
    assert events[1:5] == [
        ToolCall("item_0", "mcp__user__plain_touch", {}),
        ToolResult("item_0", "mcp__user__plain_touch", needs, is_error=True, refused=True),
        ToolCall("item_1", "mcp__user__hinted_touch", {}),
        ToolResult("item_1", "mcp__user__hinted_touch", "touched"),
    ]
    assert (reply.tools_run, reply.refused_actions) == (["mcp__user__hinted_touch"], 1)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("json.tool-patch-readonly.jsonl", 1),
        ("json.tool-escalate.jsonl", 1),
        ("json.bad-rm.jsonl", 1),
        ("json.blocked.jsonl", 1),
        ("json.tool-default.jsonl", 0),  # the sandbox made it fail: codex says nothing of it
        ("json.tool-workspace-write.jsonl", 0),
    ],
)
def test_refused_actions(name: str, refused: int) -> None:
    """Counted where stderr tells of one, or a command met a read-only file system and went on."""
    ended = Exit(0, stderr=load_stderr("codex", name))
    assert answer(new(), recorded(name), ended)[1].refused_actions == refused


def test_without_a_sandbox_a_read_only_file_system_is_nobodys_refusal() -> None:
    parser = new()
    parser.confined = False
    assert answer(parser, recorded("json.blocked.jsonl"))[1].refused_actions == 0


def test_stderr_in_pieces() -> None:
    parser = new()
    for character in load_stderr("codex", "json.bad-rm.jsonl").rstrip("\n"):
        assert parser.feed_stderr(character) == []
    parser.close()
    assert parser.refused == 1


def test_usage_of_a_continued_thread() -> None:
    """Codex tells the sums of the whole thread: this turn's is the difference, if that is known."""
    first, second = recorded("json.session1.jsonl"), recorded("json.resume-ok.jsonl")
    _, before = answer(new(), first)
    _, reply = answer(new(before.facts["usage_totals"]), second)
    assert (before.usage, reply.usage) == (ONE_CALL, ONE_CALL)
    assert reply.facts["usage_totals"]["input_tokens"] == 2400
    _, unknown = answer(CodexParser(), second)
    assert unknown.usage == Usage()
    assert unknown.facts == reply.facts


def test_sums_that_begin_anew_are_this_turns() -> None:
    before = {name: 10 * value for name, value in SUMS.items()}
    assert answer(new(before), recorded("json.ok.jsonl"))[1].usage == ONE_CALL


def test_a_fork_carries_the_sums() -> None:
    before = {name: 7 * value for name, value in SUMS.items()}
    assert answer(new(before), recorded("json.fork.jsonl"))[1].usage == ONE_CALL


def test_warnings() -> None:
    """An item of type error is no failure; the same warning twice is said once."""
    events, reply = answer(new(), recorded("json.resume-othermodel.jsonl"))
    assert events[1] == Notice(
        "warning",
        "codex: This session was recorded with model `gpt-5.5` but is resuming with `gpt-6-luna`. "
        "Consider switching back to `gpt-5.5` as it may affect Codex performance.",
    )
    assert (reply.text, reply.usage) == ("echo[1 chars]: x", THREE_CALLS)
    item = {"type": "item.completed", "item": {"id": "i", "type": "error", "message": "a\n  b"}}
    warned, _ = replay(new(), lines(item, item))
    assert warned == [Notice("warning", "codex: a b")]


def test_an_answer_to_a_schema() -> None:
    _, reply = answer(new(), recorded("json.output-schema.jsonl"))
    assert reply.text == '{"name":"mock","n":7}'


def test_a_thread_that_is_another_one() -> None:
    """A name that codex does not know starts a new thread: the gateway compares the id."""
    events, _ = answer(new(), recorded("json.resume-name-unknown.jsonl"))
    assert events[0] == Session("01a20226-1dd9-75a0-9436-5306b59ae055")


# Retries of codex's own.


def test_retries_are_told_one_by_one() -> None:
    """Each says what happened, of which kind that is, and about how long codex waits."""
    events, _ = replay(new(), recorded("json.429.jsonl"), Exit(1))
    said = [e for e in events if isinstance(e, Notice)]
    why = "exceeded retry limit, last status: 429 Too Many Requests"
    assert said == [
        Notice(
            "retry",
            f"codex tries again (retry {n} of 5) after: {why}",
            0.2 * 2 ** (n - 1),
            errors.RateLimited,
        )
        for n in range(1, 6)
    ]


@pytest.mark.parametrize(
    ("name", "kind", "seconds"),
    [
        ("json.401.jsonl", errors.AuthFailed, 6.2),
        ("json.403.jsonl", errors.AuthFailed, 6.2),
        ("json.500.jsonl", errors.Overloaded, 21.2),
        ("json.503.jsonl", errors.Overloaded, 21.2),
        ("json.drop.jsonl", errors.NetworkFailed, 6.2),
        ("json.unreachable.jsonl", errors.NetworkFailed, 87.0),
    ],
)
def test_how_long_the_retries_take(name: str, kind: type[GatewayError], seconds: float) -> None:
    """About as long as they took on the real CLI."""
    events, _ = replay(new(), recorded(name), Exit(1))
    said = [e for e in events if isinstance(e, Notice)]
    assert {e.error for e in said} == {kind}
    assert sum(e.seconds or 0 for e in said) == pytest.approx(seconds)


def test_a_wait_that_is_stated() -> None:
    message = "Reconnecting... 1/5 (Rate limit reached. Please try again in {}.)"
    for stated, seconds in (("1.898s", 1.898), ("20 seconds", 20.0), ("350ms", 0.35)):
        said = lines({"type": "error", "message": message.format(stated)})
        events, _ = replay(new(), said)
        assert [e.seconds for e in events if isinstance(e, Notice)] == [seconds]


def test_a_websocket_that_is_refused_is_no_failure() -> None:
    """Codex falls back to HTTPS, which answers here."""
    events, reply = answer(new(), recorded("json.openai-CODEX_API_KEY.jsonl"))
    said = [e for e in events if isinstance(e, Notice)]
    assert [(e.kind, e.error) for e in said] == [
        *[("retry", errors.NetworkFailed)] * 4,
        ("warning", None),
    ]
    assert reply.text == "echo[1 chars]: x"


def test_an_answer_after_a_retry() -> None:
    events, reply = answer(new(), recorded("json.429-retry-after.jsonl"))
    assert [type(e) for e in events] == [Session, Notice, Text, Usage]
    assert reply.text == "late"


# What went wrong.

LOGIN = "log in with: codex login, or set CODEX_API_KEY"
ERRORS: list[tuple[str, type[GatewayError], str]] = [
    (
        "json.400.jsonl",
        errors.RejectedInput,
        "The server had an error while processing your request. Sorry about that!",
    ),
    (
        "json.401.jsonl",
        errors.AuthFailed,
        f"unexpected status 401 Unauthorized: Incorrect API key provided: sk-bad; {LOGIN}",
    ),
    (
        "json.403.jsonl",
        errors.AuthFailed,
        "unexpected status 403 Forbidden: You are not allowed to use this model; " + LOGIN,
    ),
    (
        "json.404-model.jsonl",
        errors.ModelNotFound,
        "The model `nope-model` does not exist or you do not have access to it; choose another "
        "with -o model NAME",
    ),
    (
        "json.429.jsonl",
        errors.RateLimited,
        "exceeded retry limit, last status: 429 Too Many Requests; try again later",
    ),
    (
        "json.500.jsonl",
        errors.Overloaded,
        "We’re currently experiencing high demand, which may cause temporary errors; try again "
        "later",
    ),
    (
        "json.503.jsonl",
        errors.Overloaded,
        "unexpected status 503 Service Unavailable: The server had an error while processing your "
        "request. Sorry about that!; try again later",
    ),
    (
        "json.drop.jsonl",
        errors.NetworkFailed,
        "stream disconnected before completion: Transport error: network error: error decoding "
        "response body",
    ),
    (
        "json.nokey.jsonl",
        errors.AuthFailed,
        f"Codex takes its key from MOCK_OPENAI_KEY, which is not set; set it, or {LOGIN}",
    ),
    (
        "json.openai-nokey.jsonl",
        errors.AuthFailed,
        f"unexpected status 401 Unauthorized: Incorrect API key provided: sk-bad; {LOGIN}",
    ),
    (
        "json.maxtok.jsonl",
        errors.LimitReached,
        "The answer hit the model's output limit and is cut off.",
    ),
]


@pytest.mark.parametrize(("name", "kind", "message"), ERRORS, ids=[e[0] for e in ERRORS])
def test_an_error_that_ends_the_turn(name: str, kind: type[GatewayError], message: str) -> None:
    """Each has its kind, a sentence that says what to do, and the thread at its end."""
    _, failed = error(kind, new(), recorded(name))
    assert (failed.message, failed.session_id) == (message, thread(name))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You've hit your usage limit. Try again at 3:05 PM.", errors.RateLimited),
        ("Quota exceeded. Check your plan and billing details.", errors.RateLimited),
        ("Selected model is at capacity. Please try a different model.", errors.Overloaded),
        ("Codex ran out of room in the model's context window.", errors.LimitReached),
        ("Incomplete response returned, reason: content_filter", errors.Refused),
        ("Your access token could not be refreshed. Please log out", errors.AuthFailed),
        ('{"detail":"The \'x\' model is not supported when using Codex"}', errors.ModelNotFound),
        ("Connection failed: error sending request", errors.NetworkFailed),
        ("unexpected status 404 Not Found: no such path, url: http://x/", errors.CliError),
        ("something else", errors.CliError),
    ],
)
def test_phrases_of_the_binary(text: str, kind: type[GatewayError]) -> None:
    """Found in codex's own file, never met here."""
    ended = {"type": "turn.failed", "error": {"message": text}}
    _, failed = error(kind, new(), lines(ended))
    assert "{" not in failed.message


@pytest.mark.parametrize(
    ("name", "code", "kind", "message"),
    [
        (
            "json.resume-unknown.jsonl",
            1,
            errors.SessionLost,
            "Codex no longer has the session.",
        ),
        (
            "json.stdin-2MB.jsonl",
            1,
            errors.RejectedInput,
            "The prompt is longer than the 1048576 characters that codex takes.",
        ),
        (
            "json.strict-config-bad.jsonl",
            1,
            errors.CliError,
            "Codex cannot read its configuration: unknown configuration field `nosuch_key` in "
            "-c/--config override.",
        ),
        (
            "badflag.txt",
            2,
            errors.CliError,
            "This codex does not know the flag --no-such-flag; upgrade it with: codex update",
        ),
    ],
)
def test_an_error_that_is_told_on_stderr_alone(
    name: str, code: int, kind: type[GatewayError], message: str
) -> None:
    ended = Exit(code, stderr=load_stderr("codex", name))
    _, failed = error(kind, new(), recorded(name), ended)
    assert failed.message == message


def test_an_unknown_failure_says_what_codex_said() -> None:
    ended = Exit(1, stderr="warning: x\nError: No such file or directory (os error 2)\n")
    _, failed = error(errors.CliError, new(), b"", ended)
    assert failed.message == "Codex failed: No such file or directory (os error 2)."


@pytest.mark.parametrize("name", ["json.empty.jsonl", "json.refuse.jsonl"])
def test_an_empty_turn_is_no_answer(name: str) -> None:
    """A refusal of the model's looks the same to codex."""
    _, failed = error(errors.EmptyReply, new(), recorded(name), Exit(0))
    assert failed.session_id == thread(name)


def test_a_cut_off_answer_keeps_what_was_said() -> None:
    events, _ = error(errors.LimitReached, new(), recorded("json.maxtok.jsonl"))
    assert events[1:] == [Text("echo[13 chars]: MOCK:MAXTOK x")]


@pytest.mark.parametrize("name", ["json.sigint.jsonl", "json.sigterm.jsonl"])
def test_a_run_that_was_stopped(name: str) -> None:
    _, failed = error(errors.ProtocolError, new(), recorded(name), Exit(None, 15))
    assert failed.message == "Codex ended by signal 15 before it said that it was done."
    assert failed.session_id == thread(name)


def test_an_action_that_runs_when_it_is_stopped() -> None:
    """Whoever owns the process sees what runs."""
    parser = new()
    parser.feed(recorded("json.tool-sleep-sigterm.jsonl"))
    assert parser.tools_open == {"item_0": "command_execution"}


def test_a_held_message_is_not_lost() -> None:
    """What was said last before the output ends is told, though it is no answer."""
    whole = recorded("json.messages.jsonl").splitlines(keepends=True)
    events, _ = error(errors.ProtocolError, new(), b"".join(whole[:-1]), Exit(0))
    assert events[-1] == Text("done", 1)


@pytest.mark.parametrize("name", RECORDINGS)
@given(places=cuts)
def test_any_chunking_gives_the_same_events(name: str, places: list[int]) -> None:
    assert_same_however_cut(new, recorded(name), places)


@given(places=cuts)
def test_half_of_it_never_crashes(places: list[int]) -> None:
    for place in places:
        data = recorded("json.mcp-read.jsonl")
        replay(new(), data[: place % len(data)], Exit(1))
