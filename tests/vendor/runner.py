"""Runs programs inside the closed namespace with a bare environment and a throw-away HOME."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import install
from install import Unavailable
from netns import Namespace

FAKE_KEY = "sk-test-000"
#: What each CLI needs in its environment to talk to the mock server and to nothing else.
VENDOR_ENV: dict[str, dict[str, str]] = {
    "claude": {
        "ANTHROPIC_BASE_URL": "{url}",
        "ANTHROPIC_API_KEY": FAKE_KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
    },
    "codex": {"OPENAI_API_KEY": FAKE_KEY},
    "gemini": {"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_API_KEY": FAKE_KEY},
    "grok": {
        "GROK_XAI_API_BASE_URL": "{url}/v1",
        "XAI_API_KEY": FAKE_KEY,
        "GROK_TURN_SUMMARY": "0",
    },
}
_CODEX_CONFIG = """\
model_provider = "mock"

[model_providers.mock]
name = "mock"
base_url = "{url}/openai/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"

[analytics]
enabled = false

[features]
plugins = false
"""
_GEMINI_SETTINGS: dict[str, Any] = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "telemetry": {"enabled": False},
}
_GIT_CONFIG = """\
[user]
\tname = Test User
\temail = test@example.invalid
[safe]
\tdirectory = *
"""


@dataclass(frozen=True)
class Completed:
    """How a program ended and what it wrote."""

    argv: list[str]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def events(self) -> list[dict[str, Any]]:
        """Return the lines of standard output that are JSON objects."""
        found = []
        for line in self.stdout.splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
        return found


class MockHandle:
    """The mock model server inside the namespace, seen through its log file."""

    def __init__(self, namespace: Namespace, log_file: Path) -> None:
        self._log_file = log_file
        self._log_file.touch()
        self._mark = 0
        program = Path(__file__).with_name("mock_models.py")
        self._process = subprocess.Popen(
            namespace.command([sys.executable, "-E", str(program), "--log", str(log_file)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        first = self._process.stdout.readline().strip()
        if not first.isdigit():
            raise Unavailable("the mock model server did not start in the namespace")
        self.port = int(first)
        self.pid = self._process.pid

    @property
    def url(self) -> str:
        """The server's base URL, as seen inside the namespace."""
        return f"http://127.0.0.1:{self.port}"

    def clear(self) -> None:
        """Forget the requests made so far, also those that `MOCK:TIMES` counted."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("forget\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        self._mark = self._log_file.stat().st_size

    def requests(self, path_contains: str = "") -> list[dict[str, Any]]:
        """Return the requests since the last `clear`, as the server logged them."""
        with self._log_file.open("rb") as file:
            file.seek(self._mark)
            lines = file.read().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [entry for entry in entries if path_contains in entry["path"]]

    def bodies(self, path_contains: str = "") -> list[dict[str, Any]]:
        """Return the JSON bodies of the requests since the last `clear` that have one."""
        found = (entry["body"] for entry in self.requests(path_contains))
        return [body for body in found if isinstance(body, dict)]

    def wait_for(
        self, path_contains: str = "", count: int = 1, timeout: float = 30.0
    ) -> list[dict[str, Any]]:
        """Wait until `count` such requests came and return them."""
        limit = time.monotonic() + timeout
        while len(found := self.requests(path_contains)) < count:
            if time.monotonic() > limit:
                raise AssertionError(f"{len(found)} requests to {path_contains!r}, not {count}")
            time.sleep(0.05)
        return found

    def close(self) -> None:
        """Stop the server."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process.wait(10)


def make_home(folder: Path, url: str) -> Path:
    """Create a throw-away HOME in which each CLI is set up for the mock server."""
    for name in (".codex", ".gemini", ".grok"):
        (folder / name).mkdir(parents=True)
    (folder / ".codex" / "config.toml").write_text(_CODEX_CONFIG.format(url=url))
    (folder / ".gemini" / "settings.json").write_text(json.dumps(_GEMINI_SETTINGS))
    (folder / ".gitconfig").write_text(_GIT_CONFIG)
    return folder


def _as_from_a_shell() -> None:
    """Undo what a suite that runs in the background or under nohup would hand on."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Runner:
    """Runs `llm` and the vendor CLIs for one test, inside the namespace."""

    def __init__(self, namespace: Namespace, mock: MockHandle, home: Path, folder: Path) -> None:
        self.namespace = namespace
        self.mock = mock
        self.home = home
        self.folder = folder
        self.names: set[str] = set()
        self.llm_user_path = folder / "llm-user"
        self.gateway_home = folder / "gateway-home"
        self.temporary = folder / "t"
        for needed in (self.llm_user_path, self.gateway_home, self.temporary):
            needed.mkdir(parents=True, exist_ok=True)

    def environment(
        self, names: Iterable[str], changes: Mapping[str, str | None] | None = None
    ) -> dict[str, str]:
        """Return the whole environment for CLIs `names`; a change to None drops a variable."""
        wanted = sorted(names)
        folders = [str(path.parent) for name in wanted if (path := install.installed(name))]
        folders.append(str(Path(sys.executable).parent))
        if node := shutil.which("node"):
            folders.append(str(Path(node).parent))
        folders += ["/usr/bin", "/bin"]
        result = {
            "PATH": ":".join(dict.fromkeys(folders)),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "LLM_USER_PATH": str(self.llm_user_path),
            "LLM_GATEWAY_HOME": str(self.gateway_home),
            "LLM_GATEWAY_RETRIES": "0",
        }
        for name in wanted:
            for key, value in VENDOR_ENV[name].items():
                result[key] = value.format(url=self.mock.url)
        for key, changed in (changes or {}).items():
            if changed is None:
                result.pop(key, None)
            else:
                result[key] = changed
        return result

    def popen(
        self,
        argv: list[str],
        names: Iterable[str],
        cwd: Path,
        env: Mapping[str, str | None] | None = None,
        **more: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a process group of its own; pipes by default for all its streams."""
        environment = self.environment(names, env)
        found = shutil.which(argv[0], path=environment.get("PATH", ""))
        command = self.namespace.command([found or argv[0], *argv[1:]])
        nsenter = shutil.which(command[0]) or command[0]
        options: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            "preexec_fn": _as_from_a_shell,
        }
        options.update(more)
        return subprocess.Popen([nsenter, *command[1:]], cwd=cwd, env=environment, **options)

    def run(
        self,
        argv: list[str],
        names: Iterable[str],
        cwd: Path,
        input: str | bytes | None = None,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 120.0,
    ) -> Completed:
        """Run a program to its end; without `input` its standard input is empty."""
        data = input.encode() if isinstance(input, str) else (input or b"")
        start = time.monotonic()
        with self.popen(argv, names, cwd, env) as process:
            try:
                out, err = process.communicate(data, timeout)
            except subprocess.TimeoutExpired as expired:
                kill_group(process)
                self.kill_left()
                raise AssertionError(
                    f"{argv} still ran after {timeout} s; stdout {expired.stdout!r:.3000}, "
                    f"stderr {expired.stderr!r:.3000}"
                ) from None
        seconds = time.monotonic() - start
        texts = (out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
        return Completed(argv, process.returncode, *texts, seconds)

    def left(self) -> list[int]:
        """Return the processes that still run in the namespace, without the mock server."""
        return [pid for pid in self.namespace.pids() if pid != self.mock.pid]

    def kill_left(self) -> None:
        """End the processes that a test left in the namespace."""
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that has a group of its own, and that group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def git(repository: Path, *arguments: str) -> str:
    """Run Git in a repository, free of the developer's own configuration."""
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(repository),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        **{f"GIT_{who}_NAME": "Test User" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "test@example.invalid" for who in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=repository,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def make_repository(folder: Path) -> Path:
    """Create a small Git repository with one commit."""
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("# A small project\n\nIt adds numbers.\n")
    (folder / "add.py").write_text("def add(a: int, b: int) -> int:\n    return a + b\n")
    (folder / "docs").mkdir()
    (folder / "docs" / "notes.txt").write_text("MOCK:SAY=directives in files must not count\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "First commit")
    return folder


RunFunction = Callable[..., Completed]
PopenFunction = Callable[..., "subprocess.Popen[bytes]"]
