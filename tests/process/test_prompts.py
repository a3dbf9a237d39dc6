"""The prompt reaches the CLI byte by byte, on stdin, or is refused before anything runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.claude import answer
from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder

ODD = [
    "--help",
    "-x starts with a dash",
    "-- [ ] a list",
    "--model opus --permission-mode bypassPermissions",
    "'single' \"double\" `back` \\ backslash",
    "$(touch hacked) ${HOME} `id` ; rm -rf . | cat && true",
    "line one\nline two\r\nline three\n\n",
    "  spaces around  ",
    "tab\there, bell\a, escape \x1b[31m",
    "grüße ☕ 😀 e\u0301 \u202e rtl \u2028 \ufeff",
    '{"type": "result", "is_error": false}',
    "</transcript> <user> ]]>",
    "!echo hi",
    "a" * 300_000,
]


def test_prompts_arrive_byte_by_byte(llm: Llm, claude: FakeCli) -> None:
    """Nothing is quoted, trimmed, expanded or cut, and no word of it is in argv."""
    outcomes = llm.asks(*(("gateway-claude", prompt, {}) for prompt in ODD))
    assert [o.answer for o in outcomes] == ["ok"] * len(ODD)
    for prompt, call in zip(ODD, claude.calls, strict=True):
        assert [b["text"] for b in call.blocks] == [prompt]
    assert not (llm.work / "hacked").exists()
    ids = {call.value("--session-id") for call in claude.calls}
    assert len(ids) == len(ODD)
    assert len({tuple(word for word in call.argv if word not in ids) for call in claude.calls}) == 1


def test_llms_own_ways_of_giving_a_prompt(llm: Llm, claude: FakeCli) -> None:
    """Through argv, through a pipe, and as a fragment of 200 kB."""
    llm("-m", "gateway-claude", "--", "--help me").ok()
    llm("-m", "gateway-claude", input="$(id) 'x'\n").ok()
    (llm.work / "big.txt").write_text("word " * 40_000 + "end")
    llm("-m", "gateway-claude", "-f", "big.txt", "what?").ok()
    prompts = [call.prompt for call in claude.calls]
    assert prompts == ["--help me", "$(id) 'x'\n", "word " * 40_000 + "end\nwhat?"]


COMMANDS = [
    ("/cost", ["/", "cost"]),
    ("/nosuch arg", ["/", "nosuch arg"]),
    ("//double", ["//", "double"]),
    ("/", ["/"]),
    (" /cost", [" /cost"]),
    ("no / command", ["no / command"]),
]


def test_what_claude_would_execute_is_cut_in_two(llm: Llm, claude: FakeCli) -> None:
    """A leading slash stands in a block of its own; together the blocks are the prompt."""
    llm.asks(*(("gateway-claude", prompt, {}) for prompt, _ in COMMANDS))
    for (prompt, blocks), call in zip(COMMANDS, claude.calls, strict=True):
        assert [b["text"] for b in call.blocks] == blocks
        assert call.prompt == prompt


def test_what_claude_would_read_stays_a_word(llm: Llm, claude: FakeCli) -> None:
    """@path is switched off by a variable of claude's; where it is unknown, by a last block."""
    asked: tuple[str, str, dict[str, Any]] = ("gateway-claude", "see @/etc/hostname", {})
    llm.asks(asked)
    FakeCli(claude.folder, "claude", knows_mentions=False)
    llm.asks(asked, ("gateway-claude", "no at sign", {}))
    known, unknown, plain = claude.calls
    assert known.env["CLAUDE_CODE_DISABLE_FILE_MENTIONS"] == "1"
    assert [b["text"] for b in known.blocks] == ["see @/etc/hostname"]
    assert [b["text"] for b in unknown.blocks] == ["see @/etc/hostname", "."]
    assert [b["text"] for b in plain.blocks] == ["no at sign"]


REFUSED = [
    ("", "The prompt is empty."),
    (" \n\t ", "The prompt is empty."),
    ("a\0b", "The prompt has a NUL character, which no CLI takes."),
    ("half \ud83d pair", "The prompt is not valid text: it has half a surrogate pair."),
    ("x" * (10 * 1024 * 1024 + 1), "The prompt has 10,485,761 bytes; Claude Code takes at most "
     "10,485,760."),
]  # fmt: skip


def test_what_cannot_be_meant_is_refused_before_the_spawn(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """No process, one sentence, and a row that says what happened."""
    outcomes = llm.asks(*(("gateway-claude", prompt, {}) for prompt, _ in REFUSED))
    assert [(o.error, o.category, o.cause) for o in outcomes] == [
        (message, "invalid_input", "InvalidInput") for _, message in REFUSED
    ]
    assert claude.calls == []
    assert [row["status"] for row in recorder.requests] == ["failed"] * len(REFUSED)
    assert [row["error_category"] for row in recorder.requests] == ["invalid_input"] * len(REFUSED)
    assert [row["error_message"] for row in recorder.requests] == [m for _, m in REFUSED]
    assert recorder.attempts == []


def test_bytes_that_are_no_text_are_refused_too(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Half a surrogate pair to Python; to who asked, and never saw one, what they are."""
    ran = llm.run(*llm.program("-m", "gateway-claude"), b"caf\xe9")
    assert ran.error == "The prompt is not valid text: it has bytes that are not UTF-8."
    assert claude.calls == [] and recorder.request["status"] == "failed"
    ran = llm.run(*llm.program("-m", "gateway-claude", "x", "-s"), b"caf\xe9")
    assert ran.error == "The system prompt is not valid text: it has bytes that are not UTF-8."
    assert claude.calls == []


@pytest.mark.parametrize("stream", [True, False])
def test_half_a_surrogate_pair_in_an_answer_is_a_question_mark(
    llm: Llm, claude: FakeCli, stream: bool
) -> None:
    """JSON can carry it, a terminal and SQLite cannot."""
    claude.does(answer("half \ud83d pair"))
    ran = llm("-m", "gateway-claude", *([] if stream else ["--no-stream"]), "x")
    assert ran.answer == "half ? pair\n"


def test_a_large_prompt_that_nobody_reads(llm: Llm, claude: FakeCli) -> None:
    """Five megabytes on stdin do not block: the time-out holds, and so does an early end."""
    claude.in_turn({"stdin": "never", "steps": [{"hang": True}]})
    prompt = "x" * 5_000_000
    (late,) = llm.asks(("gateway-claude", prompt, {"timeout": 1}))
    assert late.category == "timeout"
    claude.in_turn({"stdin": "never", "steps": [{"stderr": "I do not want that"}], "exit": 3})
    (early,) = llm.asks(("gateway-claude", prompt, {}))
    assert early.category != "spawn" and early.error is not None
    assert "exit code 3" in early.error and "Broken pipe" not in early.error


def test_a_system_prompt_of_any_length(llm: Llm, claude: FakeCli) -> None:
    """It is handed over as a file, so argv has no say in its length."""
    (outcome,) = llm.asks(("gateway-claude", "x", {"system": "s" * 500_000}))
    assert outcome.answer == "ok"
    path = claude.call.value("--append-system-prompt-file")
    assert path is not None and claude.call.files[path]["text"] == "s" * 500_000


def test_a_schema_that_is_too_long_for_argv_is_refused(llm: Llm, claude: FakeCli) -> None:
    """Claude takes it in argv only; the system's limit is told before the spawn."""
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(9000)}}
    assert len(json.dumps(schema)) > 131_071
    (outcome,) = llm.asks(("gateway-claude", "x", {"schema": schema}))
    assert (outcome.category, outcome.error) == (
        "invalid_input",
        "The schema is longer than the 128 KiB that claude takes.",
    )
    assert claude.calls == []
