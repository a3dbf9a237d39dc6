"""Sessions: which of the vendor's a prompt continues, always in separate llm processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fakes.claude import answer, ended, init, message, says
from tests.fakes.cli import Call, FakeCli
from tests.harness import Llm, Recorder, logged

ASK = ("-m", "gateway-claude")
TRANSCRIPT = (
    "Earlier in this conversation, before you took it over:\n\n<transcript>\n{turns}\n"
    "</transcript>\n\nThe user now says:\n\n{prompt}"
)


def transcript(prompt: str, *turns: tuple[str, str]) -> str:
    told = "\n\n".join(f"<{role}>\n{text}\n</{role}>" for role, text in turns)
    return TRANSCRIPT.format(turns=told, prompt=prompt)


def new_id(call: Call) -> str:
    """The id that was chosen for a new session."""
    id = call.value("--session-id")
    assert id is not None and len(id) == 36
    return id


def is_resumed(call: Call, id: str) -> bool:
    return call.value("--resume") == id and "--fork-session" not in call.argv


def test_c_continues_the_session(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Three processes, one session of the vendor's; each gets the new words and nothing else."""
    for n, args in enumerate([("-m", "gateway-claude", "one"), ("-c", "two"), ("-c", "three")], 1):
        claude.does(answer(f"answer {n}"))
        assert llm(*args).answer == f"answer {n}\n"
    first, second, third = claude.calls
    id = new_id(first)
    assert "--resume" not in first.argv
    assert is_resumed(second, id) and is_resumed(third, id)
    assert "--session-id" not in second.argv
    assert [call.prompt for call in claude.calls] == ["one", "two", "three"]
    assert [row["session_id"] for row in recorder.requests] == [id] * 3
    assert [row["access"] for row in recorder.requests] == ["read"] * 3
    assert all(call.value("--tools") == "Read,Grep,Glob" for call in claude.calls)
    assert len({row["conversation_id"] for row in logged(llm)}) == 1


def test_usage_and_cost_are_this_turns(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Claude's cost is a running sum of the session; what we tell is the difference."""
    claude.does(answer("a", total_cost_usd=0.25))
    llm(*ASK, "one").ok()
    claude.does(answer("b", total_cost_usd=0.75))
    llm("-c", "two").ok()
    told = [row["response_json"] for row in logged(llm)]
    assert sorted((t["cost_usd"], t["cost_basis"]) for t in told) == [
        (0.25, "reported"),
        (0.5, "derived"),
    ]
    assert [row["cost_usd"] for row in recorder.requests] == [0.25, 0.5]


def test_cid_continues_that_conversation(llm: Llm, claude: FakeCli) -> None:
    """Not the newest one."""
    llm(*ASK, "one").ok()
    (row,) = logged(llm)
    llm(*ASK, "other").ok()
    llm("--cid", row["conversation_id"], "two").ok()
    first, _, third = claude.calls
    assert is_resumed(third, new_id(first)) and third.prompt == "two"


def test_chat_is_one_session(llm: Llm, claude: FakeCli) -> None:
    """Two turns in one llm process, a third one in another."""
    ran = llm("chat", *ASK, input="one\ntwo\nquit\n")
    assert ran.answer.count("ok") == 2
    llm("chat", "-c", input="three\nquit\n").ok()
    first, second, third = claude.calls
    assert is_resumed(second, new_id(first)) and is_resumed(third, new_id(first))
    assert [call.prompt for call in claude.calls] == ["one", "two", "three"]


def test_what_fails_in_chat_is_a_sentence(llm: Llm, claude: FakeCli) -> None:
    """llm ends the chat, and itself catches nothing there."""
    claude.in_turn(
        {"steps": answer("ok"), "sessions": True},
        {"steps": [init(), ended("Overloaded", is_error=True, api_error_status=529)]},
    )
    ran = llm("chat", *ASK, input="one\ntwo\nquit\n")
    assert ran.error.startswith("Overloaded; try again later (session ")


REPLY = """
import llm
first = llm.get_model("gateway-claude").prompt("one")
first.text()
second = first.reply("two")
second.text()
again = llm.Response.from_dict(second.to_dict())
print(again.reply("three").text())
"""


def test_reply_in_python_continues_the_session(llm: Llm, claude: FakeCli) -> None:
    """There is no conversation then; the answer's own metadata says where it was given."""
    assert llm.python(REPLY).answer == "ok\n"
    first, second, third = claude.calls
    assert is_resumed(second, new_id(first)) and is_resumed(third, new_id(first))
    assert [call.prompt for call in claude.calls] == ["one", "two", "three"]


def test_another_model_in_between(llm: Llm, claude: FakeCli) -> None:
    """Each CLI is told what was said without it, as a quoted transcript, and keeps its session."""
    claude.does(answer("from claude"))
    llm(*ASK, "one").ok()
    demo = llm("-c", "-m", "gateway-demo", "demo: say from demo\ntwo").answer
    assert demo == "from demo\n"
    claude.does(answer("claude again"))
    llm("-c", "-m", "gateway-claude", "three").ok()
    llm("-c", "-m", "gateway-demo", "four").ok()
    first, third = claude.calls
    assert is_resumed(third, new_id(first))
    assert third.prompt == transcript(
        "three", ("user", "demo: say from demo\ntwo"), ("assistant", "from demo")
    )
    (demo_session,) = (llm.folder / "gateway" / "demo").glob("*.json")
    prompts = [turn["prompt"] for turn in json.loads(demo_session.read_text())["turns"]]
    assert prompts == [
        transcript("demo: say from demo\ntwo", ("user", "one"), ("assistant", "from claude")),
        transcript("four", ("user", "three"), ("assistant", "claude again")),
    ]


FORK = """
import llm
first = llm.get_model("gateway-claude").prompt("one")
first.text()
first.reply("two").text()
other = first.reply("another two")
other.text()
other.reply("another three").text()
"""


def test_a_second_reply_to_the_same_answer_forks_there(llm: Llm, claude: FakeCli) -> None:
    """The vendor's session has gone on; the copy begins at the message that was replied to."""
    ran = llm.python(FORK)
    assert ran.code == 0
    first, second, third, fourth = claude.calls
    id = new_id(first)
    assert is_resumed(second, id)
    assert third.value("--resume") == id and "--fork-session" in third.argv
    assert third.value("--resume-session-at") == "uuid-msg_1"
    forked = new_id(third)
    assert forked != id
    assert third.prompt == "another two"
    assert is_resumed(fourth, forked)
    assert ran.err == f"session {id} has gone on; this prompt continues a copy of it\n"


def test_two_prompts_in_one_conversation_never_interleave(
    llm: Llm, claude: FakeCli, tmp_path: Path
) -> None:
    """The second waits for the first, says so, and then continues a copy of the session."""
    llm(*ASK, "one").ok()
    gate = tmp_path / "gate"
    slow = [init(), says("slow"), {"wait_for": str(gate)}, ended("slow")]
    claude.in_turn(*({"steps": steps, "sessions": True} for steps in ([], slow, answer("fast"))))
    two = llm.start("-c", "two")
    claude.wait_for_call(2)
    three = llm.start("-c", "three")
    assert three.stderr is not None
    waiting = three.stderr.readline().decode()
    assert len(claude.calls) == 2, waiting
    gate.touch()
    assert two.communicate(timeout=100)[0] == b"slow\n"
    out, err = three.communicate(timeout=100)
    assert out == b"fast\n"
    first, second, third = claude.calls
    id = new_id(first)
    assert waiting == f"waiting for session {id}: another prompt is running in it\n"
    assert err.decode() == f"session {id} has gone on; this prompt continues a copy of it\n"
    assert is_resumed(second, id)
    assert third.value("--resume") == id and "--fork-session" in third.argv
    assert second.ended is not None and third.began >= second.ended


def test_waiting_for_a_session_can_be_interrupted(
    llm: Llm, claude: FakeCli, recorder: Recorder, tmp_path: Path
) -> None:
    """Ctrl-C while another prompt is in the session spawns nothing."""
    llm(*ASK, "one").ok()
    claude.does(init(), {"wait_for": str(tmp_path / "gate")}, message("ok"), ended("ok"))
    two = llm.start("-c", "two")
    claude.wait_for_call(2)
    screen = llm.pty("-c", "three")
    screen.wait_for("another prompt is running in it")
    screen.type("\x03")
    assert screen.end() == 1
    (tmp_path / "gate").touch()
    assert two.wait(100) == 0
    assert len(claude.calls) == 2
    assert [row["status"] for row in recorder.requests] == ["completed", "completed", "canceled"]


def test_a_session_that_the_vendor_lost_is_started_again(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """The transcript goes into a new session; stderr and the recorder say so; -c goes on there."""
    claude.does(answer("first answer"))
    llm(*ASK, "-s", "Be brief.", "one").ok()
    claude.forget_sessions()
    ran = llm("-c", "two")
    assert ran.answer == "first answer\n"
    assert ran.err == (
        "Claude Code does not have that session. "
        "The transcript of this conversation starts a new session.\n"
    )
    first, failed, fresh = claude.calls
    assert is_resumed(failed, new_id(first))
    assert fresh.prompt == transcript("two", ("user", "one"), ("assistant", "first answer"))
    assert new_id(fresh) != new_id(first)
    last = recorder.requests[-1]
    assert (last["status"], last["session_id"]) == ("completed", new_id(fresh))
    tried = recorder.query("select * from attempts where job_id = ? order by n", last["job_id"])
    assert [a["error_category"] for a in tried] == ["session_lost", None]
    assert llm("-c", "three").err == ""
    assert is_resumed(claude.calls[-1], new_id(fresh))


def test_a_session_that_was_asked_for_by_id_is_not_replaced(llm: Llm, claude: FakeCli) -> None:
    """-o session_id names one; if the vendor has it not, that is an error."""
    ran = llm(*ASK, "-o", "session_id", "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb", "x")
    assert ran.error.startswith("Claude Code does not have that session.")
    assert len(claude.calls) == 1


def test_a_cli_that_answers_in_another_session_is_stopped(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """We chose the id; an answer from elsewhere is not this conversation's."""
    claude.does(
        {"line": {"type": "system", "subtype": "init", "session_id": "elsewhere"}}, {"hang": True}
    )
    ran = llm(*ASK, "x")
    assert "no longer has session" in ran.error
    assert recorder.request["error_category"] == "session_lost"


def test_sessions_by_option(llm: Llm, claude: FakeCli) -> None:
    """By id, the newest, or none although a conversation goes on."""
    llm(*ASK, "one").ok()
    id = new_id(claude.calls[0])
    llm(*ASK, "-o", "session_id", id, "two").ok()
    llm(*ASK, "-o", "resume_latest", "1", "three").ok()
    llm("-c", "-o", "create_new_session", "1", "four").ok()
    _, two, three, four = claude.calls
    assert is_resumed(two, id) and two.prompt == "two"
    assert is_resumed(three, id) and three.prompt == "three"
    assert new_id(four) != id and "--resume" not in four.argv
    assert "<user>\nthree\n</user>" in four.prompt


def test_the_newest_session_of_a_directory_that_has_none(llm: Llm, claude: FakeCli) -> None:
    """The CLI would begin a new one in silence."""
    llm(*ASK, "elsewhere", cwd=llm.folder).ok()
    ran = llm(*ASK, "-o", "resume_latest", "1", "x")
    assert ran.error == (
        f"Claude Code has no session of {llm.work}; leave out resume_latest to start one."
    )
    assert len(claude.calls) == 1


def test_cwd_model_and_directories_are_the_sessions(llm: Llm, claude: FakeCli) -> None:
    """Options are not given again on -c, so what belongs to the session comes from it."""
    for name in ("there", "more", "elsewhere"):
        (llm.folder / name).mkdir()
    there, more = str(llm.folder / "there"), str(llm.folder / "more")
    options = ("-o", "cwd", there, "-o", "model", "sonnet", "-o", "add_dirs", more)
    llm(*ASK, *options, "-o", "effort", "high", "one").ok()
    llm("-c", "two", cwd=llm.folder / "elsewhere").ok()
    llm("-c", "-o", "model", "opus", "-o", "cwd", str(llm.work), "three").ok()
    first, second, third = claude.calls
    assert [call.cwd for call in claude.calls] == [there, there, str(llm.work)]
    assert [call.value("--model") for call in claude.calls] == ["sonnet", "sonnet", "opus"]
    assert second.value("--add-dir") == more
    # How a single answer is made is not the session's business.
    assert first.value("--effort") == "high" and "--effort" not in second.argv
    assert is_resumed(third, new_id(first))


def test_a_directory_whose_name_is_no_text(llm: Llm, claude: FakeCli) -> None:
    """llm's log cannot hold it; from there the conversation goes on, at read."""
    place = Path(os.fsdecode(os.fsencode(llm.work) + b"/caf\xe9"))
    place.mkdir()
    llm(*ASK, "one", "-o", "access", "edit", cwd=place).ok()
    llm("-c", "two", cwd=place).ok()
    llm("gateway", "submit", "-c", "three", cwd=place).ok()
    ran = llm("gateway", "job", "wait", "@last", cwd=place)
    assert (ran.code, ran.err) == (0, "")
    first, second, third = claude.calls
    assert is_resumed(second, new_id(first)) and is_resumed(third, new_id(first))
    assert {call.cwd for call in claude.calls} == {str(place)}
    assert [call.value("--tools") for call in (second, third)] == ["Read,Grep,Glob"] * 2
    assert len(logged(llm)) == 3


def test_access_is_the_sessions_up_to_edit(llm: Llm, claude: FakeCli) -> None:
    """edit goes on, full does not: that is asked for again on every turn."""
    env = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1", "IS_SANDBOX": "1"}
    llm(*ASK, "-o", "access", "edit", "one", env=env).ok()
    llm("-c", "two", env=env).ok()
    llm("-c", "-o", "access", "full", "three", env=env).ok()
    llm("-c", "four", env=env).ok()
    llm("-c", "-o", "access", "read", "five", env=env).ok()
    modes = [call.value("--permission-mode") for call in claude.calls]
    assert modes == ["acceptEdits", "acceptEdits", "bypassPermissions", "acceptEdits", "dontAsk"]
    assert [call.value("--tools") for call in claude.calls] == [
        "Read,Grep,Glob,Edit,Write,NotebookEdit",
        "Read,Grep,Glob,Edit,Write,NotebookEdit",
        None,
        "Read,Grep,Glob,Edit,Write,NotebookEdit",
        "Read,Grep,Glob",
    ]


def test_without_the_recorder_c_works_from_llms_metadata(llm: Llm, claude: FakeCli) -> None:
    """``LLM_GATEWAY_LOGS_DB=none``: session, directory, model, access and cost all the same."""
    env = {"LLM_GATEWAY_LOGS_DB": "none"}
    (llm.folder / "there").mkdir()
    options = ("-o", "cwd", str(llm.folder / "there"), "-o", "access", "edit", "-o", "model", "m")
    claude.does(answer("a", total_cost_usd=0.25))
    llm(*ASK, *options, "one", env=env).ok()
    claude.does(answer("b", total_cost_usd=0.75))
    llm("-c", "two", env=env).ok()
    first, second = claude.calls
    assert is_resumed(second, new_id(first)) and second.prompt == "two"
    assert second.cwd == str(llm.folder / "there")
    assert second.value("--permission-mode") == "acceptEdits" and second.value("--model") == "m"
    assert sorted(row["response_json"]["cost_usd"] for row in logged(llm)) == [0.25, 0.5]
    assert not (llm.folder / "gateway" / "logs.db").exists()


def test_a_directory_that_is_gone_is_told(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The session's directory was deleted: an error before the spawn, with the way out in reach."""
    there = llm.folder / "there"
    there.mkdir()
    llm(*ASK, "-o", "cwd", str(there), "one").ok()
    there.rmdir()
    assert llm("-c", "two").error == f"The directory {there} does not exist (any more)."
    assert len(claude.calls) == 1
    last = recorder.requests[-1]
    assert (last["status"], last["error_category"], last["prompt"]) == (
        "failed",
        "invalid_input",
        "two",
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_turn_does_not_break_the_conversation(
    llm: Llm, claude: FakeCli, when: str
) -> None:
    """What llm did not log is not there for -c; the next prompt continues what was."""
    failing = [init(), message("half"), ended("x", is_error=True, api_error_status=500)]
    if when == "before":
        claude.does(failing)
        assert llm(*ASK, "failed").code == 1
    claude.does(answer("one"))
    llm(*ASK, "one").ok()
    if when == "after":
        claude.does(failing)
        assert llm("-c", "failed").code == 1
    claude.does(answer("two"))
    assert llm("-c", "two").answer == "two\n"
    good = claude.calls[0 if when == "after" else 1]
    last = claude.calls[-1]
    assert last.prompt == "two"
    assert last.value("--resume") == new_id(good)


def test_the_newest_logged_conversation_goes_on_after_n(llm: Llm, claude: FakeCli) -> None:
    """An unlogged prompt is invisible to -c."""
    llm(*ASK, "one").ok()
    llm(*ASK, "-n", "hidden").ok()
    llm("-c", "two").ok()
    assert is_resumed(claude.calls[2], new_id(claude.calls[0]))
