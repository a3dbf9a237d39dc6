"""One list of scenarios over every vendor: the real CLI, through llm, against the mock server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from battery import battery, side_effects, snapshot, tool_lines
from hostile import Places, make_hostile, widen_user_config
from runner import Completed, MockHandle, PopenFunction, RunFunction, Runner
from vendors import PNG, VENDORS, Vendor

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(240)]
Ask = Callable[..., Completed]
TRICKY = (
    "-x --help is no flag\n"
    "/cost is no command, `@/etc/hostname` no file, me@example.org neither\n"
    "  'quotes' \"double\" $(touch no) $HOME \\ back  héllo ☕ 😀 \n"
    "!bang #hash\ttab"
)


@pytest.fixture(params=sorted(VENDORS))
def on(request: pytest.FixtureRequest, vendor: Callable[[str], Path]) -> Vendor:
    """A vendor whose CLI is installed, unless the table says that it lacks this scenario."""
    chosen = VENDORS[request.param]
    scenario = request.node.originalname.removeprefix("test_")
    prompt = request.node.callspec.params.get("prompt")
    if reason := chosen.lacks.get(scenario) or chosen.lacks.get(f"{scenario}[{prompt}]"):
        pytest.skip(reason)
    vendor(chosen.name)
    return chosen


@pytest.fixture
def ask(run_llm: RunFunction, repo: Path, on: Vendor) -> Ask:
    """Ask the vendor's model in the repository; a failure is shown whole."""

    def ask(prompt: str, *args: str, fails: bool = False, **more: Any) -> Completed:
        model = () if "-c" in args else ("-m", on.model)
        done = run_llm("prompt", *model, *args, input=prompt, **{"cwd": repo, **more})
        assert (done.returncode != 0) == fails, done
        return done

    return ask


@pytest.fixture
def recorded(runner: Runner) -> Callable[[str], list[dict[str, Any]]]:
    """Rows of the flight recorder."""

    def rows(sql: str) -> list[dict[str, Any]]:
        conn = sqlite3.connect(runner.gateway_home / "logs.db")
        conn.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in conn.execute(sql)]
        finally:
            conn.close()

    return rows


def _last(recorded: Callable[[str], list[dict[str, Any]]]) -> dict[str, Any]:
    return recorded("select * from requests order by datetime_utc desc, id desc limit 1")[0]


def test_first_answer(ask: Ask, mock: MockHandle, on: Vendor) -> None:
    """A prompt reaches the model byte-exact, and its answer reaches stdout alone."""
    done = ask(TRICKY)
    assert "turn 1 of this conversation" in done.stdout
    assert done.stderr == ""
    assert TRICKY in on.texts(on.asked(mock)[-1])


@pytest.mark.parametrize("prompt", ["/cost", "//model x", "/", "@/etc/hostname", "help"])
def test_prompt_is_data(ask: Ask, mock: MockHandle, on: Vendor, prompt: str) -> None:
    """What the CLI would execute or expand arrives as the words that were typed."""
    ask(prompt)
    body = on.asked(mock)[-1]
    assert prompt in on.texts(body)
    hostname = Path("/etc/hostname").read_text().strip()
    assert hostname not in json.dumps(body)


def test_continues(ask: Ask, run_llm: RunFunction, on: Vendor, repo: Path, tmp_path: Path) -> None:
    """``llm -c`` continues the vendor's own session, also from another directory."""
    ask("first words")
    second = ask("second words", "-c")
    assert "turn 2 of this conversation; first was: first words" in second.stdout
    third = ask("third words", "-c", cwd=tmp_path)
    assert "turn 3 of this conversation; first was: first words" in third.stdout
    logged = json.loads(run_llm("logs", "-n", "3", "--json").stdout)
    assert len({row["response_json"]["session_id"] for row in logged}) == 1


def test_session_that_is_lost(ask: Ask, on: Vendor, runner: Runner, run_llm: RunFunction) -> None:
    """Where the vendor has lost the session, the transcript starts a new one, and that is said."""
    ask("first words")
    (row,) = json.loads(run_llm("logs", "-n", "1", "--json").stdout)
    session_id = row["response_json"]["session_id"]
    lost = [path for path in runner.home.rglob(f"*{session_id[:8]}*") if ".llm" not in str(path)]
    assert lost
    for path in lost:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = ask("second words", "-c")
    assert "The transcript of this conversation starts a new session." in done.stderr
    assert "first words" in done.stdout and "second words" in done.stdout
    unknown = ask("x", "-o", "session_id", str(uuid.uuid4()), fails=True)
    assert "session" in unknown.stderr and "Traceback" not in unknown.stderr


def test_usage_is_of_this_turn(ask: Ask, run_llm: RunFunction, on: Vendor) -> None:
    """Tokens and cost of a continued session are not counted again."""
    ask("one")
    ask("two", "-c")
    first, second = json.loads(run_llm("logs", "-n", "2", "--json").stdout)
    assert first["input_tokens"] == second["input_tokens"] > 0
    assert first["output_tokens"] == second["output_tokens"] > 0
    costs = [row["response_json"]["cost_usd"] for row in (first, second)]
    assert costs[0] == pytest.approx(costs[1])


def test_system_prompt(ask: Ask, mock: MockHandle, on: Vendor) -> None:
    """``-s`` reaches the model with the first turn, and still holds on the second."""
    ask("hello", "-s", "Speak like a pirate")
    assert "Speak like a pirate" in on.system(on.asked(mock)[-1])
    ask("again", "-c")
    assert "Speak like a pirate" in on.system(on.asked(mock)[-1])


def test_instruction_files(ask: Ask, mock: MockHandle, on: Vendor, repo: Path) -> None:
    """The workspace's instructions for agents are read as text, but no link out of it is."""
    (repo / on.instructions).write_text("Always mention the number 4711.\n")
    ask("hello")
    assert "the number 4711" in json.dumps(on.asked(mock)[-1])


def test_schema(ask: Ask, on: Vendor) -> None:
    """``--schema`` gives the JSON and nothing else."""
    done = ask('who\nMOCK:JSON={"name": "Ada", "age": 36}', "--schema", "name, age int")
    assert json.loads(done.stdout) == {"name": "Ada", "age": 36}


def test_image(ask: Ask, mock: MockHandle, on: Vendor, tmp_path: Path) -> None:
    """``-a`` puts the image itself before the model."""
    image = tmp_path / "pixel.png"
    image.write_bytes(PNG)
    ask("what is this", "-a", str(image))
    import base64

    assert base64.b64encode(PNG).decode()[:40] in json.dumps(on.asked(mock)[-1])


def test_reads_a_file(ask: Ask, run_llm: RunFunction, on: Vendor, repo: Path) -> None:
    """At ``read`` the agent reads the workspace, and ``llm logs`` shows what it did."""
    done = ask(on.read(repo / "README.md"))
    assert "Tools run: 1; errors: 0" in done.stdout
    (row,) = json.loads(run_llm("logs", "-n", "1", "--json").stdout)
    assert row["tool_calls"] and row["tool_results"]


def test_write_needs_edit(ask: Ask, on: Vendor, repo: Path) -> None:
    """A write is refused at ``read`` and told; at ``edit`` it is done, on a continued turn too."""
    target = repo / "made.txt"
    done = ask(on.write(target))
    assert not target.exists()
    assert "refused at access read; -o access edit allows more" in done.stderr
    ask(on.write(target), "-c", "-o", "access", "edit")
    assert target.exists()


def test_read_holds_after_edit(ask: Ask, on: Vendor, repo: Path) -> None:
    """A session that was made at ``edit`` writes nothing when it goes on at ``read``."""
    ask("hello", "-o", "access", "edit")
    ask(on.write(repo / "made.txt"), "-c", "-o", "access", "read")
    assert not (repo / "made.txt").exists()


def _foreign(places: Places) -> list[str]:
    """What ran, but for the user's own MCP server, which may start; its tools must not run."""
    return [mark for mark in places.markers() if mark != "user_mcp"]


@pytest.mark.parametrize("level", ["read", "edit"])
def test_hostile_repository(
    run_llm: RunFunction, mock: MockHandle, on: Vendor, hostile_repo: Places, level: str
) -> None:
    """Nothing that a hostile repository brings runs, and nobody else gets the user's key."""
    widen_user_config(hostile_repo, on.name, trust=on.trust)
    before = mock.url
    for extra in (("-m", on.model), ("-c",)):
        done = run_llm(
            *("prompt", *extra, "-o", "access", level), input="hi", cwd=hostile_repo.workspace
        )
        assert done.returncode == 0, done
    assert _foreign(hostile_repo) == []
    assert before == mock.url
    assert [r["path"] for r in mock.requests("evil")] == []


def test_battery_at_read(
    run_llm: RunFunction, on: Vendor, places: Places, recorded: Callable[[str], Any]
) -> None:
    """Nothing that a model can ask for at ``read`` changes anything: new, resumed, forked."""
    make_hostile(places)
    widen_user_config(places, on.name, trust=on.trust)
    calls = tool_lines(battery(on.name, places)) + "MOCK:SAY=done"
    before = snapshot(places)
    for extra in (("-m", on.model), ("-c",)):
        done = run_llm("prompt", *extra, input=calls, cwd=places.workspace, timeout=200)
        assert done.returncode == 0, done
        assert side_effects(before, snapshot(places)) == []
    assert _foreign(places) == []


ERRORS = {
    "MOCK:STATUS=400": "invalid_input",
    "MOCK:STATUS=401": "auth",
    "MOCK:STATUS=403": "auth",
    "MOCK:STATUS=404": "model_not_found",
    "MOCK:STATUS=429": "rate_limited",
    "MOCK:STATUS=500": "overloaded",
    "MOCK:STATUS=529": "overloaded",
    "MOCK:DROP=all": "network",
    "MOCK:REFUSE": "refused",
    "MOCK:MAXTOK": "limit_reached",
}


@pytest.mark.parametrize("order", sorted(ERRORS))
def test_error_classes(
    ask: Ask, on: Vendor, order: str, recorded: Callable[[str], list[dict[str, Any]]]
) -> None:
    """Each failure of the vendor ends soon, as the category that it is, with the session's id."""
    if reason := on.lacks.get(order):
        pytest.skip(reason)
    done = ask(f"{order}\nhi", "-o", "retry_wait", "1", fails=True)
    assert done.seconds < 15
    row = _last(recorded)
    category, _ = on.differs.get(order, (ERRORS[order], ""))
    assert (row["status"], row["error_category"]) == ("failed", category), done
    assert row["session_id"] or not on.early
    assert (row["session_id"] or "") in done.stderr


def test_no_key(ask: Ask, on: Vendor, recorded: Callable[[str], Any]) -> None:
    """Without a login the message says how to log in, and names a key that was withheld."""
    keys = dict.fromkeys(("ANTHROPIC_API_KEY", "XAI_API_KEY", "GEMINI_API_KEY"))
    env = {**keys, "OPENAI_API_KEY": None, "GITHUB_TOKEN": "ghp_fake"}
    done = ask("hi", "-o", "retry_wait", "1", fails=True, env=env)
    assert _last(recorded)["error_category"] == "auth", done
    assert "GITHUB_TOKEN" in done.stderr


def test_ctrl_c(
    popen_llm: PopenFunction, runner: Runner, on: Vendor, repo: Path, recorded: Callable[[str], Any]
) -> None:
    """Ctrl-C ends the CLI's whole tree; what had arrived stays printed and recorded."""
    process = popen_llm(
        *("prompt", "-m", on.model, "count\nMOCK:SLOW=0.2\nMOCK:WORDS=200"),
        cwd=repo,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    first = os.read(process.stdout.fileno(), 4096)
    assert first
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 1, err
    deadline = time.monotonic() + 3
    while runner.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert runner.left() == []
    row = _last(recorded)
    assert (row["status"], row["error_category"]) == ("canceled", "canceled")
    printed = (first + out).decode().strip()
    assert printed and row["response"].startswith(printed)


FORK = """
import llm, sqlite_utils, sys
from llm.cli import logs_db_path
from llm.logs import LogStore
from llm.parts import user
store = LogStore(sqlite_utils.Database(logs_db_path()))
messages = store.thread_messages(sys.argv[2])[:2]
answer = llm.get_model(sys.argv[1]).prompt(messages=[*messages, user("another way")])
print(answer.text())
"""


def test_its_own_sessions_are_found_and_adopted(
    ask: Ask, on: Vendor, runner: Runner, repo: Path
) -> None:
    """The CLI's store is read as that CLI writes it; what is found there can be continued."""

    def gateway(*args: str) -> Completed:
        done = runner.run(["llm-gateway", *args], runner.names, repo)
        assert done.returncode == 0, done
        return done

    ask("first \x1b[31mwords\x1b[0m\nand more", env={"LLM_GATEWAY_LOGS_DB": "none"})
    (found,) = json.loads(gateway("sessions", "--discover", "--cwd", ".", "--json").stdout)
    told = {key: found[key] for key in ("provider", "cwd", "title", "turns", "known")}
    assert told == {
        "provider": on.name,
        "cwd": str(repo),
        "title": "first words and more",
        "turns": 1,
        "known": False,
    }
    named = ("--provider", on.name, "--id", found["session_id"])
    assert "does not seem" not in gateway("session", "create", "mine", *named).stderr
    assert "turn 2 of this" in ask("more", "-o", "session", "mine").stdout
    (again,) = json.loads(gateway("sessions", "--discover", "--cwd", ".", "--json").stdout)
    assert (again["turns"], again["known"], again["name"]) == (2, True, "mine")


def test_second_reply(ask: Ask, on: Vendor, run_llm: RunFunction, runner: Runner) -> None:
    """A second reply to the same answer does not see the first, and leaves its session alone."""
    ask("first words")
    (row,) = json.loads(run_llm("logs", "-n", "1", "--json").stdout)
    ask("one way", "-c")
    argv = [sys.executable, "-c", FORK, on.model, row["conversation_id"]]
    done = runner.run(argv, [on.name], Path(row["response_json"]["cwd"]), None, None, 60)
    assert done.returncode == 0, done
    assert "another way" in done.stdout and "one way" not in done.stdout
    assert "turn 2 of this conversation" in done.stdout or "first words" in done.stdout
    assert "turn 3 of this conversation" in ask("go on", "-c").stdout


def test_dropped_stream_is_said_once(ask: Ask, on: Vendor) -> None:
    """Text that the CLI streams again after a retry of its own appears once."""
    done = ask("MOCK:DROP\nMOCK:TIMES=1\nMOCK:WORDS=30\nMOCK:SLOW=0.02")
    words = done.stdout.split()
    assert len(words) == len(set(words)) == 30
