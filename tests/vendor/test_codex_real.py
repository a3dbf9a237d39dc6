"""What is codex's alone, on the real CLI: the scenarios of all vendors are in test_scenarios.py."""

from __future__ import annotations

import base64
import json
import os
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from battery import battery, side_effects, snapshot, tool_lines
from hostile import INSTRUCTION, SECRET, Places, make_hostile, mcp_server, widen_user_config
from runner import Completed, MockHandle, PopenFunction, RunFunction, Runner

from llm_gateway.policy.child_env import child_environment
from llm_gateway.providers.base import Launch
from llm_gateway.providers.codex import Codex
from llm_gateway.request import Access, Request, SessionPlan

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(120)]
Ask = Callable[..., Completed]
RESPONSES = "/openai/v1/responses"


@pytest.fixture
def ask(run_llm: RunFunction, repo: Path, vendor: Callable[[str], Path]) -> Ask:
    """Ask codex in the repository; a failure that was not expected is shown whole."""
    vendor("codex")

    def ask(prompt: str, *args: str, fails: bool = False, **more: Any) -> Completed:
        model = () if "-c" in args else ("-m", "gateway-codex")
        done = run_llm("prompt", *model, *args, input=prompt, **{"cwd": repo, **more})
        assert (done.returncode != 0) == fails, done
        return done

    return ask


@pytest.fixture
def logged(run_llm: RunFunction) -> Callable[[], dict[str, Any]]:
    """What llm logged last."""

    def row() -> dict[str, Any]:
        (row,) = json.loads(run_llm("logs", "-n", "1", "--json").stdout)
        return dict(row)

    return row


@pytest.fixture
def invoke(
    runner: Runner, vendor: Callable[[str], Path], tmp_path: Path
) -> Callable[[str, Path, Access, SessionPlan], Completed]:
    """Run what the provider plans, also where no prompt of llm's leads to it yet: forks."""
    executable = str(vendor("codex"))

    def invoke(prompt: str, cwd: Path, access: Access, session: SessionPlan) -> Completed:
        files = tmp_path / f"files{time.monotonic_ns()}"
        files.mkdir()
        environ = runner.environment(["codex"])
        env, _ = child_environment(environ, Codex().environment_names(environ), access)
        launch = Launch(
            executable, env, environ, str(cwd), access, session, lambda: files, tmp_path
        )
        planned = Codex().plan(Request("id", "codex", prompt), launch)
        return runner.run(list(planned.argv), ["codex"], cwd, planned.stdin, timeout=100)

    return invoke


def call(code: str) -> str:
    """The directive that makes the model run this in its one tool."""
    return f"MOCK:TOOL=exec {json.dumps({'input': f'text(await tools.{code})'})}\n"


def shell(command: str) -> str:
    return call(f"exec_command({json.dumps({'cmd': command})})")


def outputs(mock: MockHandle) -> str:
    """What the tools of the newest request gave back."""
    items = mock.bodies(RESPONSES)[-1]["input"]
    return json.dumps([item for item in items if item["type"].endswith("_output")])


def picture() -> bytes:
    """A small PNG that codex accepts; it leaves out what it cannot decode."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80\x20\x40" * 16) * 16)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Answers and sessions.


def test_messages(ask: Ask, logged: Callable[[], dict[str, Any]]) -> None:
    """Only the last message is the answer; the others are reasoning."""
    done = ask(f"MOCK:SAYTHEN=I look first.\n{shell('echo hi')}MOCK:SAY=done")
    assert done.stdout == "done\n"
    row = logged()
    assert (row["response"], row["reasoning"].strip()) == ("done", "I look first.")
    assert row["response_json"]["usage"]["input"] == 2400


def test_continues(ask: Ask, mock: MockHandle, tmp_path: Path, logged: Any) -> None:
    """``-c`` goes on in the thread, from another directory too; its usage is this turn's."""
    ask("one")
    session = logged()["response_json"]["session_id"]
    assert "turn 2 of this conversation; first was: one" in ask("two", "-c").stdout
    assert "turn 3 of this conversation; first was: one" in ask("x", "-c", cwd=tmp_path).stdout
    row = logged()
    assert row["response_json"]["session_id"] == session
    assert (row["input_tokens"], row["output_tokens"]) == (1200, 34)


def test_newest_session_of_the_directory(ask: Ask, logged: Any, tmp_path: Path) -> None:
    """Found in codex's own store, so that its sums before this turn are known; none: refused."""
    none = ask("zero", "-o", "resume_latest", "1", fails=True)
    assert "Codex has no session of" in none.stderr
    ask("one")
    ask("elsewhere", cwd=tmp_path)
    done = ask("two", "-o", "resume_latest", "1")
    assert "turn 2 of this conversation; first was: one" in done.stdout
    assert (logged()["input_tokens"], logged()["output_tokens"]) == (1200, 34)


def test_sessions_that_are_not_there(ask: Ask) -> None:
    named = ask("hi", "-o", "session_id", "latest", fails=True)
    assert "is not the id of a codex session" in named.stderr
    unknown = "11111111-2222-4333-8444-555555555555"
    lost = ask("hi", "-o", "session_id", unknown, fails=True)
    assert "Codex no longer has the session." in lost.stderr


def test_another_system_prompt(ask: Ask, mock: MockHandle) -> None:
    """Codex keeps the one that a thread began with; the new one goes before the prompt, once."""
    ask("hello", "-s", "Speak like a pirate")
    ask("again", "-c", "-s", "Speak like a judge")
    assert "Speak like a judge" in json.dumps(mock.bodies(RESPONSES)[-1]["input"][-1])
    ask("third", "-c")
    assert "Speak like a judge" not in json.dumps(mock.bodies(RESPONSES)[-1]["input"][-1])


def test_schema_and_image(ask: Ask, mock: MockHandle, tmp_path: Path) -> None:
    image = tmp_path / "one,two.png"
    image.write_bytes(picture())
    done = ask('count\nMOCK:JSON={"n": 3}', "--schema", "n int", "-a", str(image))
    assert json.loads(done.stdout) == {"n": 3}
    body = mock.bodies(RESPONSES)[-1]
    assert body["text"]["format"]["schema"]["additionalProperties"] is False
    assert base64.b64encode(picture()).decode() in json.dumps(body)


# Access.


def test_levels(ask: Ask, repo: Path, tmp_path: Path) -> None:
    """What was edited before is read-only again; directories that were added stay writable."""
    extra = tmp_path / "extra"
    extra.mkdir()
    write = shell(f"touch made; touch {extra}/made; touch {tmp_path}/made; true")
    made = [repo / "made", extra / "made"]
    refused = ask(write)
    assert not any(path.exists() for path in made)
    assert "1 action was refused at access read" in refused.stderr
    ask(write, "-c", "-o", "access", "edit", "-o", "add_dirs", str(extra))
    assert all(path.exists() for path in made)
    assert not (tmp_path / "made").exists()
    for path in made:
        path.unlink()
    ask(write, "-c", "-o", "access", "read")
    assert not any(path.exists() for path in made)


@pytest.mark.parametrize("kind", ["fork", "resume"])
def test_battery_at_read(invoke: Any, places: Places, mock: MockHandle, kind: str) -> None:
    """A thread that was made at full is read-only when it goes on at read, or its fork does."""
    make_hostile(places)
    widen_user_config(places, "codex")
    first = invoke("hello", places.workspace, Access.FULL, SessionPlan())
    session = str(first.events()[0]["thread_id"])
    for mark in places.marks.iterdir():
        mark.unlink()
    before = snapshot(places)
    calls = tool_lines(battery("codex", places))
    done = invoke(calls, places.workspace, Access.READ, SessionPlan(kind, session))
    assert done.returncode == 0, done
    assert (done.events()[0]["thread_id"] == session) == (kind == "resume")
    assert side_effects(before, snapshot(places)) == []
    assert places.markers() == []
    assert not mock.requests("/battery") and not mock.requests("/evil")


@pytest.mark.parametrize("kind", ["new", "fork", "resume"])
def test_battery_at_edit(invoke: Any, places: Places, mock: MockHandle, kind: str) -> None:
    """What changes is in the workspace, but neither Git's nor codex's own part of it."""
    make_hostile(places)
    widen_user_config(places, "codex")
    session = SessionPlan()
    if kind != "new":
        first = invoke("hello", places.workspace, Access.READ, session)
        session = SessionPlan(kind, str(first.events()[0]["thread_id"]))
    before = snapshot(places)
    calls = tool_lines(battery("codex", places))
    done = invoke(calls, places.workspace, Access.EDIT, session)
    assert done.returncode == 0, done
    effects = side_effects(before, snapshot(places))
    assert {"+workspace/b_touch", "+workspace/b_write", "~workspace/add.py"} <= set(effects)
    kept = ("workspace/.git/", "workspace/.codex/", "outside/", "home/")
    assert [e for e in effects if e[1:].startswith(kept)] == []
    assert places.markers() == []
    assert not mock.requests("/battery") and not mock.requests("/evil")


@pytest.mark.parametrize("level", ["read", "edit"])
def test_trusted_subdirectory(ask: Ask, places: Places, level: str) -> None:
    """Not only the top of the repository can be trusted, and have settings."""
    make_hostile(places)
    inner = places.workspace / "inner"
    (inner / ".codex").mkdir(parents=True)
    server = "".join(f"{k} = {json.dumps(v)}\n" for k, v in mcp_server(places, "inner").items())
    (inner / ".codex" / "config.toml").write_text(f'model = "evil"\n[mcp_servers.inner]\n{server}')
    with (places.home / ".codex" / "config.toml").open("a") as file:
        for folder in (places.workspace, inner):
            file.write(f'\n[projects."{folder}"]\ntrust_level = "trusted"\n')
    ask("hi", "-o", "access", level, cwd=inner)
    assert places.markers() == []


def test_trust_workspace(ask: Ask, hostile_repo: Places) -> None:
    """It does what it says, also where the user's codex has not been asked yet."""
    ask("hi", cwd=hostile_repo.workspace)
    assert hostile_repo.markers() == []
    ask("hi", "-o", "trust_workspace", "1", cwd=hostile_repo.workspace)
    assert "codex_mcp" in hostile_repo.markers()


def test_instructions(ask: Ask, mock: MockHandle, hostile_repo: Places) -> None:
    """The workspace's are read, but no link that leads out of it."""
    (hostile_repo.workspace / "inner").mkdir()
    link = hostile_repo.workspace / "inner" / "AGENTS.md"
    link.symlink_to(hostile_repo.home / ".ssh" / "id_test")
    ask("hi", cwd=hostile_repo.workspace / "inner")
    body = json.dumps(mock.bodies(RESPONSES)[-1])
    assert f"{INSTRUCTION} AGENTS.override.md" in body
    assert SECRET not in body


def test_environment(ask: Ask, mock: MockHandle, home: Path) -> None:
    """Its key comes from where config.toml says, and no shell command sees it."""
    config = home / ".codex" / "config.toml"
    config.write_text(config.read_text().replace('"OPENAI_API_KEY"', '"MY_OWN_NAME"'))
    env = {"OPENAI_API_KEY": None, "MY_OWN_NAME": "sk-own", "XAI_API_KEY": "x", "VIRTUAL_ENV": "/v"}
    ask(shell("env | cut -d= -f1 | sort | xargs"), env=env)
    assert {r["headers"]["authorization"] for r in mock.requests(RESPONSES)} == {"Bearer sk-own"}
    seen = outputs(mock)
    assert "VIRTUAL_ENV" in seen and "LLM_GATEWAY_ACCESS_CAP" in seen and "LLM_GATEWAY_RUN" in seen
    assert "MY_OWN_NAME" not in seen and "_API_KEY" not in seen


# Failures.


@pytest.mark.parametrize(
    ("prompt", "env", "says"),
    [
        ("MOCK:STATUS=429 MOCK:RETRYAFTER=2\nhi", {}, "this prompt may wait 0 s"),
        ("MOCK:STATUS=500\nhi", {}, "this prompt may wait 0 s"),
        (
            "hi",
            {"OPENAI_API_KEY": "sk-bad"},
            "waiting does not mend that. Log in with: codex login",
        ),
        ("hi", {"OPENAI_API_KEY": None}, "Codex takes its key from OPENAI_API_KEY"),
        ("MOCK:MAXTOK\nhi", {}, "hit the model's output limit"),
        ("MOCK:EMPTY\nhi", {}, "ended without an answer"),
    ],
)
def test_failures(ask: Ask, prompt: str, env: dict[str, str | None], says: str) -> None:
    """They end soon: codex's own retries count, and those that are in vain are cut short."""
    done = ask(prompt, "-o", "retry_wait", "0", fails=True, env=env)
    assert says in done.stderr
    assert "(session " in done.stderr
    assert done.seconds < 10


def test_no_network(ask: Ask, home: Path, mock: MockHandle) -> None:
    """Codex would wait for it without end."""
    config = home / ".codex" / "config.toml"
    config.write_text(config.read_text().replace(f"{mock.url}/openai", "http://127.0.0.1:9"))
    done = ask("hi", "-o", "retry_wait", "5", fails=True)
    assert "codex waits for the network" in done.stderr
    assert done.seconds < 15


def test_ctrl_c(
    popen_llm: PopenFunction, runner: Runner, mock: MockHandle, repo: Path, vendor: Any
) -> None:
    """Ctrl-C while a shell command runs ends both."""
    vendor("codex")
    process = popen_llm(
        *("prompt", "-m", "gateway-codex", shell("sleep 61")),
        cwd=repo,
        stdin=subprocess.DEVNULL,
    )
    mock.wait_for(RESPONSES)
    wait_until(lambda: any("sleep 61" in line for line in commands(runner.left())))
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=15)
    assert process.returncode == 1
    wait_until(lambda: runner.left() == [])


def wait_until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def commands(pids: Iterable[int]) -> list[str]:
    """The command lines of processes."""
    found = []
    for pid in pids:
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
