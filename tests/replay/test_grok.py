"""What grok 1.0.41 printed, through its parser: exact events, replies and errors; its flags."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    Exit,
    answer,
    assert_same_however_cut,
    cut_at,
    cuts,
    error,
    joined,
    lines,
    load,
    load_stderr,
)

from llm_gateway import errors
from llm_gateway.errors import GatewayError, InvalidInput, PermissionDenied, SessionLost
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
from llm_gateway.providers import grok_rules
from llm_gateway.providers.base import Launch
from llm_gateway.providers.grok import Grok
from llm_gateway.providers.grok_output import GrokParser
from llm_gateway.request import (
    Access,
    Attachment,
    Invocation,
    Options,
    Request,
    SessionPlan,
    Turn,
    system_digest,
)

MODEL = "grok-4.6"
ONE_CALL = Usage(1200, 34, cache_read=1000, cache_write=0)
READ_OFFERED = ["read_file", "list_dir", "grep", "search_tool", "use_tool"]
RECORDINGS = ("think.jsonl", "refused.jsonl", "schema-tool.jsonl", "maxtok.jsonl", "drop.jsonl")


def recorded(name: str) -> bytes:
    return load("grok", f"{name}.jsonl")


def session(number: int) -> Session:
    return Session(f"aaaaaaaa-1111-4222-8333-{number:012d}", MODEL)


def usage(calls: int) -> Usage:
    return Usage(1200 * calls, 34 * calls, cache_read=1000 * calls, cache_write=0)


# What went well.


def test_an_answer() -> None:
    """Deltas are passed on as they come; the whole message that follows adds nothing."""
    text = "You said: hello there (turn 1 of this conversation)"
    events, reply = answer(GrokParser(), recorded("ok"))
    assert events == [session(1), Text(text), ONE_CALL]
    assert reply == Reply(
        text,
        [text],
        session(1).session_id,
        MODEL,
        "end_turn",
        None,
        ONE_CALL,
        facts={"tools_offered": READ_OFFERED, "num_turns": 1},
    )


@pytest.mark.parametrize(
    ("name", "id"),
    [("resumed", session(1).session_id), ("forked", "aaaaaaaa-1111-4222-8333-00000000f0f0")],
)
def test_a_session_that_goes_on(name: str, id: str) -> None:
    """Its usage is this turn's; a fork has the id that was chosen for it."""
    events, reply = answer(GrokParser(), recorded(name))
    assert events[0] == Session(id, MODEL) and events[-1] == ONE_CALL
    assert "first was: hello there" in reply.text


@pytest.mark.parametrize(
    ("name", "thought"),
    [("think", "Let me think about this."), ("whole", "")],
)
def test_thinking(name: str, thought: str) -> None:
    """It is streamed; without partial messages it is not told."""
    events, reply = answer(GrokParser(), recorded(name))
    expected: list[Event] = [Reasoning(thought)] if thought else []
    assert events[1:] == [*expected, Text(reply.text), ONE_CALL]
    assert reply.text.endswith(("hello there", "conversation)"))


def test_actions_between_messages() -> None:
    """An action's output is what it says to a person, not grok's inner structure."""
    events, reply = answer(GrokParser(), recorded("tools"))
    assert events[1] == Text("I look first.", 0)
    calls = [e for e in events if isinstance(e, ToolCall)]
    assert [(c.name, c.arguments) for c in calls] == [
        ("read_file", {"target_file": "README.md"}),
        ("grep", {"pattern": "def"}),
        ("list_dir", {"target_directory": "."}),
    ]
    results = [e for e in events if isinstance(e, ToolResult)]
    assert results[0].output == "1→# A small project\n\nIt adds numbers.\n"
    assert "1:def add(a: int, b: int) -> int:" in results[1].output
    assert results[2].output.startswith("- /home/user/project/\n  - add.py")
    assert events[-2:] == [Text("Tools run: 3; errors: 0.", 1), usage(4)]
    assert reply.messages == ["I look first.", "Tools run: 3; errors: 0."]
    assert reply.tools_run == ["read_file", "grep", "list_dir"]
    assert reply.refused_actions == 0


def test_refused_actions() -> None:
    """What is not offered and what a rule denies is refused, and the turn goes on."""
    events, reply = answer(GrokParser(), recorded("refused"))
    results = [e for e in events if isinstance(e, ToolResult)]
    assert [(r.name, r.refused, r.is_error) for r in results] == [
        ("write", True, True),
        ("run_terminal_command", True, True),
        ("read_file", True, True),
    ]
    assert "deny rule on read matching" in results[2].output
    assert (reply.refused_actions, reply.tools_run) == (3, [])
    assert reply.text.startswith("Tools run: 3; errors: 3")


def test_what_edit_allows() -> None:
    """Writing in the workspace ran; writing outside it was refused, and the turn went on."""
    events, reply = answer(GrokParser(), recorded("written"))
    results = [e for e in events if isinstance(e, ToolResult)]
    assert [r.output for r in results[:3:2]] == [
        "The file /home/user/project/made.txt has been created.",
        "The file add.py has been updated successfully.",
    ]
    assert [r.refused for r in results] == [False, False, False, True]
    assert reply.tools_run == ["write", "read_file", "search_replace"]


def test_a_command_that_fails_is_no_refusal() -> None:
    events, reply = answer(GrokParser(), recorded("shell"))
    result = next(e for e in events if isinstance(e, ToolResult))
    assert result.output == "exit: 3\nhi\n" and not result.refused
    assert reply.tools_run == ["run_terminal_command"]


def test_a_tool_may_print_brackets_without_end() -> None:
    """What looks like JSON and is too deep for it is text."""
    use = {"type": "tool_use", "id": "t", "name": "bash", "input": {}}
    printed = {"type": "tool_result", "tool_use_id": "t", "content": "[" * 100_000}
    parser = GrokParser()
    parser.feed(lines({"type": "assistant", "message": {"id": "m", "content": [use]}}))
    [result] = parser.feed(lines({"type": "user", "message": {"content": [printed]}}))
    assert isinstance(result, ToolResult) and result.output == "[" * 100_000


@pytest.mark.parametrize(("name", "text"), [("schema", '{"n": 3}'), ("schema-tool", '{"n": 7}')])
def test_a_schema(name: str, text: str) -> None:
    """Its answer is said once, whole, and nothing that came before it."""
    events, reply = answer(GrokParser(structured=True), recorded(name))
    assert [e for e in events if isinstance(e, Text)] == [Text(text, 0)]
    assert (reply.text, reply.messages) == (text, [text])


def test_a_cost_counts_only_where_one_is_stated() -> None:
    (line,) = [json.loads(x) for x in recorded("ok").splitlines() if b'"result"' in x[:20]]
    data = recorded("ok").replace(as_bytes(line), as_bytes({**line, "total_cost_usd": 0.0127}))
    _, reply = answer(GrokParser(), data)
    assert (reply.usage.cost_usd, reply.usage.cost_basis) == (0.0127, "reported")


def as_bytes(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_model_is_the_one_that_answered() -> None:
    """With a sub-agent's model beside it, the one whose window is told."""
    rows = {"grok-9-mini": {"inputTokens": 1}, "grok-9": {"inputTokens": 1, "contextWindow": 9}}
    result = {"type": "result", "subtype": "success", "is_error": False, "result": "hi"}
    tokens = {"input_tokens": 1, "output_tokens": 1}
    init = {"type": "system", "subtype": "init", "session_id": "s", "model": "menu"}
    data = lines(init, {**result, "usage": tokens, "modelUsage": rows})
    assert answer(GrokParser(), data)[1].model == "grok-9"


def test_tools_that_were_not_asked_for_are_told() -> None:
    """It ignores a name that it does not know, and then offers everything."""
    parser = GrokParser(expected_tools=frozenset({"read_file", "grep"}))
    events, _ = answer(parser, recorded("ok"))
    assert events[1] == Notice("warning", "grok offers more tools than it was told: list_dir")


def test_notices_come_after_the_session() -> None:
    events, _ = answer(GrokParser(notices=["look out"]), recorded("ok"))
    assert events[:2] == [session(1), Notice("warning", "look out")]


# Trying again.


def in_order(parser: GrokParser, name: str, after: bytes) -> tuple[list[Event], Exit]:
    """Feed a recording, and its stderr at the place at which it was said."""
    data, said = recorded(name), load_stderr("grok", f"{name}.jsonl")
    at = data.index(after) + len(after)
    at = data.index(b"\n", at) + 1
    events = parser.feed(data[:at]) + parser.feed_stderr(said) + parser.feed(data[at:])
    return joined([*events, *parser.close()]), Exit(0, stderr=said)


def test_text_that_is_streamed_again_is_said_once() -> None:
    """Grok itself appends the second try to what was left of the first, in its result too."""
    whole = b"word1 word2 word1 word2 word3 word4 word5 word6"
    assert whole in recorded("drop-once")
    parser = GrokParser()
    events, exit = in_order(parser, "drop-once", b'"text":"word2 "')
    text = " ".join(f"word{n}" for n in range(1, 7))
    assert "".join(e.text for e in events if isinstance(e, Text)) == text
    notice = "grok tries again after a broken answer and 2 s"
    assert [e for e in events if isinstance(e, Notice)] == [
        Notice("retry", notice, seconds=2.0, error=errors.NetworkFailed)
    ]
    assert parser.finish(exit).text == text


def test_another_answer_the_second_time_is_another_message() -> None:
    parser = GrokParser()
    data = recorded("drop-once").replace(b'"text":"word1 "', b'"text":"other "')
    at = data.rindex(b'"text":"other "')
    data = data[:at].replace(b'"text":"other "', b'"text":"word1 "') + data[at:]
    cut = data.rindex(b"\n", 0, at) + 1
    said = load_stderr("grok", "drop-once.jsonl")
    events = [*parser.feed(data[:cut]), *parser.feed_stderr(said), *parser.feed(data[cut:])]
    texts = [e for e in joined(events) if isinstance(e, Text)]
    assert texts == [
        Text("word1 word2 ", 0),
        Text("other word2 word3 word4 word5 word6", 1),
    ]


def test_a_wait_is_told_and_counted() -> None:
    """What it waited for the second try is the time between two lines of its log."""
    parser = GrokParser()
    first, second = load_stderr("grok", "503-once.jsonl").splitlines(keepends=True)
    waits = Notice("warning", "grok got HTTP 503 and waits before it tries again")
    assert parser.feed_stderr(first) == [waits]
    assert parser.waiting is errors.Overloaded
    again = "grok tries again after HTTP 503 and 2 s"
    notice = Notice("retry", again, seconds=2.0, error=errors.Overloaded)
    assert parser.feed_stderr(second) == [notice]
    assert parser.waiting is None
    assert answer(parser, recorded("503-once"))[1].text.startswith("You said:")


def test_a_second_try_for_nothing_is_told_and_not_counted() -> None:
    """Whether the answer was empty or the connection failed is known at the end only."""
    told = GrokParser().feed_stderr(load_stderr("grok", "empty.jsonl"))
    assert told == [Notice("warning", "grok tries again after an empty or failed request")]


def test_a_wait_ends_with_the_next_event() -> None:
    parser = GrokParser()
    first = load_stderr("grok", "429.jsonl").splitlines(keepends=True)[0]
    assert len(parser.feed_stderr(first)) == 1
    assert parser.waiting is errors.RateLimited
    parser.feed(recorded("ok").splitlines(keepends=True)[0])
    assert parser.waiting is None


@given(cuts)
def test_any_chunking_of_the_log_gives_the_same_notices(places: list[int]) -> None:
    said = load_stderr("grok", "503.jsonl")
    whole, cut = GrokParser(), GrokParser()
    pieces = [p.decode() for p in cut_at(said.encode(), places)]
    notices = [event for piece in pieces for event in cut.feed_stderr(piece)]
    assert notices == whole.feed_stderr(said)
    assert [n.kind for n in notices if isinstance(n, Notice)] == ["warning", "retry"]


# What went wrong.

LOG_IN = "log in with: grok login, or set XAI_API_KEY."
FAILURES: list[tuple[str, type[GatewayError], str]] = [
    (
        "400",
        errors.RejectedInput,
        "API error (status 400 Bad Request): invalid-value: The mock rejects this request.",
    ),
    (
        "401",
        errors.AuthFailed,
        "Unauthorized (401) from http://127.0.0.1:8199/v1/responses: invalid-api-key: "
        f"Incorrect API key provided; {LOG_IN}",
    ),
    (
        "403",
        errors.AuthFailed,
        "API error (status 403 Forbidden): forbidden: "
        f"You are not allowed to use this model; {LOG_IN}",
    ),
    (
        "404",
        errors.ModelNotFound,
        "API error (status 404 Not Found): model-not-found: The requested model does not exist; "
        "choose another with -o model NAME, as listed by: grok models.",
    ),
    (
        "429",
        errors.RateLimited,
        "rate-limit-exceeded: Rate limit reached for requests; try again later.",
    ),
    (
        "500",
        errors.Overloaded,
        "API error (status 500 Internal Server Error): server-error: "
        "The server had an error while processing; try again later.",
    ),
    (
        "503",
        errors.Overloaded,
        "API error (status 503 Service Unavailable): server-is-overloaded: "
        "The engine is currently overloaded; try again later.",
    ),
    (
        "drop",
        errors.NetworkFailed,
        "The connection failed: reqwest error stream: Transport error: "
        "error decoding response body.",
    ),
    (
        "unreachable",
        errors.NetworkFailed,
        "The connection failed: reqwest error stream: "
        "error sending request for url (http://127.0.0.1:9/v1/responses).",
    ),
    (
        "empty",
        errors.EmptyReply,
        "Grok got no answer from the model: empty response from model (no_visible_content).",
    ),
    (
        "refuse",
        errors.EmptyReply,
        "Grok got no answer from the model: empty response from model (no_visible_content).",
    ),
    (
        "maxtok",
        errors.LimitReached,
        "The answer hit the model's output limit and is cut off.",
    ),
    (
        "maxturns",
        errors.LimitReached,
        "Reached the maximum number of turns; allow more with -o max_turns N.",
    ),
    ("nokey", errors.AuthFailed, f"Grok is not logged in; {LOG_IN}"),
    ("badkey", errors.AuthFailed, f"Grok is not logged in; {LOG_IN}"),
    (
        "nomodel",
        errors.ModelNotFound,
        "Grok does not know the model nosuch; it lists its own with: grok models",
    ),
    ("effort-bad", errors.RejectedInput, "effort max is not one of this model's: low, high."),
    (
        "needed-tool",
        errors.RejectedInput,
        "Grok cannot leave out a tool that another one needs (search_replace).",
    ),
    (
        "badflag",
        errors.CliError,
        "This grok does not know the flag --no-such-flag; upgrade it with: grok update",
    ),
    (
        "badrule",
        errors.RejectedInput,
        "Grok refused a rule: malformed rule: missing closing parenthesis.",
    ),
    ("continue-none", errors.SessionLost, "Grok has no session of this directory."),
    ("sessionid-again", errors.SessionLost, "Grok already has a session of that id."),
]


@pytest.mark.parametrize(("name", "kind", "message"), FAILURES, ids=[f[0] for f in FAILURES])
def test_a_failure(name: str, kind: type[GatewayError], message: str) -> None:
    exit = Exit(1, stderr=load_stderr("grok", f"{name}.jsonl"))
    _, failed = error(kind, GrokParser(), recorded(name), exit)
    assert failed.message == message


def test_a_failure_names_the_session_it_was_in() -> None:
    _, failed = error(errors.RejectedInput, GrokParser(), recorded("400"), Exit(1))
    assert str(failed).endswith("(session aaaaaaaa-1111-4222-8333-000000000014)")


@pytest.mark.parametrize("name", ["nokey", "needed-tool"])
def test_no_session_is_told_where_none_was_made(name: str) -> None:
    """Its id would be an empty one, which is not the one that was asked for."""
    events, _ = replayed(name)
    assert not [e for e in events if isinstance(e, Session)]


def replayed(name: str) -> tuple[list[Event], GatewayError]:
    parser = GrokParser()
    events = parser.feed(recorded(name)) + parser.close()
    with pytest.raises(GatewayError) as caught:
        parser.finish(Exit(1))
    return events, caught.value


@pytest.mark.parametrize("name", ["cancelled", "whole-cancelled"])
def test_a_turn_that_a_refusal_ended(name: str) -> None:
    """Exit code 0 and no text: no answer, and no empty one either."""
    events, failed = error(errors.ActionDenied, GrokParser(), recorded(name), Exit(0))
    (result,) = [e for e in events if isinstance(e, ToolResult)]
    assert result.refused and result.output.startswith("User cancelled the execution")
    assert "-o access" in failed.message


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("schema-bad", 'output does not match the required schema: "x" is not of type "integer"'),
        ("schema-notjson", "model output was not valid JSON: expected ident at line 1 column 2"),
    ],
)
def test_an_answer_that_does_not_fit(name: str, why: str) -> None:
    """Exit code 0 here, too."""
    parser = GrokParser(structured=True)
    events, failed = error(errors.ProtocolError, parser, recorded(name), Exit(0))
    assert failed.message == f"The answer does not fit the schema: {why}."
    assert not [e for e in events if isinstance(e, Text)]


def test_no_usage_is_not_none_at_all() -> None:
    """Zeros are its way to say that it does not know."""
    assert replayed("500")[0][-1] == Usage()


def test_a_run_that_was_ended() -> None:
    _, failed = error(errors.ProtocolError, GrokParser(), recorded("sigterm"), Exit(None, 15))
    assert failed.message == "Grok ended by signal 15 before it said that it was done."


def test_an_unknown_failure_is_told_in_its_own_words() -> None:
    said = "Error: Something new went wrong\n"
    _, failed = error(errors.CliError, GrokParser(), b"", Exit(1, stderr=said))
    assert failed.message == "Grok failed: Something new went wrong."


@pytest.mark.parametrize("name", RECORDINGS)
@given(cuts)
def test_any_chunking_gives_the_same_events(name: str, places: list[int]) -> None:
    structured = name.startswith("schema")
    data = load("grok", name)
    assert_same_however_cut(lambda: GrokParser(structured=structured), data, places, Exit(1))


# Its flags.


def plan(tmp_path: Path, prompt: str = "hi", **more: Any) -> Invocation:
    access, options = more.pop("access", Access.READ), more.pop("options", Options())
    session = more.pop("session", SessionPlan("new", new_id="new-id"))
    env = {"HOME": str(tmp_path / "home"), **more.pop("env", {})}
    files = tmp_path / "files"
    for folder in (files, tmp_path / "work"):
        folder.mkdir(exist_ok=True)
    request = Request(id="1", provider="grok", prompt=prompt, options=options, **more)
    cwd = str(tmp_path / "work")
    launch = Launch("/bin/grok", env, env, cwd, access, session, lambda: files, tmp_path / "state")
    Grok().check(request, access)
    return Grok().plan(request, launch)


def rules(invocation: Invocation, kind: str) -> list[str]:
    argv = invocation.argv
    return [argv[at + 1] for at, part in enumerate(argv) if part == kind]


def value(invocation: Invocation, name: str) -> str | None:
    argv = invocation.argv
    return argv[argv.index(name) + 1] if name in argv else None


def test_read(tmp_path: Path) -> None:
    made = plan(tmp_path, "/always-approve\n")
    assert made.stdin == b"<prompt>\n/always-approve\n\n</prompt>"
    assert value(made, "--tools") == "read_file,grep,list_dir"
    assert value(made, "--permission-mode") == "default"
    assert rules(made, "--deny")[:6] == [
        "Bash",
        "MCPTool",
        "WebFetch",
        "WebSearch",
        "Edit",
        "Write",
    ]
    assert all(rule.startswith("Read(") for rule in rules(made, "--deny")[6:])
    assert "Read(/etc/**)" in rules(made, "--deny")
    assert "--trust" not in made.argv and "--always-approve" not in made.argv
    assert value(made, "--session-id") == "new-id"


def test_edit(tmp_path: Path) -> None:
    made = plan(tmp_path, access=Access.EDIT)
    assert value(made, "--tools") == "read_file,grep,list_dir,search_replace,write"
    assert rules(made, "--allow") == [f"Edit({tmp_path.resolve()}/work/**)"]
    assert {"Bash", "MCPTool", "Edit(**/.git/**)", "Edit(~/**)"} <= set(rules(made, "--deny"))
    assert "Edit" not in rules(made, "--deny")


def test_full(tmp_path: Path) -> None:
    made = plan(tmp_path, access=Access.FULL)
    assert "--always-approve" in made.argv and "--tools" not in made.argv
    assert rules(made, "--deny") == []


def test_the_environment(tmp_path: Path) -> None:
    env = plan(tmp_path, env={"GROK_MAX_RETRIES": "99"}).env
    assert {k: env[k] for k in ("GROK_MAX_RETRIES", "GROK_TURN_TRANSIENT_RETRY")} == {
        "GROK_MAX_RETRIES": "2",
        "GROK_TURN_TRANSIENT_RETRY": "0",
    }
    assert (env["GROK_TURN_SUMMARY"], env["GROK_FOLDER_TRUST"]) == ("0", "1")
    trusted = plan(tmp_path, options=Options(trust_workspace=True))
    assert trusted.env["GROK_FOLDER_TRUST"] == "0"
    passes = Grok.variables.pass_
    assert passes("XAI_API_KEY", {}) and passes("GROK_HOME", {})
    assert not any(passes(n, {}) for n in ("GROK_FOLDER_TRUST", "GROK_AGENT", "OPENAI_API_KEY"))


@pytest.mark.parametrize(
    ("options", "access", "flag", "expected"),
    [
        (Options(allowed_tools=("grep",)), Access.READ, "--tools", "grep"),
        (Options(disallowed_tools=("grep",)), Access.READ, "--tools", "read_file,list_dir"),
        (
            Options(allowed_tools=("run_terminal_command", "spawn_subagent")),
            Access.FULL,
            "--tools",
            "run_terminal_cmd,task",
        ),
        (
            Options(disallowed_tools=("run_terminal_command",)),
            Access.FULL,
            "--disallowed-tools",
            "run_terminal_cmd",
        ),
        (Options(disallowed_tools=("Bash(rm*)",)), Access.FULL, "--deny", "Bash(rm*)"),
        (Options(native={"permission_mode": "plan"}), Access.READ, "--permission-mode", "plan"),
        (Options(native={"permission_mode": "auto"}), Access.FULL, "--permission-mode", "auto"),
        (Options(effort="low"), Access.READ, "--effort", "low"),
        (Options(max_turns=3), Access.READ, "--max-turns", "3"),
        (Options(model="grok-4.5"), Access.READ, "--model", "grok-4.5"),
    ],
)
def test_options(
    tmp_path: Path, options: Options, access: Access, flag: str, expected: str
) -> None:
    made = plan(tmp_path, options=options, access=access)
    assert value(made, flag) == expected
    assert made.argv.count("--permission-mode") + made.argv.count("--always-approve") == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (Options(allowed_tools=("Bash(ls)",)), "is a rule of grok's"),
        (Options(allowed_tools=("nope",)), "has no tool named 'nope'"),
        (Options(disallowed_tools=("run_terminal_cmd",)), "has no tool named"),
        (Options(allowed_tools=("write",)), "ask for it with -o access edit"),
        (Options(disallowed_tools=("read_file", "grep", "list_dir")), "an empty list"),
        (Options(effort="huge"), "is not one of none, minimal, low"),
        (Options(native={"permission_mode": "bypassPermissions"}), "-o access full"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, options: Options, error: str) -> None:
    with pytest.raises((InvalidInput, PermissionDenied), match=re.escape(error)):
        plan(tmp_path, options=options)


def test_system_prompt(tmp_path: Path) -> None:
    """A session keeps the one that it began with; another goes before the prompt."""
    made = plan(tmp_path, system="-s\nSpeak.")
    assert made.argv[-1] == "--rules=-s\nSpeak."
    make_session(tmp_path, "old")
    same = SessionPlan("resume", "old", system_before=system_digest("Speak."))
    made = plan(tmp_path, system="Speak.", session=same)
    assert made.stdin == b"<prompt>\nhi\n</prompt>" and "--rules" not in " ".join(made.argv)
    made = plan(tmp_path, system="Sing.", session=same)
    assert b"<instructions>\nSing.\n</instructions>\n\nhi\n</prompt>" in made.stdin


def make_session(tmp_path: Path, id: str) -> None:
    (tmp_path / "home" / ".grok" / "sessions" / "%2Fx" / id).mkdir(parents=True, exist_ok=True)


def test_instructions_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "AGENTS.md").write_text("Mention 4711.\n")
    made = plan(tmp_path, system="Speak.")
    assert made.argv[-1] == "--rules=Speak.\n\n# Instructions in AGENTS.md\n\nMention 4711."
    trusted = plan(tmp_path, options=Options(trust_workspace=True))
    assert "4711" not in " ".join(trusted.argv)


def test_arguments_that_are_too_long(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="128 KiB"):
        plan(tmp_path, system="x" * 131_072)
    with pytest.raises(InvalidInput, match="128 KiB"):
        plan(tmp_path, schema={"description": "x" * 131_072})
    (tmp_path / "work" / "AGENTS.md").write_text("x" * 65_000)
    (tmp_path / "work" / "CLAUDE.md").write_text("y" * 65_000)
    (tmp_path / "work" / "CLAUDE.local.md").write_text("z" * 65_000)
    assert max(len(part.encode()) for part in plan(tmp_path, system="s").argv) == 131_071


@pytest.mark.parametrize(
    ("session", "flags"),
    [
        (SessionPlan("resume", "old"), ("--resume", "old")),
        (
            SessionPlan("fork", "old", new_id="new"),
            ("--resume", "old", "--fork-session", "--session-id", "new"),
        ),
        (SessionPlan("latest"), ("--continue",)),
    ],
)
def test_sessions(tmp_path: Path, session: SessionPlan, flags: tuple[str, ...]) -> None:
    make_session(tmp_path, "old")
    assert plan(tmp_path, session=session).argv[-len(flags) :] == flags


def test_a_session_that_is_gone_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(SessionLost, match="does not have session old"):
        plan(tmp_path, session=SessionPlan("resume", "old"))


def test_attachments(tmp_path: Path) -> None:
    """They lie where its own tool may open them, and the prompt names them."""
    made = plan(tmp_path, attachments=(Attachment("image/png", content=b"PNG"),))
    path = (tmp_path / "files" / "attachment-0.png").resolve()
    assert path.read_bytes() == b"PNG"
    assert str(path) in made.stdin.decode() and made.stdin.endswith(b"<prompt>\nhi\n</prompt>")
    denied = [matcher(rule[5:-1]) for rule in rules(made, "--deny") if rule.startswith("Read(")]
    assert not any(m.fullmatch(str(path)) for m in denied)
    assert any(m.fullmatch(str(tmp_path.resolve() / "other")) for m in denied)


# What it reads unasked.


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A file outside the workspace."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "README.md").write_text("inside")
    path = tmp_path / "secret.txt"
    path.write_text("outside")
    return path


@pytest.mark.parametrize(
    "before", ["@", "see @", "x\n@", "x:@", "@\n", "@ ", "<a>@", "(@", "\u200b@", "@@", "@x @"]
)
def test_a_file_outside_that_a_prompt_names_is_refused(
    tmp_path: Path, beside: Path, before: str
) -> None:
    for after in ("", " please", ":1-2"):
        with pytest.raises(PermissionDenied, match=r"Grok would read .*secret\.txt"):
            plan(tmp_path, f"{before}{beside}{after}")
    with pytest.raises(PermissionDenied):
        plan(tmp_path, f"{before}../secret.txt", access=Access.EDIT)
    assert plan(tmp_path, f"{before}{beside}", access=Access.FULL)


@pytest.mark.parametrize(
    "text", ["me@{}", "`@{}`", "'@{}'", "@{}.", "@{}, x", "{}", "@nosuch", "@README.md", "é@{}"]
)
def test_what_grok_leaves_alone_is_not_refused(tmp_path: Path, beside: Path, text: str) -> None:
    assert plan(tmp_path, text.format(beside)).stdin.decode().count(text.format(beside)) == 1


def test_a_link_that_leads_out_is_refused(tmp_path: Path, beside: Path) -> None:
    (tmp_path / "work" / "link").symlink_to(beside)
    with pytest.raises(PermissionDenied):
        plan(tmp_path, "@link")
    assert plan(tmp_path, "@link", options=Options(add_dirs=(str(tmp_path),)))


def test_a_file_inside_is_told(tmp_path: Path, beside: Path) -> None:
    request = Request(id="1", provider="grok", prompt="see @README.md and @README.md")
    parser = Grok().parser(request, plan(tmp_path, request.prompt))
    assert parser.notices == ["grok adds to the prompt what an @ names in it: README.md"]


def test_earlier_turns_stay_words(tmp_path: Path, beside: Path) -> None:
    turns = (Turn("user", f"see @{beside} and a@b"), Turn("assistant", "I did"))
    made = plan(tmp_path, "go on", session=SessionPlan("new", new_id="x", quoted=turns))
    assert f"see `@{beside}` and a@b" in made.stdin.decode()


# A folder that its user once trusted.


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    home = tmp_path / "home" / ".grok"
    home.mkdir(parents=True)
    (home / "trusted_folders.toml").write_text(
        f'[folders."{tmp_path.resolve()}/work"]\ntrusted = true\ndecided_at = 1790000000\n'
    )
    return home / "trusted_folders.toml"


@pytest.mark.parametrize("name", [".grok", ".claude", ".mcp.json", ".envrc"])
def test_a_trusted_folder_with_code_of_its_own_is_refused(
    tmp_path: Path, trusted: Path, name: str
) -> None:
    assert plan(tmp_path)
    (tmp_path / "work" / name).mkdir()
    for access in (Access.READ, Access.EDIT):
        with pytest.raises(PermissionDenied, match=f"it has {re.escape(name)}; .*trust_workspace"):
            plan(tmp_path, access=access)
    assert plan(tmp_path, access=Access.FULL)
    assert plan(tmp_path, options=Options(trust_workspace=True))


def test_a_folder_that_was_not_trusted(tmp_path: Path, trusted: Path) -> None:
    (tmp_path / "work" / ".grok").mkdir()
    trusted.write_text(trusted.read_text().replace("true", "false"))
    assert plan(tmp_path)
    trusted.write_text(f'[folders."{tmp_path.resolve()}/elsewhere"]\ntrusted = true\n')
    assert plan(tmp_path)
    trusted.unlink()
    assert plan(tmp_path)


def test_a_work_tree_of_a_trusted_repository(tmp_path: Path, trusted: Path) -> None:
    """Grok takes it for the repository that it belongs to."""
    main = tmp_path / "main"
    (main / ".git" / "worktrees" / "w").mkdir(parents=True)
    (tmp_path / "work" / ".git").rmdir()
    (tmp_path / "work" / ".git").write_text(f"gitdir: {main}/.git/worktrees/w\n")
    (tmp_path / "work" / ".grok").mkdir()
    trusted.write_text(f"[folders.'{main.resolve()}']\ntrusted = true\n")
    with pytest.raises(PermissionDenied, match="trusted it once"):
        plan(tmp_path)


# The patterns.


def matcher(pattern: str) -> re.Pattern[str]:
    """What a pattern of grok's matches: its own documentation, as a regular expression."""
    parts = re.split(r"(/\*\*$|\*|\?|\[![^\]]*\])", pattern)
    known = {"/**": "/.+", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(
            known.get(p) or (f"[^/{re.escape(p[2:-1])}]" if p.startswith("[!") else re.escape(p))
            for p in parts
        )
    )


names = st.text("ab-_. (é*", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(paths, min_size=1, max_size=3), paths)
def test_outside_is_outside(roots: list[str], path: str) -> None:
    """The patterns match every path but the roots and what is in them."""
    inside = any(path == root or path.startswith(root + "/") for root in roots)
    matched = any(matcher(p).fullmatch(path) for p in grok_rules.outside(roots))
    # What a pattern cannot say is let out with the rest.
    assert matched != inside or (not inside and grok_rules.UNSAID & set("".join(roots)))


def test_outside_of_everything_is_nothing() -> None:
    assert grok_rules.outside(["/"]) == []


def test_a_search_is_not_blinded(tmp_path: Path) -> None:
    """Its own search takes ``/x`` for ``x`` in the workspace: what is there must not match."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "add.py").touch()
    patterns = grok_rules.outside_of_search([str(tmp_path)], str(tmp_path))
    inside = [f"/{path.name}" for path in tmp_path.iterdir()]
    assert not [p for p in patterns for path in inside if matcher(p).fullmatch(path)]
    assert "/usr/**" in patterns and "/etc/**" not in patterns
    (tmp_path / str(tmp_path).split("/")[1]).mkdir()
    assert grok_rules.outside_of_search([str(tmp_path)], str(tmp_path)) == []
