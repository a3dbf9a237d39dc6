"""The real grok through ``llm -m gateway-grok``: what only it does, or does in its own way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from battery import battery, side_effects, snapshot, tool_lines
from hostile import INSTRUCTION, SECRET, Places, trust_in_grok, widen_user_config
from runner import Completed, MockHandle, PopenFunction, RunFunction, Runner, git

from llm_gateway.providers.base import Launch
from llm_gateway.providers.grok import Grok
from llm_gateway.request import Access, Attachment, Options, Request, SessionPlan

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(240)]
Ask = Callable[..., Completed]
EDIT = ("-o", "access", "edit")
FULL = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1"}
MISSING = "11111111-2222-4333-8444-555555555555"
TRICKY = (
    "/always-approve is no command\n"
    "-x --help is no flag, `@/etc/hostname` no file, me@README.md neither\n"
    "  'quotes' \"double\" $(touch no) $HOME \\ back  héllo ☕ 😀 \n"
    "!bang #hash\ttab </prompt>\r\n  "
)


@pytest.fixture
def ask(vendor: Callable[[str], Path], run_llm: RunFunction, repo: Path) -> Ask:
    """Ask grok in the repository; a run that does not end as expected is shown whole."""
    vendor("grok")

    def ask(prompt: str, *args: str, fails: bool = False, **more: Any) -> Completed:
        model = () if "-c" in args else ("-m", "gateway-grok")
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


def asked(mock: MockHandle) -> list[dict[str, Any]]:
    """The requests for an answer, without the hidden one for the session's title."""
    bodies = mock.bodies("/responses")
    return [b for b in bodies if "session title" not in json.dumps(b["input"][0]).lower()]


def spoken(mock: MockHandle) -> str:
    """The newest user message that the model got."""
    content = [i for i in asked(mock)[-1]["input"] if i.get("role") == "user"][-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def offered(mock: MockHandle) -> set[str]:
    return {tool["name"] for tool in asked(mock)[-1]["tools"]}


def call(name: str, **arguments: Any) -> str:
    return tool_lines([(name, arguments)])


def write(path: object) -> str:
    return call("write", file_path=str(path), content="written\n")


# Prompts and answers.


def test_a_prompt_is_exact(ask: Ask, mock: MockHandle) -> None:
    done = ask(TRICKY)
    assert "turn 1 of this conversation" in done.stdout and done.stderr == ""
    assert spoken(mock) == f"<prompt>\n{TRICKY}\n</prompt>"


@pytest.mark.parametrize("prompt", ["/compact", "/always-approve", "//x", "/", "help", "-"])
def test_a_prompt_is_no_command(ask: Ask, mock: MockHandle, prompt: str) -> None:
    assert "turn 1 of this conversation" in ask(prompt).stdout
    assert spoken(mock) == f"<prompt>\n{prompt}\n</prompt>"


def test_a_long_prompt_is_exact(ask: Ask, mock: MockHandle) -> None:
    """A megabyte, where without --verbatim a tenth of it becomes an excerpt."""
    text = "MOCK:SAY=read\n" + "".join(f"line {n} {'x' * 88}\n" for n in range(10_000))
    assert ask(text).stdout.strip() == "read"
    assert text in spoken(mock)
    done = ask("x" * 1_048_577, fails=True)
    assert "Grok takes at most 1,048,576" in done.stderr


def test_hidden_calls(ask: Ask, mock: MockHandle) -> None:
    """A new session costs one call for its title and no other; a later turn none."""
    env = {"GROK_TURN_SUMMARY": None}
    ask("one", env=env)
    assert (len(mock.bodies("/responses")), len(asked(mock))) == (2, 1)
    for turn in range(3):
        ask(f"more {turn}", "-c", env=env)
    assert (len(mock.bodies("/responses")), len(asked(mock))) == (5, 4)


def test_it_goes_on(ask: Ask, run_llm: RunFunction, tmp_path: Path) -> None:
    """``-c`` continues the session, also from elsewhere; usage is each turn's own."""
    ask("first words")
    assert "turn 2 of this conversation; first was: first words" in ask("two", "-c").stdout
    assert "turn 3 of" in ask("three", "-c", cwd=tmp_path).stdout
    rows = json.loads(run_llm("logs", "-n", "3", "--json").stdout)
    assert len({row["response_json"]["session_id"] for row in rows}) == 1
    assert {(row["input_tokens"], row["output_tokens"]) for row in rows} == {(1200, 34)}
    assert rows[0]["resolved_model"] == "grok-4.6"
    assert rows[0]["response_json"]["stop_reason"] == "end_turn"
    assert rows[0]["response_json"]["cost_basis"] == "estimated"
    assert rows[0]["response_json"]["cli_version"] == "1.0.41"


def test_the_newest_session(ask: Ask) -> None:
    ask("first words")
    done = ask("more", "-o", "resume_latest", "1")
    assert "turn 2 of this conversation; first was: first words" in done.stdout


def test_a_session_that_is_gone(ask: Ask, runner: Runner) -> None:
    """It is not looked for on a server; a conversation goes on in a new one."""
    done = ask("x", "-o", "session_id", MISSING, fails=True)
    assert "does not have session" in done.stderr and done.seconds < 10
    ask("first words")
    for path in (runner.home / ".grok" / "sessions").glob("*/*-*-*/*"):
        path.unlink()
    for path in (runner.home / ".grok" / "sessions").glob("*/*-*-*"):
        path.rmdir()
    done = ask("second words", "-c")
    assert "starts a new session" in done.stderr
    assert "first words" in done.stdout and "turn 1 of this conversation" in done.stdout


def test_system_prompt(ask: Ask, mock: MockHandle) -> None:
    """The session keeps the first; a later one is put before the prompt."""
    ask("hello", "-s", "Speak like a pirate")
    assert "Speak like a pirate" in json.dumps(asked(mock)[-1]["input"][0])
    ask("again", "-c")
    assert "Speak like a pirate" in json.dumps(asked(mock)[-1]["input"][0])
    assert "pirate" not in spoken(mock)
    ask("again", "-c", "-s", "Speak like a monk")
    assert "<instructions>\nSpeak like a monk\n</instructions>" in spoken(mock)


def test_instructions_of_the_workspace(ask: Ask, mock: MockHandle, repo: Path) -> None:
    (repo / "AGENTS.md").write_text("Always mention the number 4711.\n")
    ask("hello")
    assert "the number 4711" in json.dumps(asked(mock)[-1]["input"][0])


def test_schema(ask: Ask, mock: MockHandle, last: Callable[[], dict[str, Any]]) -> None:
    done = ask('who\nMOCK:JSON={"name": "Ada", "age": 36}', "--schema", "name, age int")
    assert json.loads(done.stdout) == {"name": "Ada", "age": 36}
    assert asked(mock)[-1]["text"]["format"]["type"] == "json_schema"
    done = ask('again\nMOCK:JSON={"name": "Bob", "age": 1}', "-c", "--schema", "name, age int")
    assert json.loads(done.stdout) == {"name": "Bob", "age": 1}
    ask('who\nMOCK:JSON={"name": 1}', "--schema", "name, age int", fails=True)
    assert last()["error_category"] == "protocol"


def png(side: int) -> bytes:
    """A picture; grok drops those of less than 512 pixels without a word."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = b"".join(b"\0" + os.urandom(side * 3) for _ in range(side))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_attachments_may_be_opened(
    ask: Ask, runner: Runner, mock: MockHandle, vendor: Callable[[str], Path], tmp_path: Path
) -> None:
    """A picture of 270 kB reaches the model through grok's own tool, from the run's own folder."""
    executable, files, workspace = str(vendor("grok")), tmp_path / "run", tmp_path / "workspace"
    for folder in (files, workspace):
        folder.mkdir()
    path = files.resolve() / "attachment-0.png"
    attachment = Attachment("image/png", content=png(300))
    prompt = call("read_file", target_file=str(path))
    request = Request(id="1", provider="grok", prompt=prompt, attachments=(attachment,))
    env = runner.environment(["grok"])
    session = SessionPlan("new", new_id=MISSING)
    launch = Launch(
        executable,
        env,
        env,
        str(workspace),
        Access.READ,
        session,
        lambda: files,
        tmp_path / "state",
    )
    made = Grok().plan(request, launch)
    done = runner.run(list(made.argv), ["grok"], workspace, made.stdin, dict(made.env), 60)
    assert done.returncode == 0 and "Tools run: 1; errors: 0" in done.stdout
    assert str(path) in spoken(mock) or str(path) in json.dumps(asked(mock)[-1])
    assert len(json.dumps(asked(mock)[-1])) > 300_000
    assert "input_image" in json.dumps(asked(mock)[-1])


def test_an_attachment_is_named(ask: Ask, mock: MockHandle, tmp_path: Path) -> None:
    image = tmp_path / "picture.png"
    image.write_bytes(png(30))
    ask("what is this", "-a", str(image))
    assert "attachment-0.png" in spoken(mock)
    assert spoken(mock).endswith("<prompt>\nwhat is this\n</prompt>")


# What it reads unasked.


def test_a_file_outside_that_the_prompt_names(ask: Ask, mock: MockHandle) -> None:
    done = ask("what says @/etc/hostname", fails=True)
    assert "in `backticks`" in done.stderr and not mock.bodies()
    ask("what says `@/etc/hostname`")
    assert "attached_files" not in spoken(mock)


def test_a_file_inside_that_the_prompt_names(ask: Ask, mock: MockHandle) -> None:
    done = ask("what says @README.md")
    assert done.stderr.strip() == "grok adds to the prompt what an @ names in it: README.md"
    assert "It adds numbers." in spoken(mock)


# Access.


def test_read_reaches_the_workspace_only(
    ask: Ask, mock: MockHandle, repo: Path, tmp_path: Path, run_llm: RunFunction
) -> None:
    """Read, search and list inside; outside, above, at home and through a link: refused."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("def SECRET-OUTSIDE")
    (repo / "link").symlink_to(outside)
    inside = [
        call("read_file", target_file="README.md"),
        call("read_file", target_file=str(repo / "add.py")),
        call("grep", pattern="def"),
        call("grep", pattern="numbers", path="."),
        call("list_dir", target_directory="docs"),
    ]
    beyond = [
        *(call("read_file", target_file=str(p)) for p in (outside / "secret.txt", "/etc/hostname")),
        *(call("read_file", target_file=p) for p in ("link/secret.txt", "../outside/secret.txt")),
        *(call("read_file", target_file=p) for p in ("~/.gitconfig", str(repo) + "/../x")),
        *(call("grep", pattern="def", path=p) for p in ("..", "/", "link", "~", str(outside))),
        *(call("list_dir", target_directory=p) for p in ("..", "/", "link", "/usr")),
    ]
    assert ask("".join(inside)).stdout.strip() == "Tools run: 5; errors: 0."
    assert json.dumps(asked(mock)[-1]).count("Found 1 matching lines") == 2
    done = ask("".join(beyond))
    assert f"{len(beyond)} actions were refused" in done.stderr
    assert "SECRET-OUTSIDE" not in json.dumps(mock.bodies())
    assert "test@example.invalid" not in json.dumps(mock.bodies())
    done = ask(
        beyond[0] + call("grep", pattern="def", path=str(outside)), "-o", "add_dirs", outside
    )
    assert done.stdout.strip() == "Tools run: 2; errors: 0."


def test_edit_writes_the_workspace_only(ask: Ask, repo: Path, tmp_path: Path) -> None:
    """Elsewhere, through links, and where other programs would run it: refused, turn after turn."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo / "link").symlink_to(outside)
    (repo / "to_file").symlink_to(outside / "file")
    (repo / ".grok").mkdir()
    beyond = [
        *(outside / "a", "../outside/b", "link/c", "to_file", "~/d", ".git/hooks/post-commit"),
        *(".grok/config.toml", ".claude/settings.json", "docs/.git/config"),
    ]
    calls = "".join(map(write, [*beyond, "e", repo / "docs" / "new" / "f"]))
    first = git(repo, "status", "--short")
    for extra in (EDIT, ("-c",), ("-c", *EDIT)):
        done = ask(calls, *extra)
        assert f"Tools run: 11; errors: {len(beyond)}" in done.stdout, done
        assert (repo / "e").read_text() == (repo / "docs" / "new" / "f").read_text() == "written\n"
        assert sorted(outside.iterdir()) == []
        changed = set(git(repo, "status", "--short").splitlines()) - set(first.splitlines())
        assert changed == {"?? e", "?? docs/new/"}


def test_a_write_needs_edit(ask: Ask, repo: Path) -> None:
    """Refused at ``read``, done at ``edit`` on a later turn, and refused again after that."""
    done = ask(write("made.txt"))
    assert not (repo / "made.txt").exists()
    assert "refused at access read; -o access edit allows more" in done.stderr
    ask(write("made.txt"), "-c", *EDIT)
    (repo / "made.txt").unlink()
    ask(write("made.txt"), "-c", "-o", "access", "read")
    assert not (repo / "made.txt").exists()


@pytest.mark.parametrize("level", ["read", "edit"])
def test_the_whole_battery(
    ask: Ask, mock: MockHandle, hostile_repo: Places, level: str, runner: Runner
) -> None:
    """A hostile repository and a user who allowed everything: new and resumed."""
    places = hostile_repo
    widen_user_config(places, "grok", anywhere=True)
    prompt = tool_lines(battery("grok", places))
    before = snapshot(places)
    level_flags = ("-o", "access", level)
    allowed = {"~workspace/add.py", "+workspace/b_write", "+workspace/b_write_after_plan"}
    expected = allowed if level == "edit" else set()
    for extra in ((), ("-c",)):
        done = ask(prompt, *level_flags, *extra, cwd=places.workspace, timeout=200)
        assert f"Tools run: {len(battery('grok', places))};" in done.stdout
        assert set(side_effects(before, snapshot(places))) == expected
    assert {mark for mark in places.markers() if not mark.startswith("user_")} == set()
    assert not [mark for mark in places.markers() if mark.endswith("_touch")]
    assert not mock.requests("/evil") and not mock.requests("/battery")
    sent = json.dumps(mock.bodies())
    assert SECRET not in sent and "SECRET-OUTSIDE" not in sent


def test_a_fork_is_held_as_well(
    ask: Ask, runner: Runner, vendor: Callable[[str], Path], repo: Path, tmp_path: Path
) -> None:
    """A copy of a session that was made at ``edit`` writes nothing at ``read``."""
    ask("hello", *EDIT)
    (path,) = (runner.home / ".grok" / "sessions").glob("*/*-*-*")
    files = tmp_path / "run"
    files.mkdir()
    env = runner.environment(["grok"])
    for access, made in ((Access.READ, False), (Access.EDIT, True)):
        id = f"{MISSING[:-1]}{access.rank}"
        session = SessionPlan("fork", path.name, new_id=id)
        request = Request(id="1", provider="grok", prompt=write("made.txt"), options=Options())
        launch = Launch(
            str(vendor("grok")),
            env,
            env,
            str(repo),
            access,
            session,
            lambda: files,
            tmp_path / "state",
        )
        plan = Grok().plan(request, launch)
        done = runner.run(list(plan.argv), ["grok"], repo, plan.stdin, dict(plan.env), 60)
        assert done.events()[0]["session_id"] == id
        assert "turn 2 of" in done.stdout or "Tools run: 1;" in done.stdout
        assert (repo / "made.txt").exists() == made


def test_nothing_of_a_hostile_repository_is_obeyed(
    ask: Ask, mock: MockHandle, hostile_repo: Places
) -> None:
    """Its hooks, servers and settings are left out, also where the user switched trust off."""
    config = hostile_repo.home / ".grok" / "config.toml"
    config.write_text("[folder_trust]\nenabled = false\n")
    for extra in ((), ("-c",), EDIT):
        ask(call("read_file", target_file="README.md"), *extra, cwd=hostile_repo.workspace)
    assert hostile_repo.markers() == []
    assert not mock.requests("/evil")


def test_a_folder_that_its_user_trusted(ask: Ask, mock: MockHandle, hostile_repo: Places) -> None:
    """Refused at ``read`` and ``edit``; with trust_workspace its hooks run."""
    trust_in_grok(hostile_repo)
    for extra in ((), EDIT):
        done = ask("hello", *extra, cwd=hostile_repo.workspace, fails=True)
        assert "because you trusted it once" in done.stderr
    assert hostile_repo.markers() == [] and not mock.bodies()
    ask("hello", "-o", "trust_workspace", "1", cwd=hostile_repo.workspace)
    assert "grok_SessionStart" in hostile_repo.markers()


def test_trusting_for_one_prompt(ask: Ask, mock: MockHandle, hostile_repo: Places) -> None:
    """It takes the repository's word, and is not kept by grok."""
    ask("hello", "-o", "trust_workspace", "1", cwd=hostile_repo.workspace)
    assert "grok_SessionStart" in hostile_repo.markers()
    assert INSTRUCTION in json.dumps(mock.bodies())
    assert not (hostile_repo.home / ".grok" / "trusted_folders.toml").exists()


def test_tools(ask: Ask, mock: MockHandle) -> None:
    """Grok ignores a name that it does not know and then offers everything; we refuse it."""
    meta = {"search_tool", "use_tool"}
    ask("x", "-o", "allowed_tools", "grep,read_file")
    assert offered(mock) - meta == {"grep", "read_file"}
    ask("x", "-o", "disallowed_tools", "grep")
    assert offered(mock) - meta == {"list_dir", "read_file"}
    options = ("-o", "access", "full", "-o", "allowed_tools", "run_terminal_command")
    ask("x", *options, env=FULL)
    assert offered(mock) - meta == {"run_terminal_command"}
    options = ("-o", "access", "full", "-o", "disallowed_tools", "run_terminal_command")
    ask("x", *options, env=FULL)
    assert "run_terminal_command" not in offered(mock) and "write" in offered(mock)
    done = ask("x", "-o", "allowed_tools", "run_terminal_cmd", fails=True)
    assert "has no tool named 'run_terminal_cmd'" in done.stderr


def test_every_tool_name_is_known_to_grok(
    vendor: Callable[[str], Path], run_cli: RunFunction, repo: Path
) -> None:
    """Each name of the table takes away what it names; what grok does not know changes nothing."""
    from llm_gateway.providers.grok_rules import TOOL_IDS

    needed = {"read_file", "enter_plan_mode", "exit_plan_mode", "get_command_or_subagent_output"}
    needed |= {"kill_command_or_subagent"}
    names = {n: id for n, id in TOOL_IDS.items() if n not in needed and "scheduler" not in n}
    argv = ["-p", "hi", "--output-format", "streaming-messages-json", "--disallowed-tools"]
    done = run_cli("grok", [*argv, ",".join(names.values())], cwd=repo)
    assert not set(done.events()[0]["tools"]) & set(names)
    everything = run_cli("grok", ["-p", "hi", *argv[2:4]], cwd=repo).events()[0]["tools"]
    assert set(everything) <= {*TOOL_IDS, "search_tool", "use_tool"}


def test_a_turn_that_a_refusal_ends(ask: Ask, last: Callable[[], dict[str, Any]]) -> None:
    """With grok's own modes it says nothing more, and exits with 0."""
    options = ("-o", "access", "full", "-o", "permission_mode", "default")
    ask(
        call("run_terminal_command", command="echo > f", description="x"),
        *options,
        env=FULL,
        fails=True,
    )
    assert last()["error_category"] == "permission_denied"


def test_full(ask: Ask, repo: Path) -> None:
    options = ("-o", "access", "full")
    ask(
        call("run_terminal_command", command="git init sub > f", description="x"),
        *options,
        env=FULL,
    )
    assert (repo / "f").exists() and (repo / "sub" / ".git").exists()
    assert "is wider" in ask("x", "-o", "permission_mode", "bypassPermissions", fails=True).stderr


# What goes wrong.

ERRORS = {
    "MOCK:STATUS=503": "overloaded",
    "MOCK:DROP MOCK:WORDS=9": "network",
    "MOCK:EMPTY": "empty_reply",
    "MOCK:REFUSE": "empty_reply",
}


@pytest.mark.parametrize("order", sorted(ERRORS))
def test_errors(ask: Ask, order: str, last: Callable[[], dict[str, Any]]) -> None:
    """Each ends soon, where grok by itself would try for hours, with the session's id."""
    done = ask(f"{order}\nhi", fails=True)
    assert done.seconds < 15
    assert last()["error_category"] == ERRORS[order], done
    assert last()["session_id"] in done.stderr


def test_errors_without_an_answer_to_wait_for(ask: Ask, last: Callable[[], dict[str, Any]]) -> None:
    ask("x", fails=True, env={"XAI_API_KEY": None, "GITHUB_TOKEN": "ghp_fake"})
    assert last()["error_category"] == "auth"
    ask("x", fails=True, env={"XAI_API_KEY": "xai-bad-key"})
    assert last()["error_category"] == "auth"
    ask("x", "-o", "model", "nope", fails=True)
    assert last()["error_category"] == "model_not_found"
    ask("x", "-o", "effort", "huge", fails=True)
    assert last()["error_category"] == "invalid_input"
    ask(call("read_file", target_file="README.md"), "-o", "max_turns", "1", fails=True)
    assert last()["error_category"] == "limit_reached"
    ask("x", "-o", "resume_latest", "1", fails=True, cwd=Path("/"))
    assert last()["error_category"] == "session_lost"


def test_it_tries_once_more(ask: Ask, mock: MockHandle) -> None:
    done = ask("MOCK:STATUS=503 MOCK:TIMES=1 MOCK:SAY=late")
    assert done.stdout.strip() == "late"
    assert done.stderr.splitlines() == [
        "grok got HTTP 503 and waits before it tries again",
        "grok tries again after HTTP 503 and 2 s",
    ]
    done = ask("again\nMOCK:STATUS=503 MOCK:TIMES=1", "-o", "retry_wait", "1", fails=True)
    assert "allow more with -o retry_wait SECONDS" in done.stderr


def test_a_wait_of_any_length_is_bounded(ask: Ask, last: Callable[[], dict[str, Any]]) -> None:
    """Grok obeys a Retry-After of any length, and says nothing meanwhile."""
    done = ask("MOCK:STATUS=429 MOCK:RETRYAFTER=100", "-o", "idle_timeout", "3", fails=True)
    assert done.seconds < 15 and last()["error_category"] == "rate_limited"


def test_text_after_a_broken_stream_is_said_once(
    ask: Ask, run_llm: RunFunction, last: Callable[[], dict[str, Any]]
) -> None:
    """Grok appends its second try to what the first had left; we do not."""
    text = " ".join(f"word{n}" for n in range(1, 13))
    for extra in ((), ("--no-stream",)):
        done = ask("MOCK:DROP\nMOCK:TIMES=1\nMOCK:WORDS=12\nMOCK:SLOW=0.2", *extra)
        assert done.stdout.strip() == text == last()["response"]


def test_ctrl_c(
    ask: Ask,
    popen_llm: PopenFunction,
    runner: Runner,
    repo: Path,
    last: Callable[[], dict[str, Any]],
) -> None:
    """It ends grok and what it started; what had arrived stays printed and recorded."""
    prompt = "count\nMOCK:SLOW=0.2\nMOCK:WORDS=200"
    process = popen_llm(
        *("prompt", "-m", "gateway-grok", prompt), cwd=repo, stdin=subprocess.DEVNULL
    )
    assert process.stdout
    first = os.read(process.stdout.fileno(), 4096)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 1, err
    deadline = time.monotonic() + 3
    while runner.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert runner.left() == []
    assert last()["status"] == "canceled"
    assert (first + out).decode().strip() == last()["response"].strip() != ""


def test_ctrl_c_while_a_command_runs(
    ask: Ask, popen_llm: PopenFunction, runner: Runner, repo: Path
) -> None:
    """Grok leaves its commands behind, in sessions of their own; nothing is left."""
    command = "touch started; sleep 300"
    prompt = call("run_terminal_command", command=command, description="wait")
    process = popen_llm(
        *("prompt", "-m", "gateway-grok", "-o", "access", "full", prompt),
        cwd=repo,
        env=FULL,
        stdin=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while not (repo / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    deadline = time.monotonic() + 3
    while runner.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert runner.left() == []
