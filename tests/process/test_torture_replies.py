"""What the CLI says that is no answer, or looks like one; sessions that it loses or swaps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.claude import answer, ended, init, line, message, says, tool
from tests.fakes.cli import Call, FakeCli
from tests.harness import Llm, Recorder
from tests.process.torture import ASK, id_of, session

READ = ["--permission-mode", "dontAsk", "--tools", "Read,Grep,Glob"]
FAILED: dict[str, tuple[dict[str, Any], str]] = {
    "success with a 403": ({"api_error_status": 403, "result": "Forbidden"}, "auth"),
    "success with a 500": ({"api_error_status": 500, "result": "Server error"}, "overloaded"),
    "success with a 429": ({"api_error_status": 429, "result": "Slow down"}, "rate_limited"),
    "a limit in the text": (
        {"result": "You've hit your limit · resets 4pm (America/Los_Angeles)"},
        "rate_limited",
    ),
    "no login": ({"result": "Not logged in · Please run /login"}, "auth"),
    "nothing but a flag": ({"result": None}, "cli_error"),
    "another subtype": ({"subtype": "error_during_execution", "result": None}, "cli_error"),
}


@pytest.mark.parametrize(("told", "category"), FAILED.values(), ids=list(FAILED))
def test_an_error_flag_counts_whatever_else_says_success(
    llm: Llm, claude: FakeCli, recorder: Recorder, told: dict[str, Any], category: str
) -> None:
    """Exit 0, subtype success, text before it: a failure with its category and the session."""
    claude.does(init(), message("Here is"), ended(**{"result": "x", "is_error": True, **told}))
    ran = llm(*ASK, "x")
    assert ran.out == "Here is" and ran.error.endswith(session(claude))
    row = recorder.request
    assert (row["status"], row["error_category"], row["exit_code"]) == ("failed", category, 0)


@pytest.mark.parametrize("status", ["allowed", "allowed_warning"])
def test_a_warning_about_limits_is_no_error(
    llm: Llm, claude: FakeCli, recorder: Recorder, status: str
) -> None:
    """``rate_limit_event``: the answer is an answer."""
    info = {"status": status, "resetsAt": 1_900_000_000, "rateLimitType": "five_hour"}
    warning = line(type="rate_limit_event", rate_limit_info=info)
    claude.does(init(), warning, message("fine"), warning, ended("fine"))
    ran = llm(*ASK, "x")
    assert (ran.answer, ran.err) == ("fine\n", "")
    assert recorder.request["status"] == "completed"


def test_an_answer_about_limits_is_an_answer(llm: Llm, claude: FakeCli) -> None:
    """The words alone say nothing, only the flag does."""
    words = "You've hit your limit · resets 4pm. Not logged in · Please run /login"
    claude.does(answer(words))
    assert llm(*ASK, "x").answer == words + "\n"


ODD: dict[str, Any] = {
    "brackets without end": {"bytes": "[" * 100_000 + "\n"},
    "a number of 5000 digits": {"bytes": '{"type":"result","num_turns":' + "9" * 5000 + "}\n"},
    "a list as its type": {"line": {"type": ["result"]}},
    "a number as text": says(5, start=False),  # type: ignore[arg-type]
    "a message without content": {"line": {"type": "assistant"}},
    "a tool without a name": {
        "line": {"type": "assistant", "message": {"id": "m", "content": [{"type": "tool_use"}]}}
    },
    "a result of a tool that was never called": {
        "line": {
            "type": "user",
            "message": {"content": [{"type": "tool_result", "tool_use_id": 7, "content": 8}]},
        }
    },
    "words in the place of numbers": line(type="result", usage="none", total_cost_usd="1 $"),
    "an unknown event": line(type="telepathy", strength=11),
}


def test_events_of_a_shape_that_nobody_knows(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """They are noise for the recorder; what is said around them is complete."""
    claude.in_turn(
        *(
            {"steps": [init(), says("before "), odd, says("after", start=False), ended("x")]}
            for odd in map(_flat, ODD.values())
        )
    )
    outcomes = llm.asks(*(("gateway-claude", "x", {}) for _ in ODD))
    assert [(o.answer, o.error) for o in outcomes] == [("before after", None)] * len(ODD)
    assert [row["status"] for row in recorder.requests] == ["completed"] * len(ODD)


def _flat(step: Any) -> Any:
    return step[0] if isinstance(step, list) else step


# Sessions.


def reads(call: Call) -> bool:
    """Whether a call was held at read."""
    at = call.argv.index("--permission-mode")
    return call.argv[at : at + 4] == READ


def test_an_id_that_is_already_in_use(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Claude's own word for it; nothing is tried a second time under another id."""
    claude.does({"stderr": "Error: Session ID x is already in use."}, exit=1)
    assert "already has a session of that id" in llm(*ASK, "x").error
    assert recorder.request["error_category"] == "session_lost"
    assert len(claude.calls) == 1


def test_a_session_that_the_cli_swaps_on_the_second_turn(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """It forgot the conversation without a word: it is stopped, and told the transcript anew."""
    other = {"line": {"type": "system", "subtype": "init", "session_id": "another"}}
    claude.in_turn(
        {"steps": answer("first answer")},
        {"steps": [other, says("Who are you?"), {"hang": True}]},
        {"steps": answer("second answer")},
    )
    llm(*ASK, "one").answer  # noqa: B018
    ran = llm("-c", "two")
    assert ran.answer == "second answer\n" and "starts a new session" in ran.err
    first, swapped, again = claude.calls
    assert swapped.value("--resume") == id_of(claude, 0)
    assert "first answer" in again.prompt and again.value("--resume") is None
    assert all(map(reads, (first, swapped, again)))
    assert recorder.requests[1]["session_id"] == id_of(claude, 2)
    llm("-c", "three").answer  # noqa: B018
    assert claude.calls[3].value("--resume") == id_of(claude, 2)


def test_a_session_that_is_lost_after_something_ran(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """An action ran before claude said so: it is not done twice, and the session is named."""
    lost = ended("No conversation found with session ID: x", is_error=True)
    claude.in_turn(
        {"steps": answer("one")},
        {"steps": [init(), tool("Write", {"file_path": "a"}, "written"), lost]},
    )
    llm(*ASK, "-o", "access", "edit", "one").answer  # noqa: B018
    assert session(claude, 0) in llm("-c", "two").error
    assert len(claude.calls) == 2
    assert recorder.requests[1]["error_category"] == "session_lost"


def test_read_stays_read_wherever_a_conversation_goes(llm: Llm, claude: FakeCli) -> None:
    """New, resumed, lost, forked, by id, the newest: the level is on each command line."""
    elsewhere = llm.folder / "elsewhere"
    elsewhere.mkdir()
    llm(*ASK, "one").answer  # noqa: B018
    llm("-c", "two", cwd=elsewhere).answer  # noqa: B018
    claude.forget_sessions()
    llm("-c", "three").answer  # noqa: B018
    llm(*ASK, "-o", "session_id", id_of(claude), "four").answer  # noqa: B018
    llm(*ASK, "-o", "resume_latest", "1", "five").answer  # noqa: B018
    fork = "import llm\nfirst = llm.get_model('gateway-claude').prompt('a')\nfirst.text()\n"
    llm.python(fork + "first.reply('b').text()\nfirst.reply('c').text()").ok()
    assert len(claude.calls) == 9
    assert "--fork-session" in claude.calls[-1].argv
    assert all(map(reads, claude.calls))
    assert all("bypassPermissions" not in json.dumps(call.argv) for call in claude.calls)
