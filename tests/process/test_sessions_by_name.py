"""Names, the active session and the commands for them, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llm_gateway.commands import exits, group
from tests.fakes.claude import answer, init
from tests.fakes.cli import Call, FakeCli
from tests.harness import Llm, Recorder

ASK = ("-m", "gateway-claude")
UUID = "0a0b0c0d-1111-4222-8333-000000000001"
ENDS = "llm gateway session clear claude ends that"


def run(*args: str, input: str | None = None) -> tuple[int, str, str]:
    """One of our commands, in this process: its code, what it printed, what it said."""
    ran = CliRunner().invoke(group, list(args), input=input, catch_exceptions=False)
    return ran.exit_code, ran.stdout, ran.stderr


def listed(*args: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("sessions", "--json", *args)[1])
    return rows


def new_id(call: Call) -> str:
    id = call.value("--session-id")
    assert id is not None
    return id


def test_the_active_session_from_reservation_to_its_end(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Each prompt that continues it says so on stderr, and how to end that; nothing else does."""
    assert run("session", "create", "work", "--provider", "claude")[0] == 0
    assert claude.calls == []
    assert run("session", "use", "work")[0] == 0
    first = llm(*ASK, "one").ok()
    assert (first.out, first.err) == ("ok\n", f"a new session begins, named work; {ENDS}\n")
    id = new_id(claude.calls[0])
    second = llm(*ASK, "two").ok()
    assert (second.out, second.err) == (
        "ok\n",
        f"continuing the active session work ({id}); {ENDS}\n",
    )
    assert claude.calls[1].value("--resume") == id and claude.calls[1].prompt == "two"
    left_out = llm(*ASK, "-o", "create_new_session", "1", "three").ok()
    assert left_out.err == "" and new_id(claude.calls[2]) != id
    assert llm("-c", "four").ok().err == ""
    assert claude.calls[3].value("--resume") == new_id(claude.calls[2])
    assert [row["active"] for row in listed() if row["name"] == "work"] == [True]
    assert "claude has no active session any more" in run("session", "clear", "claude")[2]
    assert llm(*ASK, "five").ok().err == "" and new_id(claude.calls[4]) != id
    assert [row["key"] for row in recorder.query("select key from job_rows order by id")][:2] == [
        None,
        None,
    ]


def test_the_active_session_asks_for_no_more_than_was_said(llm: Llm, claude: FakeCli) -> None:
    """It ran at edit; a prompt that says nothing reads. An agent of ours does not continue it."""
    llm(*ASK, "-o", "session", "work", "-o", "access", "edit", "one").ok()
    run("session", "use", "work")
    elsewhere = llm.folder / "elsewhere"
    elsewhere.mkdir()
    ran = llm(*ASK, "two", cwd=elsewhere).ok()
    assert f" in {llm.work}; " in ran.err
    call = claude.calls[1]
    assert (call.cwd, call.value("--permission-mode")) == (str(llm.work), "dontAsk")
    llm(*ASK, "three", env={"LLM_GATEWAY_ANCESTORS": "01j0000000000000000000000x"}).ok()
    assert claude.calls[2].value("--resume") is None


def test_a_worker_says_nothing_twice(llm: Llm, claude: FakeCli) -> None:
    """It chooses the session once more, and holds it; the same words twice are two turns (T-04)."""
    durable = (*ASK, "-o", "durable", "1", "-o", "session", "work", "go on")
    first, second = llm(*durable).ok(), llm(*durable).ok()
    assert first.err.count("a new session begins, named work") == 1
    assert len(claude.calls) == 2 and "collected" not in second.err
    assert claude.calls[1].value("--resume") == new_id(claude.calls[0])


def test_two_prompts_under_a_new_name_at_once_are_one_session(llm: Llm, claude: FakeCli) -> None:
    """The second waits for the first, which begins it, and continues it."""
    llm(*ASK, "llm makes its own files").ok()
    claude.does(init(), {"sleep": 1.5}, answer("ok")[1:])
    both = [llm.start(*ASK, "-o", "session", "work", word) for word in ("a", "b")]
    said = [process.communicate(timeout=100)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    _, first, second = claude.calls
    assert second.value("--resume") == new_id(first)
    assert second.began >= (first.ended or 0)
    assert sum("waiting for session" in text for text in said) == 1


def test_a_session_of_the_vendors_is_adopted_and_continued(llm: Llm, claude: FakeCli) -> None:
    """Discovered in its store, named, continued, lost, forgotten: the vendor's file stays."""
    llm(*ASK, "one", env={"LLM_GATEWAY_LOGS_DB": "none"}).ok()
    assert listed() == []
    (found,) = listed("--discover", "--provider", "claude")
    id, path = found["session_id"], Path(found["path"])
    assert (found["title"], found["cwd"], found["known"]) == ("turn 1", str(llm.work), False)
    before = path.read_bytes()
    assert run("session", "create", "old", "--provider", "claude", "--id", id)[0] == 0
    assert path.read_bytes() == before
    llm(*ASK, "-o", "session", "old", "two").ok()
    assert claude.calls[1].value("--resume") == id
    (found,) = listed("--discover", "--cwd", str(llm.work))
    assert (found["known"], found["name"]) == (True, "old")
    claude.forget_sessions()
    lost = llm(*ASK, "-o", "session", "old", "three").error
    assert "llm gateway session delete old forgets it here" in lost
    code, _, asked = run("session", "delete", "old", input="n\n")
    assert code == exits.INTERRUPTED and "Claude Code keeps its own" in asked and listed()
    code, _, said = run("session", "delete", "old", "--yes")
    assert code == 0 and "Claude Code still has the session itself" in said
    assert listed() == [] and path.exists()


@pytest.mark.parametrize("word", ["gw-1", "../x", "/etc/passwd", UUID, "a b"])
def test_words_that_are_no_names_are_refused(llm: Llm, claude: FakeCli, word: str) -> None:
    """By the option before the spawn, by the command before the write."""
    code, _, said = run("session", "create", word, "--provider", "claude")
    assert code == exits.USAGE and "cannot be a session's name" in said
    assert listed() == []


def test_what_the_option_refuses(llm: Llm, claude: FakeCli) -> None:
    """In a sentence, with nothing spawned."""
    asked = [
        {"session": "gw-1"},
        {"session": UUID},
        {"session": "--help"},
        {"session": "a", "session_id": UUID},
        {"session_id": ""},
    ]
    outcomes = llm.asks(*(("gateway-claude", "x", options) for options in asked))
    assert {outcome.category for outcome in outcomes} == {"invalid_input"}
    off = llm(*ASK, "-o", "session", "a", "x", env={"LLM_GATEWAY_LOGS_DB": "none"})
    assert "the flight recorder keeps the names of sessions" in off.error
    assert claude.calls == []


def test_the_commands_before_anything_was_recorded() -> None:
    """Lists are empty, acts on one say so, and reserving a name makes the file."""
    assert run("sessions")[:2] == (0, run("sessions")[1])
    assert run("sessions", "--discover", "--json")[1].strip() == "[]"
    for act in ("show", "use", "delete"):
        assert run("session", act, "@last")[0] == exits.USAGE
    assert run("session", "clear")[2] == "No session was active.\n"
    assert run("session", "use", "nobody", "--provider", "nope")[0] == exits.USAGE
    assert run("session", "create", "first", "--provider", "codex")[0] == 0
    (row,) = listed()
    assert (row["name"], row["session_id"], row["provider"]) == ("first", None, "codex")
    assert "(not begun)" in run("sessions")[1]
    code, told, _ = run("session", "show", "first", "--json")
    assert code == 0 and json.loads(told)["requests"] == []


def test_names_given_at_once_are_all_there(llm: Llm) -> None:
    """By processes that each make the recorder's file where it is not there yet (T-19)."""
    program = str(Path(llm.program()[0]).with_name("llm-gateway"))
    create = (program, "session", "create")
    started = [llm.popen(*create, f"n{n}", "--provider", "codex") for n in range(6)]
    started += [llm.popen(*create, "same", "--provider", "grok") for _ in range(2)]
    codes = [(process.communicate(timeout=100), process.returncode)[1] for process in started]
    assert codes[:6] == [0] * 6 and sorted(codes[6:]) == [0, exits.USAGE]
    assert sorted(row["name"] for row in listed()) == [*(f"n{n}" for n in range(6)), "same"]


def test_a_shell_completes_names_and_ids(llm: Llm, claude: FakeCli) -> None:
    """Those that begin so."""
    run("session", "create", "review", "--provider", "claude")
    ran = llm.run(
        str(Path(llm.program()[0]).with_name("llm-gateway")),
        env={
            "_LLM_GATEWAY_COMPLETE": "bash_complete",
            "COMP_WORDS": "llm-gateway session use r",
            "COMP_CWORD": "3",
        },
    )
    assert ran.answer == "plain,review\n"


def test_what_is_shown_steers_no_terminal(llm: Llm, claude: FakeCli) -> None:
    """The title is the prompt's first words; with -n nothing of it is kept."""
    llm(*ASK, "\x1b]0;owned\x07hello \x1b[2J there").ok()
    llm("-n", *ASK, "secret words").ok()
    assert sorted(str(row["title"]) for row in listed()) == ["None", "hello there"]
    code, told, _ = run("session", "show", "@last")
    assert code == 0 and "secret" not in told and "\x1b" not in run("sessions")[1]
