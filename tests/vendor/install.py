"""The vendor CLIs at pinned versions, installed from npm on first use into a cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CACHE_VARIABLE = "LLM_GATEWAY_VENDOR_CACHE"
INSTALL_TIMEOUT = 900.0
_STAMP = "installed-version"
_KEPT_ENVIRONMENT = (
    "PATH", "LANG", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS",
)  # fmt: skip


class Unavailable(Exception):
    """Something that vendor tests need is missing here; the message says what, in one line."""


@dataclass(frozen=True)
class Package:
    """An npm package that holds a vendor CLI."""

    name: str
    version: str


PACKAGES = {
    "claude": Package("@anthropic-ai/claude-code", "2.1.330"),
    "codex": Package("@openai/codex", "0.169.0"),
    "gemini": Package("@google/gemini-cli", "0.61.0"),
    "grok": Package("@xai-official/grok", "1.0.41"),
}


def cache_folder() -> Path:
    """Return the folder that holds the installed CLIs."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(__file__).parents[2] / ".cache" / "vendor"


def installed(name: str) -> Path | None:
    """Return the executable of CLI `name` if it is in the cache, without installing it."""
    package = PACKAGES[name]
    folder = cache_folder() / name
    stamp = folder / _STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == package.version:
        return folder / "node_modules" / ".bin" / name
    return None


def ensure(name: str) -> Path:
    """Return the executable of CLI `name`, installing the pinned version if it is not there."""
    if found := installed(name):
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"npm is missing, so {name} cannot be installed")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n", encoding="utf-8")
    with _locked(cache / f"{name}.lock"):
        return installed(name) or _install(npm, name, cache)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(npm: str, name: str, cache: Path) -> Path:
    package = PACKAGES[name]
    folder = cache / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="npm-home-", dir=cache) as home:
        environment = {key: os.environ[key] for key in _KEPT_ENVIRONMENT if key in os.environ}
        environment["HOME"] = home
        argv = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--no-save"]
        argv.append(f"{package.name}@{package.version}")
        _checked(argv, environment, INSTALL_TIMEOUT, f"npm could not install {name}")
        executable = folder / "node_modules" / ".bin" / name
        version = _checked([str(executable), "--version"], environment, 60.0, f"{name} cannot run")
    if package.version not in version:
        raise Unavailable(f"{name} says it is {version.strip()!r}, not {package.version}")
    (folder / _STAMP).write_text(package.version + "\n", encoding="utf-8")
    return executable


def _checked(argv: list[str], environment: dict[str, str], timeout: float, failure: str) -> str:
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Unavailable(f"{failure}: {type(problem).__name__}") from problem
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise Unavailable(f"{failure}: {(lines or ['exit code ' + str(done.returncode)])[0]}")
    return done.stdout


if __name__ == "__main__":
    for wanted in sys.argv[1:] or PACKAGES:
        print(ensure(wanted))
