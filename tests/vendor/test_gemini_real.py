"""The real gemini through ``llm -m gateway-gemini``: what only it does, or does in its own way."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from battery import battery, side_effects, snapshot, tool_lines
from hostile import INSTRUCTION, SECRET, Places, make_hostile, widen_user_config
from runner import Completed, MockHandle, PopenFunction, RunFunction, Runner
from vendors import PNG

from llm_gateway.providers.base import Launch
from llm_gateway.providers.gemini import Gemini
from llm_gateway.request import Access, Request, SessionPlan

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(240)]
Ask = Callable[..., Completed]
FULL = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1"}
ENTER = ("enter_plan_mode", {"reason": "to plan"})
LEAVE = ("exit_plan_mode", {"plan_filename": "plan.md"})
MISSING = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def ask(vendor: Callable[[str], Path], run_llm: RunFunction, repo: Path) -> Ask:
    """Ask gemini in the repository; a run that does not end as expected is shown whole."""
    vendor("gemini")

    def ask(prompt: str, *args: str, fails: bool = False, **more: Any) -> Completed:
        model = () if "-c" in args else ("-m", "gateway-gemini")
        done = run_llm("prompt", *model, *args, input=prompt, **{"cwd": repo, **more})
        assert (done.returncode != 0) == fails, done
        return done

    return ask


@pytest.fixture
def last(runner: Runner) -> Callable[[], dict[str, Any]]:
    """The newest row of the flight recorder."""

    def row() -> dict[str, Any]:
        conn = sqlite3.connect(runner.gateway_home / "logs.db")
        conn.row_factory = sqlite3.Row
        try:
            newest = "select * from requests order by datetime_utc desc, id desc limit 1"
            return dict(conn.execute(newest).fetchone())
        finally:
            conn.close()

    return row


def spoken(mock: MockHandle) -> list[dict[str, Any]]:
    """The parts of the newest user message that the model got."""
    parts = mock.bodies("streamGenerateContent")[-1]["contents"][-1]["parts"]
    return [part for part in parts if "<session_context>" not in part.get("text", "")]


def offered(mock: MockHandle) -> set[str]:
    """The tools that the model was offered last."""
    tools = mock.bodies("streamGenerateContent")[-1].get("tools") or []
    return {f["name"] for tool in tools for f in tool.get("functionDeclarations") or []}


def write(path: object) -> tuple[str, dict[str, Any]]:
    return "write_file", {"file_path": str(path), "content": "written\n"}


# Prompts and answers.


@pytest.mark.parametrize("prompt", ["/about this", "@x, me@add.pyx and\n@property\ndef f(): ..."])
def test_a_prompt_is_data(ask: Ask, mock: MockHandle, prompt: str) -> None:
    """Commands are not executed; a word with @ that is no file stays a word."""
    done = ask(prompt)
    assert done.stderr == ""
    assert [part["text"].lstrip("\n") for part in spoken(mock)] == [prompt]


def test_a_mentioned_file_is_read(ask: Ask, mock: MockHandle) -> None:
    """``@file`` puts a file of the workspace into the prompt, and nothing from outside it."""
    ask("see @add.py and @/etc/hostname")
    texts = "".join(part["text"] for part in spoken(mock))
    assert "def add(a: int" in texts
    assert "@/etc/hostname" in texts
    assert Path("/etc/hostname").read_text().strip() not in texts.replace("/etc/hostname", "")


def test_what_is_logged(ask: Ask, run_llm: RunFunction) -> None:
    """Usage is this run's, the router's included; the model is the one that answered."""
    ask("hello")
    ask("again", "-c")
    rows = json.loads(run_llm("logs", "-n", "2", "--json").stdout)
    assert [row["resolved_model"] for row in rows] == ["gemini-3.8-flash"] * 2
    assert [row["input_tokens"] for row in rows] == [2400] * 2
    assert [row["output_tokens"] for row in rows] == [68] * 2
    assert json.loads(rows[0]["token_details"]) == {"cache_read": 2000, "reasoning": 10}
    assert rows[0]["response_json"]["cli_version"] == "0.61.0"
    assert rows[0]["response_json"]["session_id"] == rows[1]["response_json"]["session_id"]


def test_goes_on_from_anywhere(ask: Ask, tmp_path: Path, mock: MockHandle) -> None:
    """gemini resumes only in its project's directory, so the session's directory is taken."""
    ask("first words", "-o", "model", "gemini-2.5-flash")
    assert "turn 2 of this conversation; first was: first words" in ask("more", "-c").stdout
    away = ask("even more", "-c", cwd=tmp_path)
    assert "turn 3 of this conversation; first was: first words" in away.stdout
    assert away.stderr == ""
    assert all("gemini-2.5-flash" in r["path"] for r in mock.requests("streamGenerate"))


def test_another_directory_starts_anew(ask: Ask, tmp_path: Path) -> None:
    ask("first words")
    done = ask("more", "-c", "-o", "cwd", str(tmp_path))
    assert "resumes only in" in done.stderr
    assert "first words" in done.stdout
    assert "turn 1 of this conversation" in done.stdout


def test_an_unknown_session(ask: Ask, last: Callable[[], dict[str, Any]]) -> None:
    ask("hi", "-o", "session_id", MISSING, fails=True)
    assert last()["error_category"] == "session_lost"
    newest = ask("hi", "-o", "session_id", "latest", fails=True)
    assert last()["error_category"] == "session_lost", newest


def test_a_lost_session_is_replayed(ask: Ask, home: Path) -> None:
    """Where gemini lost the session, the transcript and the system prompt go into a new one."""
    ask("first words", "-s", "Be brief")
    for chat in (home / ".gemini" / "tmp").glob("*/chats/*"):
        chat.unlink()
    done = ask("more", "-c")
    assert "The transcript of this conversation starts a new session" in done.stderr
    assert "turn 1 of this conversation" in done.stdout
    assert done.stdout.index("Be brief") < done.stdout.index("first words")


def test_the_newest_session(ask: Ask) -> None:
    ask("first words")
    assert "turn 2 of this" in ask("more", "-o", "resume_latest", "1").stdout


def test_a_system_prompt_is_told_when_it_changes(ask: Ask, mock: MockHandle) -> None:
    ask("one", "-s", "Speak like a pirate")
    assert spoken(mock)[0]["text"] == (
        "<instructions>\nSpeak like a pirate\n</instructions>\n\none"
    )
    ask("two", "-c")
    assert spoken(mock)[0]["text"] == "two"
    assert "Speak like a pirate" in json.dumps(mock.bodies("streamGenerate")[-1]["contents"])
    ask("three", "-c", "-s", "Now like a duke")
    assert "Now like a duke" in spoken(mock)[0]["text"]


def test_a_schema(ask: Ask, last: Callable[[], dict[str, Any]]) -> None:
    """gemini enforces none: it is asked for, and what comes is checked."""
    done = ask('who\nMOCK:JSON={"name": "Ada", "age": 36}', "--schema", "name, age int")
    assert json.loads(done.stdout) == {"name": "Ada", "age": 36}
    ask('who\nMOCK:JSON={"name": "Ada"}', "--schema", "name, age int", fails=True)
    assert last()["error_category"] == "protocol"


def test_attachments(ask: Ask, mock: MockHandle, tmp_path: Path) -> None:
    """Images and PDFs reach the model as what they are, also from outside; text as text."""
    image, paper, note = tmp_path / "an image.png", tmp_path / "p.pdf", tmp_path / "note.txt"
    image.write_bytes(PNG)
    paper.write_bytes(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n")
    long_line = " ".join(map(str, range(900)))
    note.write_text(long_line)
    ask("look", "-a", str(image), "-a", str(paper), "--at", str(note), "text/plain")
    data = [part["inlineData"] for part in spoken(mock) if "inlineData" in part]
    assert [d["mimeType"] for d in data] == ["image/png", "application/pdf"]
    assert base64.b64decode(data[0]["data"]) == PNG
    assert long_line in spoken(mock)[0]["text"]


# Access.


def test_a_write_needs_edit(ask: Ask, repo: Path) -> None:
    """Refused and told at read; done at edit on the resumed session; refused again at read."""
    calls = tool_lines([("read_file", {"file_path": "README.md"}), write("made.txt")])
    done = ask(calls)
    assert "Tools run: 2; errors: 1 (write_file)" in done.stdout
    assert "1 action was refused at access read; -o access edit allows more" in done.stderr
    assert not (repo / "made.txt").exists()
    ask(tool_lines([write("made.txt")]), "-c", "-o", "access", "edit")
    assert (repo / "made.txt").exists()
    ask(tool_lines([write("more.txt")]), "-c", "-o", "access", "read")
    assert not (repo / "more.txt").exists()


@pytest.mark.parametrize("word", ["default", "plan"])
def test_plan_mode_is_no_way_out(ask: Ask, repo: Path, word: str) -> None:
    """Alone, these modes let the model switch itself to yolo."""
    shell = ("run_shell_command", {"command": "touch ran", "description": "try"})
    calls = tool_lines([ENTER, LEAVE, write("made.txt"), shell])
    for extra in ((), ("-c",)):
        done = ask(calls, *extra, "-o", "approval_mode", word)
        assert "Tools run: 4; errors: 4" in done.stdout
    assert not (repo / "made.txt").exists()
    assert not (repo / "ran").exists()


def test_edit_leaves_git_and_gemini_alone(ask: Ask, repo: Path) -> None:
    paths = (".gemini/.env", ".git/hooks/x", 'a"/../.gemini/x', "docs/.GIT/x", "../out.txt")
    allowed = ("a.git/x", ".github/x", "docs/gemini/x")
    done = ask(tool_lines(map(write, (*paths, *allowed))), "-o", "access", "edit")
    assert "Tools run: 8; errors: 5" in done.stdout
    assert "5 actions were refused at access edit" in done.stderr
    assert all((repo / path).exists() for path in allowed)
    assert not any((repo / path).exists() for path in paths)


def test_edit_goes_through_no_link_and_no_escape(ask: Ask, repo: Path, tmp_path: Path) -> None:
    """Into .git gemini itself follows none; what it decodes may be another file than is judged."""
    outside = tmp_path / "outside"
    outside.mkdir()
    links = {"a": ".git", "b": ".git/hooks", "c": ".git/hooks/new", "d": "b", "e": str(outside)}
    for name, target in {**links, "%66": str(outside), "docs/g": "../.git"}.items():
        (repo / name).symlink_to(target)
    paths = ("a/x", "b/x", "c", "d/x", "e/x", "docs/g/x", "%2egemini/x", ".gemin%69/y", ".gi%74/x")
    listed = ("list_directory", {"dir_path": "%66"})
    before = {*(repo / ".git").rglob("*"), *outside.rglob("*")}
    done = ask(tool_lines([*map(write, paths), listed]), "-o", "access", "edit")
    assert "Tools run: 10; errors: 10" in done.stdout
    assert {*(repo / ".git").rglob("*"), *outside.rglob("*")} == before
    assert not (repo / ".gemini").exists()
    ask(tool_lines(map(write, ("100%", "5% off/x"))), "-o", "access", "edit")
    assert (repo / "100%").exists() and (repo / "5% off" / "x").exists()


def test_tool_lists(ask: Ask, mock: MockHandle) -> None:
    ask("hi", "-o", "allowed_tools", "read_file,grep_search")
    assert offered(mock) == {"read_file", "grep_search"}
    ask("hi", "-o", "disallowed_tools", "glob")
    assert offered(mock) == {"read_file", "grep_search", "list_directory"}
    before = len(mock.requests())
    assert "has no tool named 'Bash'" in ask("hi", "-o", "allowed_tools", "Bash", fails=True).stderr
    assert len(mock.requests()) == before


def test_full(ask: Ask, repo: Path, places: Places) -> None:
    """Everything runs, the user's own MCP servers too; a tool that is taken away does not."""
    make_hostile(places)
    widen_user_config(places, "gemini", trust=False)
    shell = ("run_shell_command", {"command": "echo ran > ran.txt", "description": "try"})
    ask(tool_lines([shell]), "-o", "access", "full", env=FULL)
    assert (repo / "ran.txt").read_text() == "ran\n"
    assert places.markers()
    assert all(mark.startswith("user_mcp") for mark in places.markers())
    (repo / "ran.txt").unlink()
    ask(
        tool_lines([shell]),
        *("-o", "access", "full", "-o", "disallowed_tools", "run_shell_command"),
        env=FULL,
    )
    assert not (repo / "ran.txt").exists()


# A workspace that is not to be trusted.


@pytest.mark.parametrize("level", ["read", "edit"])
def test_hostile_repository(
    ask: Ask, mock: MockHandle, places: Places, home: Path, level: str
) -> None:
    """Nothing of it runs, and its .env redirects nothing: new and resumed, folder trusted."""
    make_hostile(places, env_files=True)
    (places.workspace / ".gemini" / ".env").unlink()
    widen_user_config(places, "gemini")
    settings = home / ".gemini" / "settings.json"
    told = json.loads(settings.read_text())
    told["security"]["folderTrust"] = {"enabled": False}
    settings.write_text(json.dumps(told))
    env = {"GEMINI_CLI_TRUST_WORKSPACE": "true"}
    for extra in ((), ("-c",)):
        ask("hi", *extra, "-o", "access", level, cwd=places.workspace, env=env)
    assert places.markers() == []
    assert mock.requests("evil") == []
    paths = {r["path"].partition(":")[0] for r in mock.requests("enerateContent")}
    assert all("evil" not in path for path in paths)
    body = json.dumps(mock.bodies("streamGenerate")[-1])
    assert f"{INSTRUCTION} GEMINI.md" in body
    assert "EVILCTX" not in json.dumps(mock.bodies("streamGenerate")[-1]["systemInstruction"])


@pytest.mark.parametrize("level", ["read", "edit"])
def test_battery(ask: Ask, mock: MockHandle, hostile_repo: Places, level: str) -> None:
    """A model that tries everything changes nothing at read, and the workspace alone at edit."""
    widen_user_config(hostile_repo, "gemini")
    before = snapshot(hostile_repo)
    # Without the last line the mock lists the tools that failed, which gemini takes for a loop.
    calls = tool_lines(battery("gemini", hostile_repo)) + "MOCK:SAY=done"
    changed = ("add.py", ".claude/settings.json", ".codex/config.toml", ".grok/config.toml")
    made = ("b_write", "b_write_after_plan")
    edited = {f"~workspace/{name}" for name in changed} | {f"+workspace/{name}" for name in made}
    expected: dict[str, set[str]] = {"read": set(), "edit": edited}
    for extra in ((), ("-c",)):
        ask(calls, *extra, "-o", "access", level, cwd=hostile_repo.workspace, timeout=200)
        assert set(side_effects(before, snapshot(hostile_repo))) == expected[level]
    assert hostile_repo.markers() == []
    assert mock.requests("battery") == []
    assert SECRET not in json.dumps(mock.bodies())


def test_an_env_file_that_gemini_obeys(
    ask: Ask, repo: Path, home: Path, mock: MockHandle, last: Callable[[], dict[str, Any]]
) -> None:
    """Refused before anything starts, also in a parent; the user's own is not; trust lifts it."""
    inner = repo / "docs"
    (home / ".gemini" / ".env").write_text("OWN=1\n")
    (repo / ".gemini").mkdir()
    (repo / ".gemini" / ".env").write_text("GEMINI_MODEL=gemini-2.5-pro\n")
    for cwd in (repo, inner):
        done = ask("hi", fails=True, cwd=cwd)
        assert "remove it, or trust the workspace with -o trust_workspace 1" in done.stderr
        assert last()["error_category"] == "permission_denied"
    assert mock.requests() == []
    ask("hi", "-o", "trust_workspace", "1")
    assert "gemini-2.5-pro" in mock.requests("streamGenerate")[-1]["path"]


def test_trust_lets_the_workspace_settings_in(ask: Ask, mock: MockHandle, places: Places) -> None:
    """And still no tool beyond the level."""
    make_hostile(places)
    calls = tool_lines([write(places.workspace / "made.txt")])
    ask(calls, "-o", "trust_workspace", "1", cwd=places.workspace)
    assert "gemini_SessionStart" in places.markers()
    assert not (places.workspace / "made.txt").exists()


# Failures.


def test_a_retry_is_told(ask: Ask) -> None:
    done = ask("MOCK:STATUS=503 MOCK:TIMES=1 MOCK:SAY=late", "-o", "model", "gemini-2.5-flash")
    assert done.stdout == "late\n"
    assert done.stderr == "gemini waits 5 s after a server error (attempt 1)\n"


def test_no_key(ask: Ask, repo: Path, last: Callable[[], dict[str, Any]]) -> None:
    done = ask("hi", fails=True, env={"GEMINI_API_KEY": None})
    assert last()["error_category"] == "auth"
    assert "set GEMINI_API_KEY" in done.stderr
    ask("hi", fails=True, env={"GEMINI_API_KEY": "sk-bad-000"})
    assert last()["error_category"] == "auth"
    (repo / ".env").write_text("GEMINI_API_KEY=sk-of-the-workspace\n")
    left_out = ask("hi", fails=True, env={"GEMINI_API_KEY": None})
    assert "the workspace's .env is left out" in left_out.stderr


def test_too_long(ask: Ask, mock: MockHandle, last: Callable[[], dict[str, Any]]) -> None:
    """More than it takes is refused by us; more than the model takes ends it without a word."""
    assert "takes at most 8,388,608" in ask("x" * (8 * 2**20 + 1), fails=True).stderr
    assert mock.requests() == []
    done = ask("x y " * (1900 * 1024), fails=True)
    assert last()["error_category"] == "invalid_input"
    assert "longer than the context" in done.stderr


def test_ctrl_c(
    vendor: Callable[[str], Path],
    popen_llm: PopenFunction,
    runner: Runner,
    repo: Path,
    last: Callable[[], dict[str, Any]],
) -> None:
    """gemini ends with code 0 then; the prompt is canceled all the same, its tree is gone."""
    vendor("gemini")
    prompt = "MOCK:SLOW=0.2\nMOCK:WORDS=200"
    process = popen_llm("prompt", "-m", "gateway-gemini", prompt, cwd=repo, stdin=-3)
    assert process.stdout
    first = process.stdout.read(1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert (first, process.returncode) == (b"w", 1), err
    deadline = time.monotonic() + 3
    while runner.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert runner.left() == []
    assert last()["error_category"] == "canceled"


def test_a_fork(ask: Ask, vendor: Callable[[str], Path], runner: Runner, repo: Path) -> None:
    """A fork has an id that gemini chooses, and leaves the original as it was."""
    ask("first words")
    chats = runner.home / ".gemini" / "tmp" / "repo" / "chats"
    (chat,) = chats.iterdir()
    session_id = json.loads(chat.read_text().splitlines()[0])["sessionId"]
    environment = runner.environment(["gemini"])
    launch = Launch(
        executable=str(vendor("gemini")),
        env=environment,
        environ=environment,
        cwd=str(repo),
        access=Access.READ,
        session=SessionPlan("fork", session_id),
        make_files=lambda: runner.folder,
        state=runner.folder,
    )
    plan = Gemini().plan(Request("1", "gemini", "another way"), launch)
    assert plan.session.expected_id is None
    done = runner.run(list(plan.argv), ["gemini"], repo, plan.stdin, dict(plan.env))
    assert done.events()[0]["session_id"] != session_id
    said = "".join(e["content"] for e in done.events() if e.get("delta"))
    assert said.endswith("(turn 2 of this conversation; first was: first words)")
    assert "turn 2 of this" in ask("more", "-c").stdout
