"""``llm gateway submit`` and what becomes of a submitted job's answer."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from llm.cli import cli

from llm_gateway.commands import exits, group
from tests.fakes.claude import answer
from tests.fakes.cli import Call, FakeCli, until
from tests.harness import Llm, Recorder

PROGRAM = str(Path(sys.executable).with_name("llm-gateway"))
DEMO = ("-m", "gateway-demo")


@pytest.fixture(autouse=True)
def _somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bin_dir: Path) -> Iterator[None]:
    """Commands of this process run in a directory of the test, with the PATH of the test."""
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    yield


def typed(*args: str, input: str | None = None) -> Result:
    """``llm …`` in this process; the workers are real ones."""
    return CliRunner().invoke(cli, args, input=input, catch_exceptions=False)


def submit(*args: str, input: str | None = None) -> str:
    """The id that ``submit`` printed: its last word, and here its only one."""
    ran = typed("gateway", "submit", *args, input=input)
    assert ran.exit_code == 0, ran.output
    (job_id,) = ran.stdout.split()
    return job_id


def said(*args: str) -> Any:
    """The JSON of a command."""
    return json.loads(typed(*args).stdout)


ZERO = ("-o", "retries", "0", "-o", "reuse", "0")  # what was said is logged, nothing included


def test_a_submitted_job_is_logged_once_when_it_is_fetched(llm: Llm, recorder: Recorder) -> None:
    """llm's own logs have its answer after the first fetch through llm, and ``-c`` continues it."""
    begun = llm("gateway", "submit", *DEMO, *ZERO, "-s", "Be brief", "first words").ok()
    (job_id,) = begun.out.split()
    assert llm.run(PROGRAM, "job", "wait", job_id).ok().out == ""
    answer = llm.run(PROGRAM, "job", "result", job_id).answer
    assert "You said: first words" in answer
    assert said("logs", "--json") == [], "llm-gateway does not load llm, so it logs nothing"
    fetching = [llm.start("gateway", "job", "result", job_id) for _ in range(2)]
    assert {p.communicate(timeout=60)[0].decode() for p in fetching} == {answer}
    (row,) = said("logs", "--json")
    assert row["response"] == answer.rstrip("\n") and row["prompt"] == "first words"
    assert row["system"] == "Be brief" and row["model"] == "gateway-demo"
    assert row["resolved_model"] == "demo-1" and row["output_tokens"] > 0
    assert row["response_json"]["job_id"] == job_id and row["options_json"] == {
        "retries": 0,
        "reuse": False,
    }
    (request,) = recorder.requests
    assert (request["turn_id"], request["thread_id"]) == (row["id"], row["conversation_id"])
    assert "(turn 2 of this session" in llm("-c", "second").answer
    assert submit("-c", "third") != job_id
    assert "(turn 3 of this session" in typed("gateway", "job", "tail", "-f", "@last").stdout
    rows = said("logs", "--json")
    assert [r["prompt"] for r in rows] == ["first words", "second", "third"]
    assert {r["conversation_id"] for r in rows} == {row["conversation_id"]}


def test_logs_of_llms_that_cannot_be_opened_cost_a_warning(llm: Llm, tmp_path: Path) -> None:
    """Neither the answer nor the exit code; the next fetch logs it."""
    job_id = llm("gateway", "submit", *DEMO, "hello").answer.strip()
    (tmp_path / "file").touch()
    for args in (("wait", job_id), ("result", job_id)):
        ran = llm("gateway", "job", *args, env={"LLM_USER_PATH": str(tmp_path / "file")})
        assert ran.ok().err.startswith("llm's logs do not have the answer yet: ")
    assert ran.out.startswith("You said: hello\n")
    assert said("logs", "--json") == []
    llm("gateway", "job", "result", job_id).ok()
    assert [row["prompt"] for row in said("logs", "--json")] == ["hello"]


def test_a_log_of_llms_that_cannot_be_used_is_named(llm: Llm, tmp_path: Path) -> None:
    """It is not the recorder that has to be looked at."""
    (tmp_path / "llm" / "logs.db").mkdir(parents=True)
    ran = llm("gateway", "submit", *DEMO, "hello")
    log = tmp_path / "llm" / "logs.db"
    assert ran.error == f"llm's own log {log} cannot be used: unable to open database file."


def test_submit_returns_while_the_job_goes_on() -> None:
    """Until it is canceled, here."""
    job_id = submit(*DEMO, "demo: hang")
    early = typed("gateway", "job", "result", job_id)
    assert (early.exit_code, early.stdout) == (exits.LATER, "")
    assert typed("gateway", "job", "cancel", job_id).exit_code == 0
    assert typed("gateway", "job", "wait", job_id).exit_code == exits.INTERRUPTED
    assert said("logs", "--json") == []


def test_what_ended_is_logged_though_the_others_did_not_end_in_time(llm: Llm) -> None:
    """The next command finds the answer in llm's logs."""
    quick, slow = submit(*DEMO, "quick"), submit(*DEMO, "demo: hang")
    ran = typed("gateway", "job", "wait", quick, slow, "--timeout", "5")
    assert ran.exit_code == exits.TIMED_OUT and slow in ran.stderr
    assert [row["prompt"] for row in said("logs", "--json")] == ["quick"]
    assert typed("gateway", "job", "cancel", slow).exit_code == 0


def test_a_stdin_that_was_closed_says_nothing(llm: Llm) -> None:
    """As for a daemon, whose descriptors are all closed."""
    ran = llm.run("/bin/sh", "-c", f"exec {PROGRAM} submit -m gateway-demo x <&-")
    assert llm.run(PROGRAM, "job", "wait", ran.answer.strip()).ok()


WRONG = [
    (("-m", "no-such-model", "x"), exits.USAGE, "Unknown model"),
    (("-m", "gpt-4o-mini", "x"), exits.USAGE, "not a model of the gateway"),
    ((*DEMO, "-o", "acess", "edit", "x"), exits.USAGE, "acess"),
    ((*DEMO, "-a", "missing.png", "x"), exits.USAGE, "missing.png"),
    ((*DEMO, "-f", "missing.txt", "x"), exits.USAGE, "missing.txt"),
    ((*DEMO, "-t", "missing", "x"), exits.USAGE, "missing"),
    ((*DEMO, ""), exits.BAD_DATA, "empty"),
    ((*DEMO, "-o", "cwd", "/no/such/place", "x"), exits.BAD_DATA, "/no/such/place"),
    ((*DEMO, "-o", "access", "full", "x"), exits.POLICY, "full"),
]


@pytest.mark.parametrize(("args", "code", "words"), WRONG)
def test_what_is_wrong_is_said_before_anything_begins(
    args: tuple[str, ...], code: int, words: str, recorder: Recorder
) -> None:
    """With an exit code by cause, on stderr, and no id."""
    ran = typed("gateway", "submit", *args)
    assert (ran.exit_code, ran.stdout) == (code, ""), ran.output
    assert words in ran.stderr and "Error: " in ran.stderr
    assert recorder.query("select 1 from attempts") == []


def test_a_missing_cli_and_a_recorder_that_is_off_have_codes_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is to be installed, and which variable it was."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    ran = typed("gateway", "submit", "-m", "gateway-grok", "x")
    assert ran.exit_code == exits.CLI_MISSING and "npm install" in ran.stderr
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", "none")
    ran = typed("gateway", "submit", *DEMO, "x")
    assert ran.exit_code == exits.BAD_DATA and "LLM_GATEWAY_LOGS_DB" in ran.stderr
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", __file__)
    ran = typed("gateway", "submit", *DEMO, "x")
    assert ran.exit_code == exits.OTHER and "llm gateway doctor" in ran.stderr


def test_a_job_gets_what_a_prompt_in_the_foreground_gets(claude: FakeCli, tmp_path: Path) -> None:
    """stdin, fragments, system prompt, schema, attachment, template, options: the same call."""
    claude.does(answer('{"name": "x", "place": "y"}'))
    (tmp_path / "part.txt").write_text("a fragment")
    (tmp_path / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 20)
    (tmp_path / "brief.yaml").write_text("system: Be brief\nprompt: 'Asked: $input'\n")
    args = (
        *("-m", "gateway-claude", "-t", str(tmp_path / "brief.yaml")),
        *("-f", str(tmp_path / "part.txt"), "--schema", "name, place"),
        *("-a", str(tmp_path / "dot.png"), "-o", "access", "edit", "-o", "model", "opus"),
        "the prompt",
    )
    ran = typed("prompt", "-n", *args, input="from stdin")
    assert ran.exit_code == 0, ran.output
    job_id = submit(*args, input="from stdin")
    assert typed("gateway", "job", "wait", job_id).exit_code == 0
    here, there = claude.calls
    assert there.prompt == here.prompt and there.blocks == here.blocks
    assert [f["text"] for f in there.files.values()] == [f["text"] for f in here.files.values()]
    assert _without_own(there) == _without_own(here)
    (row,) = said("logs", "--json")
    assert json.loads(row["response"]) == {"name": "x", "place": "y"}
    assert [a["type"] for a in row["attachments"]] == ["image/png"]
    (turn,) = Recorder(tmp_path / "llm" / "logs.db").query("select * from turns")
    assert turn["schema_id"] and json.loads(turn["options_json"])["access"] == "edit"


def test_a_bad_setting_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is submitted, as with any prompt; the id is the only word on stdout."""
    monkeypatch.setenv("LLM_GATEWAY_MAX_JOBS", "none")
    ran = typed("gateway", "submit", *DEMO, "x")
    assert "LLM_GATEWAY_MAX_JOBS=none" in ran.stderr and ran.stderr.count("\n") == 1
    assert typed("gateway", "job", "wait", *ran.stdout.split()).stderr == ""


def test_an_attachment_may_go_once_the_job_has_its_id(tmp_path: Path) -> None:
    """A script tidies up; the job has what was in it then, and so have llm's logs."""
    shot = tmp_path / "shot.png"
    shot.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 20)
    job_id = submit(*DEMO, "-a", str(shot), "what is this?")
    shot.unlink()
    ran = typed("gateway", "job", "wait", job_id)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "28 bytes" in typed("gateway", "job", "result", job_id).stdout
    (row,) = said("logs", "--json")
    assert [a["type"] for a in row["attachments"]] == ["image/png"]


def _without_own(call: Call) -> list[str]:
    """The command line without what each call has of its own."""
    own = {call.value("--session-id"), *call.files}
    return [argument for argument in call.argv if argument not in own]


def test_the_same_prompt_again_has_the_same_job() -> None:
    """stderr says so; the job is the one that runs."""
    first = submit(*DEMO, "demo: hang")
    ran = typed("gateway", "submit", *DEMO, "demo: hang")
    assert ran.stdout.split() == [first] and f"joined job {first}" in ran.stderr
    assert typed("gateway", "job", "cancel", first).exit_code == 0


def test_a_fetch_that_cannot_log_is_made_good_by_the_next(tmp_path: Path) -> None:
    """The answer is printed all the same; what was said in between stays where it belongs."""
    assert typed(*DEMO, "first").exit_code == 0
    job_id = submit("-c", "second")
    assert CliRunner().invoke(group, ["job", "wait", job_id]).exit_code == 0
    typed("-c", "third")
    logs = sqlite3.connect(tmp_path / "llm" / "logs.db", isolation_level=None)
    logs.execute("BEGIN EXCLUSIVE")
    early = typed("gateway", "job", "result", job_id)
    logs.execute("COMMIT")
    logs.close()
    assert early.exit_code == 0 and "second" in early.stdout
    assert "not in llm's logs yet" in early.stderr and early.stderr.count("\n") == 1
    for _ in range(2):
        assert typed("gateway", "job", "result", job_id).stderr == ""
    turns = Recorder(tmp_path / "llm" / "logs.db").query("select * from turns order by id")
    assert [row["prompt"] for row in said("logs", "--json")] == ["first", "second", "third"]
    assert len({turn["thread_id"] for turn in turns}) == 1
    (parent,) = Recorder(tmp_path / "llm" / "logs.db").query(
        "select parent_hash from messages where hash = ?", turns[1]["parent_message_hash"]
    )
    assert parent["parent_hash"] == turns[0]["tip_message_hash"]


def test_a_durable_prompt_whose_asker_was_killed_is_logged_by_the_fetch(llm: Llm) -> None:
    """llm could not do it any more."""
    asker = llm.start(*DEMO, "-o", "durable", "1", "demo: slow 0.3\ndemo: words 6")
    job = until(lambda: [j for j in said("gateway", "jobs", "--json") if j["pid"]])[0]
    asker.kill()
    assert typed("gateway", "job", "wait", job["id"]).exit_code == 0
    (row,) = said("logs", "--json")
    assert row["response"].split()[-1] == "word6"
    assert said("gateway", "job", "show", "--json", job["id"])["delivered"] is None
    assert typed("gateway", "job", "result", job["id"]).exit_code == 0
    assert said("gateway", "job", "show", "--json", job["id"])["delivered"]


@pytest.mark.parametrize("how", ["not logged", "logs off"])
def test_what_llm_would_not_log_is_not_logged(how: str) -> None:
    """With -n, and while llm's logs are off; the answer can be fetched all the same."""
    if how == "logs off":
        typed("logs", "off")
    job_id = submit(*DEMO, *(["-n"] if how == "not logged" else []), "secret words")
    assert typed("gateway", "job", "wait", job_id).exit_code == 0
    assert "secret words" in typed("gateway", "job", "result", job_id).stdout
    again = typed("gateway", "job", "result", job_id)
    assert (again.exit_code, again.stdout) == (exits.OTHER, "") and "not kept" in again.stderr
    assert said("logs", "--json") == []
    assert said("gateway", "jobs", "--json")[0]["id"] == job_id
