"""Abuse: secrets that are echoed, names that are options or paths, text that steers terminals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.claude import answer, ended, init, message, says, thinks, tool
from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder
from tests.process.test_switching import THREAD, codex_says
from tests.process.torture import ASK

KEYS = {
    "anthropic": "sk-ant-api03-" + "A1b2C3d4" * 6,
    "openai": "sk-proj-" + "a1B2c3D4" * 5,
    "github": "ghp_" + "Zz09" * 9,
    "aws": "AKIA" + "ABCDEFGH" + "12345678",
}
SAID = " ".join(KEYS.values())


def columns(recorder: Recorder, table: str, *names: str) -> str:
    rows = recorder.query(f"select {', '.join(names)} from {table}")
    return "\n".join(str(value) for row in rows for value in tuple(row))


@pytest.mark.parametrize("where", ["stderr", "its end event"])
def test_a_secret_that_is_echoed_in_an_error(
    llm: Llm, claude: FakeCli, recorder: Recorder, where: str
) -> None:
    """The prompt is kept as it was; errors, stderr and command lines are kept without it."""
    words = f"cannot use $PROMPT with password=hunter2hunter2 {SAID}"
    steps = [{"stderr": words}] if where == "stderr" else [init(), ended(words, is_error=True)]
    claude.does(*steps, exit=1)
    assert llm(*ASK, f"my keys: {SAID}").code == 1
    kept = columns(recorder, "attempts", "argv_json", "env_names", "error_message")
    kept += columns(recorder, "requests", "error_message")
    kept += columns(recorder, "jobs", "error", "stderr", "args_json")
    kept += columns(recorder, "bodies", "stderr")
    assert "cannot use" in kept and "[redacted]" in kept
    for secret in (*KEYS.values(), "hunter2hunter2"):
        assert secret not in kept
    assert recorder.request["prompt"] == f"my keys: {SAID}"
    assert not any(secret in word for secret in KEYS.values() for word in claude.call.argv)


def test_a_secret_in_an_option_is_not_kept(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """What becomes an argument is redacted in the row."""
    llm(*ASK, "-o", "model", KEYS["anthropic"], "x").answer  # noqa: B018
    assert claude.call.value("--model") == KEYS["anthropic"]
    assert KEYS["anthropic"] not in columns(recorder, "attempts", "argv_json")
    assert KEYS["anthropic"] not in columns(recorder, "jobs", "args_json")


ODD_MODELS = [";rm -rf /", "$(touch pwned)", "`touch pwned`", "a\nb", "x " * 5_000, "--help"]


def test_names_are_only_names(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """What can be no model's name is refused before the spawn, in a line, and no shell reads it."""
    outcomes = llm.asks(*(("gateway-claude", "x", {"model": name}) for name in ODD_MODELS))
    assert {outcome.category for outcome in outcomes} == {"invalid_input"}
    assert all("no model's name" in (o.error or "") and len(o.error or "") < 300 for o in outcomes)
    assert claude.calls == [] and len(recorder.requests) == len(ODD_MODELS)
    assert not (llm.work / "pwned").exists()


ODD_IDS = ["../../x", "/etc/passwd", "-rf", "--help", "..", ".", "a\nb", "a\x1b]52;c;QQ==\x07", ""]


def test_ids_that_are_no_ids_are_refused(llm: Llm, claude: FakeCli) -> None:
    """Paths, options, escapes and ten kilobytes: before the spawn."""
    asked = [*(id for id in ODD_IDS if id), "x" * 10_000]
    outcomes = llm.asks(*(("gateway-claude", "x", {"session_id": id}) for id in asked))
    assert {outcome.category for outcome in outcomes} == {"invalid_input"}
    assert claude.calls == []


@pytest.mark.parametrize("id", [*ODD_IDS, "x" * 10_000])
def test_ids_of_the_clis_own_are_not_trusted_either(
    llm: Llm, bin_dir: Path, recorder: Recorder, id: str
) -> None:
    """It answers in a session whose name is a trap: the answer counts, the name is used nowhere."""
    codex = FakeCli(bin_dir, "codex")
    codex.in_turn({"steps": codex_says("fine", id)}, {"steps": codex_says("two")})
    code = """
import llm
first = llm.get_model("gateway-codex").prompt("one")
print(first.text())
print(first.reply("two").text())
"""
    assert llm.python(code).answer == "fine\ntwo\n"
    second = codex.calls[1]
    assert "resume" not in second.argv and "fine" in str(second.stdin)
    assert not id or str(id) not in second.argv
    assert [row["session_id"] for row in recorder.requests] == [None, THREAD]
    known = recorder.query("select session_id from sessions")
    assert [row["session_id"] for row in known] == [THREAD]


def test_an_attachment_from_elsewhere_is_content(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """The file that was named is read by us; the CLI is not given its path, nor its directory."""
    outside = tmp_path / "outside" / "note.txt"
    outside.parent.mkdir()
    outside.write_text("from outside")
    link = llm.work / "link.txt"
    link.symlink_to(outside)
    args = ("--at", str(outside), "text/plain", "--at", str(link), "text/plain")
    llm(*ASK, *args, "x").answer  # noqa: B018
    assert [block["text"] for block in claude.call.blocks] == ["from outside", "from outside", "x"]
    assert not any("outside" in word or "link" in word for word in claude.call.argv)


# Terminals.

CLIPBOARD, TITLE, RED = "\x1b]52;c;QUJD\x07", "\x1b]0;title\x1b\\", "\x1b[31mred\x1b[0m"
STEERING = f"a{CLIPBOARD}b{TITLE}c{RED}d\x9b2Je\x08\x7ff\x1b"


def screen(llm: Llm, *args: str) -> tuple[int, str]:
    """What a person sees of a prompt, without the dim marks that llm and we make."""
    terminal = llm.pty(*ASK, *args, "x")
    code = terminal.end()
    return code, terminal.seen.replace("\x1b[2m", "").replace("\x1b[0m", "").replace("\r\n", "\n")


@pytest.mark.parametrize("flags", [(), ("--no-stream",), ("--async",)], ids=["", "whole", "async"])
def test_an_answer_does_not_steer_the_terminal(
    llm: Llm, claude: FakeCli, recorder: Recorder, flags: tuple[str, ...]
) -> None:
    """Clipboard, title, colours and cursor: gone on a screen, not in the recorder."""
    claude.does(answer(STEERING, " end\n"))
    code, seen = screen(llm, *flags)
    assert (code, seen) == (0, "abcredd2Jef end\n\n")
    assert recorder.request["response"] == STEERING + " end\n"


def test_an_escape_that_is_cut_in_two_does_not_either(llm: Llm, claude: FakeCli) -> None:
    """What begins it is taken out, so the rest is only letters."""
    claude.does(
        init(), says("a\x1b"), {"sleep": 0.5}, says("]52;c;QUJD\x07b", start=False), ended("x")
    )
    assert screen(llm) == (0, "a]52;c;QUJDb\n")


def test_in_a_pipe_an_answer_is_what_was_said(llm: Llm, claude: FakeCli) -> None:
    """Byte by byte through Python; llm's own printing takes colours out of what is no terminal."""
    claude.does(answer(STEERING))
    (outcome,) = llm.asks(("gateway-claude", "x", {}))
    assert outcome.answer == STEERING
    assert CLIPBOARD in llm(*ASK, "x").answer


def test_nothing_else_that_a_cli_says_does(llm: Llm, claude: FakeCli) -> None:
    """Thinking, the names of actions, and errors."""
    claude.does(
        init(),
        thinks(f"hm{STEERING}\n"),
        tool(f"Read{CLIPBOARD}", {"file_path": STEERING}, "x"),
        message("text"),
        ended(f"It broke {STEERING}", is_error=True),
    )
    code, seen = screen(llm)
    assert code == 1 and "It broke" in seen and "hm" in seen
    assert not {"\x1b", "\x07", "\x08", "\x7f", "\x9b"} & set(seen), seen
