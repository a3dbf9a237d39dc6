"""How a request becomes a run of gemini: arguments, environment, policy, and what goes on stdin."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.errors import InvalidInput, PermissionDenied, SessionLost
from llm_gateway.policy.child_env import child_environment
from llm_gateway.providers.base import Launch
from llm_gateway.providers.gemini import Gemini
from llm_gateway.providers.gemini_policy import ESCAPED, LEVELS, PROTECTED
from llm_gateway.request import (
    Access,
    Attachment,
    Invocation,
    Options,
    Request,
    SessionPlan,
    Turn,
    system_digest,
)

U = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb"
NEW = SessionPlan("new", new_id=U)
READ = [*("read_file", "list_directory", "glob", "grep_search", "read_many_files")]
Rule = dict[str, Any]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a home, a workspace and a private folder in it."""
    for name in ("home", "ws", "files", "state"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GEMINI_CLI_HOME", raising=False)
    return tmp_path


def plan(
    place: Path,
    prompt: str = "hello",
    session: SessionPlan = NEW,
    access: Access = Access.READ,
    options: Options | None = None,
    **more: Any,
) -> Invocation:
    environ = {"HOME": str(place / "home"), "PATH": "/usr/bin"}
    launch = Launch(
        "/bin/gemini",
        dict(environ),
        environ,
        str(place / "ws"),
        access,
        session,
        lambda: place / "files",
        place / "state",
    )
    request = Request("r", "gemini", prompt, options or Options(), **more)
    return Gemini().plan(request, launch)


def check(place: Path, access: Access = Access.READ, **options: Any) -> None:
    o = Options(cwd=str(place / "ws"), **options)
    Gemini().check(Request("r", "gemini", "hi", o), access)


def after(invocation: Invocation, name: str) -> list[str]:
    argv = invocation.argv
    return [argv[at + 1] for at, word in enumerate(argv) if word == name]


def rules(invocation: Invocation) -> list[Rule]:
    """The rules of our policy file, highest first."""
    text = Path(after(invocation, "--policy")[0]).read_text()
    found = []
    for block in text.split("[[rule]]")[1:]:
        pairs = (line.split(" = ", 1) for line in block.strip().splitlines())
        found.append({key: _value(value) for key, value in pairs})
    return found


def _value(text: str) -> Any:
    return text[1:-1] if text.startswith("'") else json.loads(text)


def allowed(invocation: Invocation) -> list[str]:
    """The tools that the policy lets through."""
    assert rules(invocation)[-1] == {"toolName": "*", "decision": "deny", "priority": 996}
    return [rule["toolName"] for rule in rules(invocation) if rule["decision"] == "allow"]


# Sessions and arguments.


@pytest.mark.parametrize(
    ("session", "argv"),
    [
        (NEW, ["--session-id", U]),
        (SessionPlan("resume", U), ["--resume", U]),
        (SessionPlan("latest"), ["--resume", "latest"]),
    ],
)
def test_sessions(place: Path, session: SessionPlan, argv: list[str]) -> None:
    invocation = plan(place, session=session, options=Options(model="flash", add_dirs=("/a", "b")))
    assert list(invocation.argv) == [
        *("/bin/gemini", "-o", "stream-json", "--skip-trust"),
        *("--allowed-mcp-server-names", "none", "--approval-mode", "default"),
        *("--policy", str(place / "files" / "read.toml"), *argv, "--model", "flash"),
        *("--include-directories", "/a", "--include-directories", str(place / "ws" / "b")),
    ]
    assert invocation.stdin == b"hello"


def test_a_fork_reads_the_newest_file_of_the_session(place: Path) -> None:
    """The id that it gets is gemini's to choose."""
    with pytest.raises(SessionLost):
        plan(place, session=SessionPlan("fork", U))
    for project, id in (("a", U), ("b", U[:8] + "-other")):
        chats = place / "home" / ".gemini" / "tmp" / project / "chats"
        chats.mkdir(parents=True)
        head = json.dumps({"sessionId": id})
        (chats / f"session-2026-{U[:8]}.jsonl").write_text(head + "\nmore\n")
    invocation = plan(place, session=SessionPlan("fork", U))
    (file,) = after(invocation, "--session-file")
    assert file.endswith(f"/tmp/a/chats/session-2026-{U[:8]}.jsonl")
    assert invocation.session.expected_id is None
    assert not Gemini.chooses_fork_id


def test_a_comma_separates_directories(place: Path) -> None:
    with pytest.raises(InvalidInput, match="comma"):
        plan(place, options=Options(add_dirs=("a,b",)))


def test_the_version_is_that_of_the_package(place: Path) -> None:
    package = place / "lib" / "gemini-cli"
    (package / "bundle").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "@google/gemini-cli", "version": "0.61.0"}')
    (package / "bundle" / "gemini.js").touch()
    (place / "gemini").symlink_to(package / "bundle" / "gemini.js")
    request = Request("r", "gemini", "hi")
    for program, version in ((str(place / "gemini"), "0.61.0"), (sys.executable, None)):
        invocation = Invocation((program,), b"", {}, "", Access.READ, NEW)
        assert Gemini().parser(request, invocation).cli_version == version


# Access.


def test_the_levels(place: Path) -> None:
    assert allowed(plan(place)) == READ
    edit = plan(place, access=Access.EDIT)
    assert allowed(edit) == [*READ, "write_file", "replace"]
    denied = [r["toolName"] for r in rules(edit) if r.get("argsPattern")]
    assert denied == ["write_file", "replace", "write_file", "replace", "list_directory"]
    full = plan(place, access=Access.FULL)
    assert after(full, "--policy") == []
    assert after(full, "--approval-mode") == ["yolo"]
    assert "--allowed-mcp-server-names" not in full.argv


@pytest.mark.parametrize(
    ("access", "word", "tools"),
    [
        (Access.READ, "plan", READ),
        (Access.EDIT, "default", READ),
        (Access.EDIT, "auto_edit", [*READ, "write_file", "replace"]),
        (Access.FULL, "plan", READ),
    ],
)
def test_native_words(place: Path, access: Access, word: str, tools: list[str]) -> None:
    """gemini's own modes hold nothing, so the policy of the level that they stand for does."""
    invocation = plan(place, access=access, options=Options(native={"approval_mode": word}))
    assert after(invocation, "--approval-mode") == [word]
    assert allowed(invocation) == tools


def test_a_native_word_wider_than_the_level(place: Path) -> None:
    for word in ("auto_edit", "yolo"):
        with pytest.raises(PermissionDenied, match="-o access"):
            check(place, native={"approval_mode": word})
    with pytest.raises(InvalidInput, match="not one of"):
        check(place, native={"approval_mode": "wild"})


def test_tool_lists(place: Path) -> None:
    some = Options(allowed_tools=("read_file",), disallowed_tools=("glob",))
    assert allowed(plan(place, options=some)) == ["read_file"]
    assert rules(plan(place, options=some))[0] == {
        "toolName": "glob",
        "decision": "deny",
        "priority": 999,
    }
    git = Options(allowed_tools=("run_shell_command(git log:*)",))
    assert rules(plan(place, access=Access.FULL, options=git))[0] == {
        "toolName": "run_shell_command",
        "commandPrefix": "git log",
        "allowRedirection": True,
        "decision": "allow",
        "priority": 997,
    }


def test_at_full_the_users_own_rules_stay(place: Path) -> None:
    own = place / "home" / ".gemini" / "policies"
    own.mkdir(parents=True)
    options = Options(disallowed_tools=("run_shell_command",))
    full = plan(place, access=Access.FULL, options=options)
    assert after(full, "--policy") == [str(place / "files" / "full.toml"), str(own)]
    assert after(plan(place, options=options), "--policy") == [str(place / "files" / "read.toml")]


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"allowed_tools": ("Bash",)}, InvalidInput, "no tool named 'Bash'"),
        ({"disallowed_tools": ("shell",)}, InvalidInput, "no tool named 'shell'"),
        ({"allowed_tools": ("write_file",)}, PermissionDenied, "-o access edit"),
        ({"allowed_tools": ("mcp_a_b",)}, PermissionDenied, "-o access full"),
        ({"allowed_tools": ("read_file(x)",)}, InvalidInput, "run_shell_command only"),
    ],
)
def test_refused_tools(
    place: Path, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        check(place, **options)


@pytest.mark.parametrize(
    ("path", "protected"),
    [
        (".gemini/.env", True),
        ("./.git/hooks/x", True),
        ("/ws/.GIT/config", True),
        ('a"/../.gemini/x', True),
        ("sub/.git", True),
        (".gitignore", False),
        ("a.git/x", False),
        (".github/x", False),
        ("docs/gemini/x", False),
    ],
)
def test_protected_files(path: str, protected: bool) -> None:
    """What the file holds does not count, only where it is."""
    members = [f'"{k}":{json.dumps(v)}' for k, v in (("content", "/.git/"), ("file_path", path))]
    text = "{\0" + "\0,\0".join(members) + "\0}"
    assert bool(re.search(PROTECTED, text)) == protected
    # gemini drops a rule whose pattern it takes for unsafe.
    for pattern in (PROTECTED, ESCAPED):
        assert not re.search(r"\([^)]*[*+?{].*\)[*+?{]", pattern)


@pytest.mark.parametrize(
    ("member", "path", "escaped"),
    [
        ("file_path", "%2egemini/x", True),
        ("file_path", "/ws/.gi%74/x", True),
        ("dir_path", "a%2Fb", True),
        ("file_path", "100%", False),
        ("file_path", "5% off/x", False),
        ("pattern", "%2e", False),
    ],
)
def test_escaped_paths(member: str, path: str, escaped: bool) -> None:
    """gemini decodes a path on its way to the file, and so after the policy has seen it."""
    text = "{\0" + f'"content":"%2e"\0,\0"{member}":{json.dumps(path)}' + "\0}"
    assert bool(re.search(ESCAPED, text)) == escaped


def test_every_level_says_what_it_allows() -> None:
    assert set(LEVELS) == set(Access)
    assert set(LEVELS[Access.EDIT].tools) <= Gemini.tool_names


# The workspace's own settings.


def test_the_environment_distrusts_the_workspace(place: Path) -> None:
    env = plan(place).env
    assert env["GEMINI_CLI_TRUST_WORKSPACE"] == "false"
    assert Path(env["GEMINI_CLI_TRUSTED_FOLDERS_PATH"]).read_text() == "{}"
    assert env["TMPDIR"] == str(place / "files" / "tmp")
    trusting = plan(place, options=Options(trust_workspace=True))
    assert trusting.env["GEMINI_CLI_TRUST_WORKSPACE"] == "true"
    assert "GEMINI_CLI_TRUSTED_FOLDERS_PATH" not in trusting.env
    assert not {"--skip-trust", "--allowed-mcp-server-names"} & set(trusting.argv)
    assert allowed(trusting) == READ


DOTENV = """\
# A comment: with a colon
export GEMINI_MODEL = evil
LD_PRELOAD=/x.so
  APP.NAME: app
PATH=/evil
\ufeffODD\u00a0\u2003=1
MULTI="a
INNER=2"
"""


@pytest.mark.parametrize("at", ["ws", "."])
def test_a_dotenv_sets_nothing(place: Path, at: str) -> None:
    """gemini leaves alone what has a value, be it an empty one; the nearest file counts."""
    (place / at / ".env").write_text(DOTENV)
    env = plan(place).env
    for name in ("GEMINI_MODEL", "LD_PRELOAD", "APP.NAME", "ODD", "MULTI", "INNER"):
        assert env[name] == ""
    assert env["PATH"] == "/usr/bin"
    full = plan(place, access=Access.FULL).env
    assert (full["GEMINI_MODEL"], full["LD_PRELOAD"]) == ("", "")
    assert not {"APP.NAME", "MULTI", "INNER"} & set(full)
    assert "GEMINI_MODEL" not in plan(place, options=Options(trust_workspace=True)).env


def test_the_users_own_dotenv_counts(place: Path) -> None:
    inside = place / "home" / "project"
    inside.mkdir()
    (place / "home" / ".env").write_text(DOTENV)
    (place / "ws").rmdir()
    (place / "ws").symlink_to(inside)
    assert "GEMINI_MODEL" not in plan(place).env


def test_a_long_dotenv_takes_no_time(place: Path) -> None:
    (place / "ws" / ".env").write_text("a" * 2_000_000 + " " * 2_000_000 + "b")
    assert "b" not in plan(place).env


@pytest.mark.parametrize("at", ["ws/.gemini", ".gemini"])
@pytest.mark.parametrize("access", Access)
def test_an_env_file_that_gemini_obeys(place: Path, at: str, access: Access) -> None:
    """In the workspace or above it; not the user's own; and not where the workspace is trusted."""
    check(place, access)
    (place / "home" / ".gemini").mkdir()
    (place / "home" / ".gemini" / ".env").touch()
    (place / at).mkdir()
    (place / at / ".env").touch()
    with pytest.raises(PermissionDenied, match="-o trust_workspace 1") as refused:
        check(place, access)
    assert str(place / at / ".env") in str(refused.value)
    check(place, access, trust_workspace=True)


def test_in_the_home_itself(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "ws" / ".gemini").mkdir()
    (place / "ws" / ".gemini" / ".env").touch()
    monkeypatch.setenv("HOME", str(place / "ws"))
    check(place)
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.setenv("GEMINI_CLI_HOME", str(place / "ws"))
    check(place)


def test_what_gemini_gets_of_the_environment() -> None:
    environ = {
        **dict.fromkeys(("GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT", "CODE_ASSIST_ENDPOINT"), "x"),
        **dict.fromkeys(("GEMINI_CLI_TRUST_WORKSPACE", "GEMINI_CLI_IDE_WORKSPACE_PATH"), "x"),
        **dict.fromkeys(("CLOUDSDK_CONFIG", "ANTHROPIC_API_KEY", "LD_PRELOAD"), "x"),
    }
    kept, withheld = child_environment(environ, Gemini.variables, Access.READ)
    ours = set(kept) & set(environ)
    assert ours == {"GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT", "CODE_ASSIST_ENDPOINT"}
    assert withheld == ("ANTHROPIC_API_KEY",)
    vertex = {**environ, "GOOGLE_GENAI_USE_VERTEXAI": "true"}
    assert "CLOUDSDK_CONFIG" in child_environment(vertex, Gemini.variables, Access.READ)[0]


# The prompt.


def test_a_command_is_disarmed(place: Path) -> None:
    assert plan(place, "/init now").stdin == b"\n/init now"
    assert plan(place, " /init").stdin == b" /init"


@pytest.mark.parametrize(("prompt", "glob"), [("a@b", False), ("a @ b", True), ("x", True)])
def test_a_mention_takes_glob_away(place: Path, prompt: str, glob: bool) -> None:
    """With it gemini would put in the first file whose name holds the word."""
    denied = [r["toolName"] for r in rules(plan(place, prompt)) if r["priority"] == 999]
    assert denied == ([] if glob else ["glob"])
    asked = Options(allowed_tools=("glob",))
    assert 999 not in [r["priority"] for r in rules(plan(place, "a@b", options=asked))]


def test_a_system_prompt(place: Path) -> None:
    """Told with the first prompt, and when it is another one."""
    told = b"<instructions>\nBe brief\n</instructions>\n\nhello"
    assert plan(place, system="Be brief").stdin == told
    same = SessionPlan("resume", U, system_before=system_digest("Be brief"))
    assert plan(place, system="Be brief", session=same).stdin == b"hello"
    other = SessionPlan("resume", U, system_before=system_digest("Be long"))
    assert plan(place, system="Be brief", session=other).stdin.endswith(told)


def test_all_that_goes_before_a_prompt(place: Path) -> None:
    (place / "note.txt").write_text("a note")
    (place / "an image.png").write_bytes(b"\x89PNG")
    session = SessionPlan("new", new_id=U, quoted=(Turn("user", "before"),))
    invocation = plan(
        place,
        session=session,
        system="Be brief",
        schema={"type": "object"},
        attachments=(
            Attachment("text/plain", path=str(place / "note.txt")),
            Attachment("image/png", path=str(place / "an image.png")),
            Attachment("audio/mpeg", content=b"ID3"),
        ),
    )
    text = invocation.stdin.decode()
    pieces = ("Be brief", "a note", "<user>\nbefore", "hello", "JSON schema", '"object"', '@"')
    assert [text.index(piece) for piece in pieces] == sorted(text.index(p) for p in pieces)
    (folder,) = after(invocation, "--include-directories")
    copies = re.findall(r'@"(.+?)"', text)
    assert [Path(copy).name for copy in copies] == ["attachment-2.png", "attachment-3.mp3"]
    assert Path(copies[0]).read_bytes() == b"\x89PNG"
    assert {str(Path(copy).parent) for copy in copies} == {folder}


def test_limits(place: Path) -> None:
    with pytest.raises(InvalidInput, match="takes at most 8,388,608"):
        plan(place, "x" * 8_388_600, system="Be brief")
    with pytest.raises(InvalidInput, match="20 MiB"):
        plan(place, attachments=(Attachment("image/png", content=b"x" * (20 * 2**20 + 1)),))
