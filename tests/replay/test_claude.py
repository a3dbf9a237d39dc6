"""What Claude Code 2.1.330 printed, through its parser: exact events, replies and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    Exit,
    answer,
    assert_same_however_cut,
    chunkings,
    cuts,
    error,
    joined,
    lines,
    load,
    load_stderr,
    replay,
)

from llm_gateway import errors
from llm_gateway.errors import GatewayError
from llm_gateway.events import (
    Event,
    Notice,
    Reasoning,
    Reply,
    Session,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from llm_gateway.providers.claude_output import ClaudeParser

MODEL, VERSION = "claude-opus-5-5", "2.1.330"
ONE_CALL = Usage(1250, 34, cache_read=1000, cache_write=50, reasoning=0, cost_total_usd=0.00193)
TWO_CALLS = Usage(2500, 68, cache_read=2000, cache_write=100, reasoning=0, cost_total_usd=0.00386)
NOTHING = Usage(0, 0, cache_read=0, cache_write=0, reasoning=0, cost_total_usd=0)
RECORDINGS = (
    *("stream-json.partial.ok.jsonl", "stream-json.hooks.jsonl", "stream-json.sigint.jsonl"),
    *("stream-json.tool-denied.jsonl", "stream-json.429.defaultretries.jsonl"),
)


def session(id: str) -> Session:
    return Session(id, MODEL, VERSION)


def recorded(name: str) -> bytes:
    data: bytes = load("claude", name)
    return data


# What went well.


def test_an_answer_that_was_not_streamed() -> None:
    """Without partial messages the text comes once, from the assistant event."""
    events, reply = answer(ClaudeParser(), recorded("stream-json.ok.jsonl"))
    id = "ffed5c91-30d0-476b-a31c-2610fb44d924"
    assert events == [session(id), Text("echo[11 chars]: hello there"), ONE_CALL]
    assert reply == Reply(
        "echo[11 chars]: hello there",
        ["echo[11 chars]: hello there"],
        id,
        MODEL,
        "end_turn",
        VERSION,
        ONE_CALL,
        facts={
            "tools_offered": reply.facts["tools_offered"],
            "message": "7b10660a-9d1a-4646-8101-0ba25c1af827",
            "num_turns": 1,
        },
    )


def test_a_streamed_answer_with_thinking() -> None:
    """Deltas are passed on as they come; the whole message that follows adds nothing."""
    parser = ClaudeParser()
    events, end = replay(parser, recorded("stream-json.partial.ok.jsonl"))
    assert [e.text for e in events if isinstance(e, Text)] == [
        "echo[22 ",
        "chars]: ",
        "MOCK:THINK ",
        "hello ",
        "there",
    ]
    assert joined(events) == [
        session("6f015b72-8271-449f-a5df-2ad1533904a8"),
        Reasoning("Let me think about this."),
        Text("echo[22 chars]: MOCK:THINK hello there"),
        ONE_CALL,
    ]
    assert isinstance(end, Reply) and end.text == "echo[22 chars]: MOCK:THINK hello there"


def test_a_slow_answer() -> None:
    """Twenty words, one a delta."""
    events, reply = answer(ClaudeParser(), recorded("stream-json.slow.jsonl"))
    text = " ".join(f"word{n}" for n in range(1, 21))
    assert events[1:] == [Text(text), ONE_CALL]
    assert reply.text == text


@pytest.mark.parametrize("name", ["stream-json.tool-allowed.jsonl", "stream-json.hooks.jsonl"])
def test_an_action_between_two_messages(name: str) -> None:
    """Both messages are told apart, the action and its outcome stand between them."""
    events, reply = answer(ClaudeParser(), recorded(name))
    output = "hi" if "hooks" in name else "hello-from-tool"
    last = f"tool_result(is_error=False): {output}"
    call = events[2]
    assert isinstance(call, ToolCall) and call.name == "Bash"
    assert call.arguments["description"] == "mock" and "echo" in call.arguments["command"]
    assert events[1:] == [
        Text("calling a tool", 0),
        call,
        ToolResult(call.id, "Bash", output),
        Text(last, 1),
        TWO_CALLS,
    ]
    assert (reply.text, reply.messages) == (last, ["calling a tool", last])
    assert (reply.tools_run, reply.refused_actions) == (["Bash"], 0)


@pytest.mark.parametrize(
    ("name", "tool", "says"),
    [
        ("stream-json.tool-denied.jsonl", "Bash", "needs approval"),
        ("stream-json.permprompts-none.jsonl", "Bash", "denied automatically"),
        ("stream-json.tool-mode-dontAsk.jsonl", "Write", "don't ask mode"),
    ],
)
def test_an_action_that_was_refused(name: str, tool: str, says: str) -> None:
    """It counts as refused, not as run, and the answer is an answer all the same."""
    events, reply = answer(ClaudeParser(), recorded(name))
    (result,) = (e for e in events if isinstance(e, ToolResult))
    assert (result.name, result.is_error, result.refused) == (tool, True, True)
    assert says in result.output
    assert (reply.refused_actions, reply.tools_run) == (1, [])
    assert reply.stop_reason == "end_turn"


@pytest.mark.parametrize("name", ["stream-json.schema.jsonl", "json.schema.json"])
def test_an_answer_to_a_schema(name: str) -> None:
    """The answer is the JSON alone, without what was said on the way and claude's own tool."""
    parser = ClaudeParser()
    parser.structured = True
    events, reply = answer(parser, recorded(name))
    assert [e for e in events if not isinstance(e, Session)] == [
        Text('{"name":"mock","n":7}'),
        ONE_CALL,
    ]
    assert (reply.text, reply.messages) == ('{"name":"mock","n":7}', ['{"name":"mock","n":7}'])
    assert reply.tools_run == []


def test_a_connection_that_broke_and_was_mended() -> None:
    """After claude's own retries the answer is whole."""
    events, reply = answer(ClaudeParser(), recorded("json.drop.defaultretries.json"))
    assert reply.text == "echo[28 chars]: MOCK:DROP one two three four"
    assert [type(e) for e in events] == [Text, Usage]


def test_an_empty_answer_that_claude_asked_again_about() -> None:
    """Claude asks the model once more by itself; what it says then is the answer."""
    _, reply = answer(ClaudeParser(), recorded("json.empty.json"))
    assert reply.text.startswith("echo[100 chars]: [Your previous response had no visible output.")


def test_the_cost_of_a_continued_session_is_a_running_sum() -> None:
    """This turn's is the difference; without the sum before it there is none."""
    parser = ClaudeParser()
    parser.cost_before = 0.00193
    _, reply = answer(parser, recorded("json.resume-ok.json"))
    u = reply.usage
    assert (u.cost_usd, u.cost_basis, u.cost_total_usd) == (0.00193, "derived", 0.00386)
    parser = ClaudeParser()
    parser.cost_before = 0.0
    assert answer(parser, recorded("json.ok.json"))[1].usage.cost_basis == "reported"
    _, reply = answer(ClaudeParser(), recorded("json.resume-ok.json"))
    assert (reply.usage.cost_usd, reply.usage.cost_total_usd) == (None, 0.00386)


# What went wrong.

LOGIN = "log in with: claude auth login, or set ANTHROPIC_API_KEY"
ERRORS: list[tuple[str, type[GatewayError], str]] = [
    ("json.400.json", errors.RejectedInput, "API Error: 400 Internal server error"),
    ("json.401.json", errors.AuthFailed, f"Invalid API key · Fix external API key; {LOGIN}"),
    (
        "json.403.json",
        errors.AuthFailed,
        f"Failed to authenticate. API Error: 403 Internal server error; {LOGIN}",
    ),
    (
        "json.404-model.json",
        errors.ModelNotFound,
        "There's an issue with the selected model (nope-model). It may not exist or you may not "
        "have access to it. Run --model to pick a different model; choose another with -o model "
        "NAME, e.g. -o model sonnet",
    ),
    (
        "json.429.maxretries1.json",
        errors.RateLimited,
        "API Error: Request rejected (429) · This request would exceed your account's rate limit. "
        "Please try again later; try again later",
    ),
    (
        "json.500.maxretries1.json",
        errors.Overloaded,
        "API Error: 500 Internal server error. This is a server-side issue, usually temporary — "
        "try again in a moment. If it persists, check your inference gateway (127.0.0.1:8199); "
        "try again later",
    ),
    (
        "json.529.maxretries1.json",
        errors.Overloaded,
        "API Error: 529 Overloaded. This is a server-side issue, usually temporary — try again in "
        "a moment. If it persists, check your inference gateway (127.0.0.1:8199); try again later",
    ),
    (
        "json.unreachable.json",
        errors.NetworkFailed,
        "API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)",
    ),
    ("json.nokey.json", errors.AuthFailed, f"Not logged in · Please run /login; {LOGIN}"),
    (
        "json.maxturns.json",
        errors.LimitReached,
        "Reached maximum number of turns (1); allow more with -o max_turns N.",
    ),
    (
        "json.budget.json",
        errors.LimitReached,
        "Reached maximum budget ($0.001); allow more with -o max_cost_usd USD.",
    ),
    (
        "json.maxtok.json",
        errors.LimitReached,
        "The answer hit the model's output limit. API Error: Claude's response exceeded the 128000 "
        "output token maximum. To configure this behavior, set the CLAUDE_CODE_MAX_OUTPUT_TOKENS "
        "environment variable",
    ),
    (
        "json.refuse.json",
        errors.Refused,
        "API Error: Opus 5.5's safeguards flagged this message (https://www.anthropic.com/legal/"
        "aup). This sometimes happens with safe, normal conversations. Claude Code can't respond "
        "to this message with Opus 5.5",
    ),
    ("json.sigint.json", errors.CliError, "Claude Code was interrupted."),
]


@pytest.mark.parametrize(("name", "kind", "message"), ERRORS, ids=[e[0] for e in ERRORS])
def test_an_error_of_the_result_event(name: str, kind: type[GatewayError], message: str) -> None:
    """Each has its kind, a sentence that says what to do, and the session at its end."""
    data = recorded(name)
    events, failed = error(kind, ClaudeParser(), data)
    id = json.loads(data)["session_id"]
    assert [type(e) for e in events] == [Usage]
    assert (failed.message, failed.session_id) == (message, id)
    assert str(failed) == f"{message} (session {id})"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("json.resume-unknown.json", errors.SessionLost, "Claude Code does not have that session."),
        (
            "json.sessionid-again.json",
            errors.SessionLost,
            "Claude Code already has a session of that id.",
        ),
        (
            "badflag.txt",
            errors.CliError,
            "This claude does not know the flag --no-such-flag; upgrade it with: claude update",
        ),
        (
            "stream-json.tool-bypass.jsonl",
            errors.PermissionDenied,
            "Claude Code refuses full access to root; set IS_SANDBOX=1 if this machine is a "
            "sandbox.",
        ),
    ],
)
def test_an_error_that_is_told_on_stderr_alone(
    name: str, kind: type[GatewayError], message: str
) -> None:
    """Nothing is on stdout then, whatever the output format."""
    ended = Exit(1, stderr=load_stderr("claude", name))
    events, failed = error(kind, ClaudeParser(), recorded(name), ended)
    assert (events, str(failed), failed.session_id) == ([], message, None)


@pytest.mark.parametrize("name", ["json.schema-bad.json", "stream-json.input-bad.jsonl"])
def test_an_unknown_failure_says_what_the_cli_said(name: str) -> None:
    """A failure that no table knows is at least quoted."""
    said = load_stderr("claude", name)
    _, failed = replay(ClaudeParser(), recorded(name), Exit(1, stderr=said))
    assert said.strip() in str(failed)


def test_retries_are_told_one_by_one() -> None:
    """Ten of them, three minutes, then the error; claude's own text about it is no answer."""
    events, failed = error(
        errors.RateLimited, ClaudeParser(), recorded("stream-json.429.defaultretries.jsonl")
    )
    notices = [e for e in events if isinstance(e, Notice)]
    assert len(notices) == 10 and round(sum(n.seconds or 0 for n in notices)) == 179
    assert notices[4] == Notice(
        "retry", "claude waits 10 s after a rate limit (retry 5 of 10)", 9.921, errors.RateLimited
    )
    assert not [e for e in events if isinstance(e, Text)]
    assert failed.session_id == "7082a09c-4ac4-442e-a2b7-1a2795b16882"


def test_a_refused_login_has_no_text() -> None:
    """Claude prints its error as if the assistant had said it; that is not the answer."""
    events, _ = error(errors.AuthFailed, ClaudeParser(), recorded("stream-json.401.jsonl"))
    assert events == [session("805663ef-0a97-4400-a42b-e6b7cd2574d1"), NOTHING]


def test_a_turn_limit_keeps_what_was_said() -> None:
    """The text and the action before the limit are events, and there is no reply."""
    parser = ClaudeParser()
    events, _ = error(errors.LimitReached, parser, recorded("stream-json.maxturns.jsonl"))
    assert [type(e) for e in events] == [Session, Text, ToolCall, ToolResult, Usage]
    assert parser.reply().text == "calling a tool"


def test_ctrl_c_keeps_what_was_said() -> None:
    """On SIGINT claude still tells how it ended, with exit code 0."""
    parser = ClaudeParser()
    data = recorded("stream-json.sigint.jsonl")
    events, failed = error(errors.CliError, parser, data, Exit(0))
    assert events[1] == Text("word1 word2 word3 word4 word5 word6 ")
    assert failed.message == "Claude Code was interrupted."


def test_sigterm_is_an_end_without_a_result() -> None:
    """Killed before it could say anything: that is what the error says, with the session."""
    data = recorded("stream-json.sigterm.jsonl")
    _, failed = error(errors.ProtocolError, ClaudeParser(), data, Exit(143))
    assert str(failed) == (
        "Claude Code ended with exit code 143 before it said that it was done. "
        "(session 02598f66-3867-408a-88c5-836cab882b41)"
    )
    _, failed = error(errors.ProtocolError, ClaudeParser(), data, Exit(None, signal=15))
    assert "by signal 15" in str(failed)


def test_what_a_stopped_run_has_used() -> None:
    """T-49: of each message the largest counts, however often it was told; no cost is guessed."""
    parser = ClaudeParser()
    parser.feed(recorded("stream-json.sigterm.jsonl"))
    usage = parser.reply().usage
    assert (usage.input, usage.cache_read, usage.cache_write) == (1250, 1000, 50)
    assert (usage.output, usage.cost_usd) == (1, None)
    for output in (7, 3):
        told = {"input_tokens": 2, "output_tokens": output}
        message = {"id": "msg_2", "content": [], "usage": told}
        line = {"type": "assistant", "message": message, "parent_tool_use_id": "toolu_1"}
        parser.feed(json.dumps(line).encode() + b"\n")
    again = parser.reply().usage
    assert (again.input, again.output) == (1252, 8)


@pytest.mark.parametrize("name", ["stream-json.ok.jsonl", "stream-json.hooks.jsonl"])
def test_exit_0_without_a_result_is_no_answer(name: str) -> None:
    """However much was said before."""
    data = recorded(name)
    without = data[: data.rstrip(b"\n").rindex(b"\n") + 1]
    error(errors.ProtocolError, ClaudeParser(), without, Exit(0))


@pytest.mark.parametrize("name", ["stream-json.ok.jsonl", "stream-json.hooks.jsonl"])
def test_a_truncated_last_line_is_no_answer(name: str) -> None:
    """A result that breaks off half-way never counts, wherever it breaks off."""
    data = recorded(name).rstrip(b"\n")
    start = data.rindex(b"\n") + 1
    for end in range(start, len(data), 97):
        error(errors.ProtocolError, ClaudeParser(), data[:end], Exit(0))


def test_a_result_without_a_newline_counts() -> None:
    """The last line may end with the output."""
    assert answer(ClaudeParser(), recorded("stream-json.ok.jsonl").rstrip(b"\n"))


# However the bytes are cut.


@pytest.mark.parametrize("name", RECORDINGS)
@given(places=cuts)
def test_any_chunking_gives_the_same_events(name: str, places: list[int]) -> None:
    """Pipes cut where they like: inside a line, a character, an escape."""
    assert_same_however_cut(ClaudeParser, recorded(name), places)


@pytest.mark.parametrize("name", RECORDINGS)
def test_single_bytes_give_the_same_events(name: str) -> None:
    """The finest cut of all."""
    data = recorded(name)
    assert_same_however_cut(ClaudeParser, data, range(len(data)))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.data(), st.lists(TEXTS, min_size=1, max_size=8))
def test_any_text_arrives_whole(data: st.DataObject, texts: list[str]) -> None:
    """Emoji, NUL, U+2028, quotes, line feeds: what was streamed is what is said."""
    stream = lines(init(), begin("m1"), *map(delta, texts), done("".join(texts)))
    events, _ = replay(ClaudeParser(), data.draw(chunkings(stream)))
    assert "".join(e.text for e in events if isinstance(e, Text)) == "".join(texts)


# By hand: what no recording has.

ID = "11111111-2222-4333-8444-555555555555"


def event(**data: Any) -> dict[str, Any]:
    return {**data, "session_id": ID}


def init() -> dict[str, Any]:
    return event(type="system", subtype="init", model=MODEL, claude_code_version=VERSION)


def streamed(parent: str | None = None, **data: Any) -> dict[str, Any]:
    return event(type="stream_event", event=data, parent_tool_use_id=parent)


def begin(id: str) -> dict[str, Any]:
    return streamed(type="message_start", message={"id": id})


def delta(text: str, parent: str | None = None) -> dict[str, Any]:
    return streamed(
        parent, type="content_block_delta", index=0, delta={"type": "text_delta", "text": text}
    )


def stop(**data: Any) -> dict[str, Any]:
    return {**streamed(type="message_stop"), **data}


def whole(id: str, *content: dict[str, Any], parent: str | None = None) -> dict[str, Any]:
    message = {"id": id, "model": MODEL, "content": list(content)}
    return event(type="assistant", message=message, uuid=f"u-{id}", parent_tool_use_id=parent)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(id: str, name: str = "Read") -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": {"file_path": "a.txt"}}


def tool_result(id: str, content: object, **data: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": id, "content": content, **data}
    return event(type="user", message={"role": "user", "content": [block]})


def done(result: str | None, **data: Any) -> dict[str, Any]:
    told = {"type": "result", "subtype": "success", "is_error": False, "stop_reason": "end_turn"}
    return event(**{**told, "result": result, **data})


def said(*data: object) -> list[Event]:
    """The text that a stream of these lines gives."""
    events, _ = replay(ClaudeParser(), lines(init(), *data))
    return [e for e in joined(events) if isinstance(e, Text)]


ABANDONED = {"abandoned_blocks": {"from_block_index": 0}}


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_text_that_is_streamed_again_appears_once(told: bool) -> None:
    """After a retry claude starts the message anew; what is out already is held back."""
    first = [begin("m1"), delta("The answer"), delta(" is"), *([stop(**ABANDONED)] if told else [])]
    again = [begin("m2"), delta("The "), delta("answer is 42"), delta("."), stop()]
    parser = ClaudeParser()
    _, reply = answer(parser, lines(init(), *first, *again, done("The answer is 42.")))
    assert said(*first, *again, done("The answer is 42.")) == [Text("The answer is 42.")]
    assert reply.messages == ["The answer is 42."]


def test_text_that_is_streamed_again_differently_is_another_message() -> None:
    """What was shown cannot be taken back, so the new text begins after a blank line."""
    first = [begin("m1"), delta("I think"), stop(**ABANDONED)]
    again = [begin("m2"), delta("I "), delta("know it: 42"), stop()]
    assert said(*first, *again, done("I know it: 42")) == [
        Text("I think"),
        Text("I know it: 42", 1),
    ]


def test_two_retries_in_a_row_show_each_text_once() -> None:
    """Also when the second attempt got less far than the first."""
    turns = [
        *(begin("m1"), delta("one two three"), stop(**ABANDONED)),
        *(begin("m2"), delta("one "), stop(**ABANDONED)),
        *(begin("m3"), delta("one two three four"), stop()),
    ]
    assert said(*turns, done("one two three four")) == [Text("one two three four")]


def test_a_message_that_was_streamed_is_not_said_again_as_a_whole() -> None:
    """Claude tells every streamed message once more as an assistant event."""
    turn = [begin("m1"), delta("hel"), delta("lo"), whole("m1", text("hello")), stop()]
    assert said(*turn, done("hello")) == [Text("hello")]


def test_the_talk_of_a_subagent_is_not_the_answer() -> None:
    """Its actions count, its text does not."""
    turn = [
        whole("m1", use("t1", "Task")),
        delta("inner", parent="t1"),
        whole("m9", text("inner words"), use("t2"), parent="t1"),
        tool_result("t2", "inside"),
        tool_result("t1", [{"type": "text", "text": "done"}]),
        whole("m2", text("outer words")),
    ]
    events, reply = answer(ClaudeParser(), lines(init(), *turn, done("outer words")))
    assert [e for e in events if not isinstance(e, (Session, Usage))] == [
        ToolCall("t1", "Task", {"file_path": "a.txt"}),
        ToolCall("t2", "Read", {"file_path": "a.txt"}),
        ToolResult("t2", "Read", "inside"),
        ToolResult("t1", "Task", "done"),
        Text("outer words"),
    ]
    assert reply.messages == ["outer words"] and reply.tools_run == ["Read", "Task"]


def test_a_tool_that_was_not_offered_counts_as_refused() -> None:
    """Claude answers such a call by itself; the access level is why."""
    turn = [
        whole("m1", use("t1", "Bash")),
        tool_result("t1", "Error: No such tool available: Bash", is_error=True),
        whole("m2", text("I may not.")),
    ]
    events, reply = answer(ClaudeParser(), lines(init(), *turn, done("I may not.")))
    assert ToolResult("t1", "Bash", "Error: No such tool available: Bash", True, True) in events
    assert (reply.refused_actions, reply.tools_run) == (1, [])


def test_refusals_that_only_the_result_tells_are_counted() -> None:
    """``permission_denials`` is the sum; actions are not counted twice."""
    denials = [{"tool_name": "Bash"}, {"tool_name": "Write"}]
    _, reply = answer(ClaudeParser(), lines(init(), done("ok", permission_denials=denials)))
    assert reply.refused_actions == 2


def test_an_action_is_open_until_its_result_came() -> None:
    """The idle time-out is another one meanwhile."""
    parser = ClaudeParser()
    parser.feed(lines(init(), whole("m1", use("t1"))))
    assert parser.tools_open == {"t1": "Read"}
    parser.feed(lines(tool_result("t1", "text")))
    assert parser.tools_open == {} and not parser.ended
    parser.feed(lines(done("ok")))
    assert parser.ended


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"stop_reason": "refusal"}, errors.Refused),
        ({"stop_reason": "max_tokens"}, errors.LimitReached),
        ({"result": ""}, errors.EmptyReply),
        ({"result": "  \n"}, errors.EmptyReply),
        ({"result": None}, errors.EmptyReply),
        ({"is_error": True, "result": "odd"}, errors.CliError),
        ({"is_error": True, "result": "x", "api_error_status": 503}, errors.Overloaded),
        ({"is_error": True, "result": "x", "api_error_status": 413}, errors.RejectedInput),
        ({"is_error": True, "result": "x", "api_error_status": 418}, errors.CliError),
        (
            {"is_error": True, "result": "You've hit your limit · resets 4pm"},
            errors.RateLimited,
        ),
        ({"is_error": True, "result": "Prompt is too long"}, errors.RejectedInput),
    ],
)
def test_a_result_that_is_no_answer(data: dict[str, Any], kind: type[GatewayError]) -> None:
    """Exit code 0 and ``subtype: success`` make none."""
    ended = done(**{"result": "text", **data})
    _, failed = error(kind, ClaudeParser(), lines(init(), ended), Exit(0))
    assert failed.session_id == ID


def test_a_limit_that_is_only_announced_is_not_an_error() -> None:
    """``rate_limit_event`` with ``allowed_warning`` comes with good answers too."""
    warning = event(type="rate_limit_event", rate_limit_info={"status": "allowed_warning"})
    assert said(warning, begin("m1"), delta("fine"), done("fine")) == [Text("fine")]


NOISE: list[tuple[str, object]] = [
    ("banner", "Welcome to the CLI!"),
    ("sandbox", "[SandboxDebug] something"),
    ("colour", "\x1b[31mred\x1b[0m"),
    ("nul", b"\x00\x00\x00"),
    ("half JSON", '{"type": "assis'),
    ("bad UTF-8", b"\xff\xfe\xfa"),
    ("a number", "42"),
    ("a list", "[1, 2]"),
    ("a string", '"text"'),
]


@pytest.mark.parametrize("junk", [n[1] for n in NOISE], ids=[n[0] for n in NOISE])
def test_what_is_no_event_is_noise(junk: object) -> None:
    """It is kept for the recorder, disturbs nothing and is no part of the answer."""
    parser = ClaudeParser()
    stream = lines(junk, init(), begin("m1"), delta("a"), junk, delta("b"), junk, done("ab"), junk)
    events, reply = answer(parser, stream)
    assert [e for e in events if isinstance(e, Notice) and e.kind != "noise"] == []
    assert len([e for e in events if isinstance(e, Notice)]) == 4
    assert "".join(e.text for e in events if isinstance(e, Text)) == "ab" == reply.text
    assert len(parser.noise) == 4


@pytest.mark.parametrize("junk", ["", "   ", "\r", "null"])
def test_empty_lines_are_nothing(junk: str) -> None:
    """Not even noise."""
    events, _ = answer(ClaudeParser(), lines(init(), junk, delta("a"), junk, done("a")))
    assert [type(e) for e in events] == [Session, Text, Usage]


@pytest.mark.parametrize("ending", [b"\r\n", b"  \n"])
def test_lines_may_end_with_white_space(ending: bytes) -> None:
    """Carriage returns belong to no event."""
    stream = lines(init(), delta("a"), done("a")).replace(b"\n", ending)
    assert [type(e) for e in answer(ClaudeParser(), stream)[0]] == [Session, Text, Usage]


def test_a_byte_order_mark_is_skipped() -> None:
    """At the start of the first line."""
    stream = b"\xef\xbb\xbf" + lines(init(), delta("a"), done("a"))
    assert [type(e) for e in answer(ClaudeParser(), stream)[0]] == [Session, Text, Usage]


@pytest.mark.parametrize(
    "words", ["a\u2028b\u2029c\x85d\x0be", "\x00", "\ufeffx", "\x1b[31mred", "😀 e\u0301 \u202e"]
)
def test_odd_characters_stay_in_the_text(words: str) -> None:
    """Only a line feed ends a line."""
    for ascii_only in (True, False):
        data = [json.dumps(o, ensure_ascii=ascii_only) for o in (init(), delta(words), done(words))]
        _, reply = answer(ClaudeParser(), lines(*data))
        assert reply.text == words and reply.messages == [words]


def test_invalid_utf8_inside_a_text_costs_that_character() -> None:
    """The line is read all the same."""
    stream = lines(init(), delta("aXb"), done("aXb")).replace(b"X", b"\xff")
    assert answer(ClaudeParser(), stream)[1].text == "a\ufffdb"


def test_half_a_surrogate_pair_breaks_nothing() -> None:
    """JSON can carry one; what becomes of it is decided where text is handed out."""
    stream = lines(init(), delta("x"), done("x")).replace(b'"x"', b'"a\\ud83d"')
    assert answer(ClaudeParser(), stream)[1].text == "a\ud83d"


def test_a_line_beyond_the_cap_is_an_error() -> None:
    """Memory is bounded; the error names the cap."""
    parser = ClaudeParser()
    chunk = b"x" * (1024 * 1024)
    _, failed = error(errors.OutputLimit, parser, [chunk] * 65)
    assert str(failed) == "Claude Code printed a line of more than 64 MiB."


def test_a_long_line_below_the_cap_is_read() -> None:
    """Twenty megabytes of one text."""
    words = "word " * 4_000_000
    assert said(delta(words), done("x"))[0] == Text(words)


MALFORMED = [
    {"type": "stream_event"},
    {"type": "stream_event", "event": None},
    {"type": "stream_event", "event": {"type": "content_block_delta"}},
    {"type": "stream_event", "event": {"type": "message_start"}},
    {"type": "assistant"},
    {"type": "assistant", "message": {"content": [None]}},
    {"type": "assistant", "message": {"id": "m", "content": [{"type": "tool_use"}]}},
    {"type": "user"},
    {"type": "user", "message": None},
    {"type": "system", "subtype": "init"},
    "[" * 100_000,
]


@pytest.mark.parametrize("data", MALFORMED, ids=lambda d: str(d)[:60])
def test_an_event_of_another_shape_is_noise(data: object) -> None:
    """A new version of the CLI may print what this one does not know; the answer still counts."""
    _, reply = answer(ClaudeParser(), lines(init(), data, delta("a"), done("a")))
    assert reply.text == "a"


@pytest.mark.parametrize(
    "ended",
    [
        done("x", is_error=True, api_error_status="overloaded"),
        done("x", usage="none"),
        done("x", usage={"input_tokens": "many"}),
        done("x", total_cost_usd="0.1"),
    ],
    ids=["status", "usage", "count", "cost"],
)
def test_a_result_of_another_shape_is_not_a_traceback(ended: dict[str, Any]) -> None:
    """Whatever it says, it ends as a reply or as a typed error."""
    parser = ClaudeParser()
    parser.cost_before = 0.0
    replay(parser, lines(init(), delta("x"), ended))
