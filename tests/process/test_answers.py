"""What a person sees of an answer: text, streams, messages, notices, and what llm logs."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

from tests.fakes.claude import (
    abandoned,
    ended,
    init,
    message,
    refused_tool,
    retry,
    says,
    thinks,
    tool,
)
from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder, logged

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TWO_MESSAGES = [
    init(),
    *message("I look."),
    *tool("Read", {"file_path": "a.txt"}, "inside", id="toolu_1"),
    *message("It says", " inside.", id="msg_last"),
    ended("It says inside."),
]
SCHEMA = json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


def ask(llm: Llm, *args: str, **how: Any) -> Any:
    return llm("-m", "gateway-claude", *args, **how)


def test_an_answer_is_on_stdout_and_nothing_else_is(llm: Llm, claude: FakeCli) -> None:
    """stdout is the answer with a newline; stderr is empty."""
    ran = ask(llm, "hello")
    assert (ran.code, ran.out, ran.err) == (0, "ok\n", "")
    assert claude.call.prompt == "hello"


def test_text_is_printed_as_it_comes(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """The first words are out while the CLI has not said the rest."""
    gate = tmp_path / "gate"
    claude.does(
        init(),
        says("first "),
        {"wait_for": str(gate)},
        says("second", start=False),
        ended("first second"),
    )
    process = llm.start("-m", "gateway-claude", "go")
    assert process.stdout is not None
    assert process.stdout.read(6) == b"first "
    gate.touch()
    assert process.stdout.read() == b"second\n"
    assert process.wait(100) == 0


def test_messages_with_tools_between_are_separated_by_a_blank_line(
    llm: Llm, claude: FakeCli
) -> None:
    """Each message stands for itself on the screen."""
    claude.does(TWO_MESSAGES)
    assert ask(llm, "look").answer == "I look.\n\nIt says inside.\n"


def test_text_that_claude_streams_again_appears_once(llm: Llm, claude: FakeCli) -> None:
    """An abandoned message and its second try are one text."""
    claude.does(
        init(),
        abandoned("The answer", " is"),
        message("The ", "answer is 42", id="m2"),
        ended("The answer is 42"),
    )
    assert ask(llm, "say").answer == "The answer is 42\n"


def test_without_streaming_the_answer_is_the_last_message(llm: Llm, claude: FakeCli) -> None:
    """What was said before is in the log, as reasoning."""
    claude.does(TWO_MESSAGES)
    assert ask(llm, "--no-stream", "look").answer == "It says inside.\n"
    (row,) = logged(llm)
    assert row["response"] == "It says inside."
    assert "I look." in row["reasoning"]


def test_json_gives_the_last_message_and_the_ids(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """``llm --json`` is for scripts: answer, usage, session and our ids in one object."""
    claude.does(TWO_MESSAGES)
    (row,) = json.loads(ask(llm, "--json", "look").answer)
    told = row["response_json"]
    request = recorder.request
    assert row["response"] == "It says inside."
    assert row["model"] == "gateway-claude" and row["resolved_model"] == "claude-fake-1"
    assert (row["input_tokens"], row["output_tokens"]) == (1250, 34)
    assert told == {
        "provider": "claude",
        "session_id": claude.call.value("--session-id"),
        "request_id": request["id"],
        "job_id": request["job_id"],
        "correlation_id": request["id"],
        "model": "claude-fake-1",
        "stop_reason": "end_turn",
        "access": "read",
        "cwd": str(llm.work),
        "refused_actions": 0,
        "cli_version": "2.1.330",
        "usage": {
            "input": 1250,
            "output": 34,
            "cache_read": 1000,
            "cache_write": 50,
            "reasoning": 4,
        },
        "cost_usd": 0.002,
        "cost_basis": "reported",
    }
    assert (request["turn_id"], request["thread_id"]) == (row["id"], row["conversation_id"])


def test_a_very_long_answer_is_logged_without_what_takes_llm_seconds(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Text, usage and session are there; ids and cost are in the recorder, under llm's own id."""
    text = "a word " * 50_000
    claude.does(init(), *message(text), ended("short"))
    assert ask(llm, "tell").code == 0
    (row,) = logged(llm)
    assert row["response"] == text and row["response_json"] is None
    assert (row["input_tokens"], row["resolved_model"]) == (1250, "claude-fake-1")
    assert recorder.request["turn_id"] == row["id"]
    assert ask(llm, "-c", "and then?").code == 0
    first, second = claude.calls
    assert second.value("--resume") == first.value("--session-id")


def test_the_log_has_the_actions_and_the_thinking(llm: Llm, claude: FakeCli) -> None:
    """``llm logs`` shows them as server-executed, and never tries to run them."""
    claude.does(
        init(),
        thinks("Let me ", "see."),
        message("I look."),
        tool("Read", {"file_path": "a.txt"}, "inside"),
        message("Done.", id="m2"),
        ended("Done."),
    )
    ask(llm, "look").ok()
    (row,) = logged(llm)
    assert row["response"] == "I look.\n\nDone." and row["reasoning"] == "Let me see."
    (call,) = row["tool_calls"]
    assert (call["name"], call["arguments"]) == ("Read", {"file_path": "a.txt"})
    (result,) = row["tool_results"]
    assert (result["name"], result["output"]) == ("Read", "inside")
    database = sqlite3.connect(Path(llm.folder / "llm" / "logs.db"))
    payloads = [json.loads(p) for (p,) in database.execute("select payload from parts") if p]
    database.close()
    kinds = [p.get("server_executed") for p in payloads if "tool_call_id" in p]
    assert kinds == [True, True]


def test_thinking_goes_to_stderr_and_can_be_hidden(llm: Llm, claude: FakeCli) -> None:
    """llm shows it while it streams; -R hides it; the answer is the same."""
    claude.does(init(), thinks("Hmm."), message("ok"), ended("ok"))
    shown, hidden = ask(llm, "-n", "x"), ask(llm, "-n", "-R", "x")
    assert (shown.out, hidden.out) == ("ok\n", "ok\n")
    assert "Hmm." in shown.err and "Hmm." not in hidden.err


def test_refused_actions_are_told_in_one_line(llm: Llm, claude: FakeCli) -> None:
    """With what would allow them; every CLI is silent about them."""
    claude.does(
        init(),
        refused_tool("Write", {"file_path": "a"}, "t1"),
        refused_tool("Bash", {"command": "ls"}, "t2"),
        message("I could not."),
        ended("I could not."),
    )
    ran = ask(llm, "write")
    assert (ran.answer, ran.err) == (
        "I could not.\n",
        "2 actions were refused at access read; -o access edit allows more\n",
    )
    claude.does(init(), refused_tool("Bash", {}), message("no"), ended("no"))
    ran = ask(llm, "-o", "access", "edit", "write")
    assert ran.err == "1 action was refused at access edit; -o access full allows all\n"


def test_actions_are_shown_on_a_terminal_only(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """One dim line each on stderr while they run; in a pipe there is nothing."""
    claude.does(TWO_MESSAGES)
    assert ask(llm, "look").err == ""
    screen = llm.pty("-m", "gateway-claude", "look", out=tmp_path / "answer")
    assert screen.end() == 0
    # llm itself prints an empty dim text where the answer's metadata is.
    assert screen.seen.replace("\x1b[2m\x1b[0m", "") == "\x1b[2m· Read a.txt\x1b[0m\r\n"
    assert (tmp_path / "answer").read_text() == "I look.\n\nIt says inside.\n"


def test_answer_and_actions_share_a_screen(llm: Llm, claude: FakeCli) -> None:
    """No line runs into another where stdout and stderr are the same terminal."""
    claude.does(TWO_MESSAGES)
    screen = llm.pty("-m", "gateway-claude", "look")
    assert screen.end() == 0
    plain = re.sub(r"\x1b\[\d*m", "", screen.seen).replace("\r\n", "\n")
    assert plain == "I look.\n· Read a.txt\n\nIt says inside.\n"


def test_what_an_action_was_called_with_cannot_steer_the_terminal(
    llm: Llm, claude: FakeCli
) -> None:
    """Escapes and line feeds in a command are made harmless, and the line stays short."""
    command = "echo \x1b]52;c;AAAA\x07\n" + "x" * 500
    claude.does(init(), tool("Bash", {"command": command}, ""), message("ok"), ended("ok"))
    screen = llm.pty("-m", "gateway-claude", "x")
    assert screen.end() == 0
    (told,) = re.findall(r"\x1b\[2m(· .*?)\x1b\[0m", screen.seen, re.S)
    assert told.startswith("· Bash echo ?]52;c;AAAA?") and len(told) <= 103
    assert "\x1b]" not in screen.seen


def test_retries_of_the_cli_are_told(llm: Llm, claude: FakeCli) -> None:
    """Waiting is visible, also in a pipe."""
    claude.does(init(), retry(1.2), retry(2.4, status=529, error="overloaded", attempt=2),
                message("ok"), ended("ok"))  # fmt: skip
    ran = ask(llm, "x")
    assert ran.answer == "ok\n"
    assert ran.err.splitlines() == [
        "claude waits 1 s after a rate limit (retry 1 of 10)",
        "claude waits 2 s after an overloaded server (retry 2 of 10)",
    ]


def test_waiting_has_an_end(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """All waits of a prompt together may take retry_wait seconds; then the CLI is stopped."""
    claude.does(init(), retry(40), {"sleep": 0.05}, retry(30, attempt=2), {"hang": True})
    ran = ask(llm, "x")
    assert ran.error == (
        "claude waits 30 s after a rate limit (retry 2 of 10): 70 s in all, and this prompt may "
        "wait 60 s; allow more with -o retry_wait SECONDS. "
        f"(session {claude.call.value('--session-id')})"
    )
    assert recorder.request["error_category"] == "rate_limited"
    assert ran.seconds < 40


def test_the_person_decides_how_long_to_wait(llm: Llm, claude: FakeCli) -> None:
    """By variable, and by option, which wins; 0 waits for nothing."""
    claude.does(init(), retry(0.5), {"hang": True})
    asked = (("gateway-claude", "x", {}), ("gateway-claude", "x", {"retry_wait": 0.25}))
    errors = [o.error or "" for o in llm.asks(*asked, env={"LLM_GATEWAY_RETRY_WAIT": "0"})]
    assert "this prompt may wait 0 s" in errors[0]
    assert "this prompt may wait 0.25 s" in errors[1]


def test_what_waiting_cannot_mend_is_not_waited_for(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Claude retries a refused login for minutes; we do not."""
    claude.does(init(), retry(1, status=401, error="authentication_failed"), {"hang": True})
    ran = ask(llm, "x", env={"OPENAI_API_KEY": "sk-other"})
    assert ran.error.startswith(
        "claude waits 1 s after a refused login (retry 1 of 10); waiting does not mend that. "
        "Log in with: claude auth login, or set ANTHROPIC_API_KEY"
    )
    assert "Not passed on to it: OPENAI_API_KEY" in ran.error
    assert recorder.request["error_category"] == "auth"


# What llm offers.


def test_a_system_prompt_is_appended_to_the_clis_own(llm: Llm, claude: FakeCli) -> None:
    """By file (0600), never in argv, and again on every turn."""
    ask(llm, "-s", "Talk like a pirate.", "hello").ok()
    llm("-c", "go on").ok()
    assert list((llm.folder / "tmp").iterdir()) == []
    for call in claude.calls:
        path = call.value("--append-system-prompt-file")
        assert path is not None
        assert call.files[path]["text"] == "Talk like a pirate."
        assert "Talk like a pirate." not in " ".join(call.argv)
    assert claude.calls[1].value("--system-prompt-snapshot") == "off"


def test_temporary_files_are_0600(llm: Llm, claude: FakeCli) -> None:
    """Design 6.8 says so, whatever the directory around them is."""
    ask(llm, "-s", "secret", "hello").ok()
    path = claude.call.value("--append-system-prompt-file")
    assert path is not None and claude.call.files[path]["mode"] == 0o600


def test_fragments_are_part_of_the_prompt(llm: Llm, claude: FakeCli) -> None:
    """-f puts a file's text before the words."""
    (llm.work / "notes.txt").write_text("line one\nline two")
    ask(llm, "-f", "notes.txt", "sum up").ok()
    assert claude.call.prompt == "line one\nline two\nsum up"


def test_attachments_travel_as_blocks(llm: Llm, claude: FakeCli) -> None:
    """Images and PDFs as base64, text as text, before the prompt; nothing by path."""
    (llm.work / "a.png").write_bytes(PNG)
    (llm.work / "b.txt").write_text("plain words")
    (llm.work / "c.pdf").write_bytes(b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n")
    ask(llm, "-a", "a.png", "-a", "c.pdf", "--at", "b.txt", "text/plain", "look").ok()
    image, pdf, text, prompt = claude.call.blocks
    assert image["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(PNG).decode(),
    }
    assert (pdf["type"], pdf["source"]["media_type"]) == ("document", "application/pdf")
    assert (text["text"], prompt["text"]) == ("plain words", "look")


def test_an_attachment_needs_no_words(llm: Llm, claude: FakeCli) -> None:
    """An image alone is a prompt."""
    assert ask(llm, "-a", "-", input=PNG).answer == "ok\n"
    assert claude.call.blocks[0]["type"] == "image"


def test_an_attachment_of_another_kind_is_refused_by_llm(llm: Llm, claude: FakeCli) -> None:
    """Before anything is spawned."""
    (llm.work / "a.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    assert "application/zip" in ask(llm, "-a", "a.zip", "x").error
    assert claude.calls == []


def test_a_schema_gives_exactly_the_json(llm: Llm, claude: FakeCli) -> None:
    """Nothing that was said on the way; ``llm logs --data`` reads it."""
    claude.does(init(), message("I think."), ended('{"n": 7}'))
    assert ask(llm, "--schema", SCHEMA, "give").answer == '{"n": 7}\n'
    told = claude.call.value("--json-schema")
    assert told is not None and json.loads(told) == json.loads(SCHEMA)
    assert llm("logs", "--schema", SCHEMA, "--data").answer == '{"n": 7}\n'


def test_an_answer_that_does_not_fit_the_schema_is_an_error(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """The CLI's promise is checked; nothing is printed or logged as an answer."""
    claude.does(init(), message("Here you are."), ended('{"n": "seven"}'))
    ran = ask(llm, "--schema", SCHEMA, "give")
    assert (ran.out, ran.error) == (
        "",
        "The answer does not fit the schema: $.n: 'seven' is not of type 'integer'. "
        f"(session {claude.call.value('--session-id')})",
    )
    assert logged(llm) == []
    row = recorder.request
    assert (row["status"], row["error_category"]) == ("failed", "protocol")


def test_templates_options_and_aliases(llm: Llm, claude: FakeCli) -> None:
    """-t keeps options typed, ``llm models options set`` gives defaults, -o wins over both."""
    llm("models", "options", "set", "gateway-claude", "effort", "low").ok()
    ask(llm, "x").ok()
    ask(llm, "-o", "max_turns", "3", "x").ok()
    args = ("-o", "effort", "high", "-o", "add_dirs", '["."]', "--save", "t1")
    ask(llm, *args, "-s", "Be brief.").ok()
    llm("-t", "t1", "x").ok()
    llm("-t", "t1", "-o", "effort", "max", "x").ok()
    efforts = [call.value("--effort") for call in claude.calls]
    assert efforts == ["low", "low", "high", "max"]
    assert claude.calls[1].value("--max-turns") == "3"
    assert claude.calls[2].value("--add-dir") == "."


def test_async(llm: Llm, claude: FakeCli) -> None:
    """The async model gives the same answer, log and session."""
    claude.does(TWO_MESSAGES)
    assert ask(llm, "--async", "look").answer == "I look.\n\nIt says inside.\n"
    assert llm("-c", "--async", "again").answer == "I look.\n\nIt says inside.\n"
    first, second = claude.calls
    assert second.value("--resume") == first.value("--session-id")
    assert [row["tool_calls"][0]["name"] for row in logged(llm)] == ["Read", "Read"]


def test_many_async_prompts_at_once(llm: Llm, claude: FakeCli) -> None:
    """One event loop, ten runs, no answer in another's place."""
    claude.does(init(), says("A: $PROMPT"), {"sleep": 0.2}, ended("A: $PROMPT"))
    code = """
import asyncio, llm
async def one(n):
    return await llm.get_async_model("gateway-claude").prompt(f"p{n}").text()
async def main():
    print(await asyncio.gather(*(one(n) for n in range(10))))
asyncio.run(main())
"""
    assert llm.python(code).answer == str([f"A: p{n}" for n in range(10)]) + "\n"


def test_models_are_listed_with_their_options(llm: Llm) -> None:
    """Both providers, sync and async, with a sentence for each option."""
    out = llm("models", "--options", "-q", "gateway-").answer
    assert "Gateway: gateway-claude" in out and "Gateway: gateway-demo" in out
    assert "How hard the model thinks, in the CLI's own words: low, medium, high" in out
    listed = json.loads(llm("models", "--json", "-q", "gateway-").answer)
    assert {m["model_id"] for m in listed if m.get("async") or True} >= {
        "gateway-claude",
        "gateway-demo",
    }


def test_a_prompt_from_a_pipe_and_from_argv(llm: Llm, claude: FakeCli) -> None:
    """llm joins them; the CLI gets one text."""
    ask(llm, "sum up", input="piped\n").ok()
    assert claude.call.prompt == "piped\n sum up"
