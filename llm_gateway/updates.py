"""Which version of a CLI is installed, how it got there, and what would upgrade it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from . import settings
from .cli_call import Said, call, environment, executable
from .errors import CliMissing, InvalidInput, PermissionDenied, Saturated, TimedOut
from .policy.child_env import ACCESS_CAP
from .providers.base import Provider
from .providers.features import packaged_version
from .records import asdict, record
from .request import Access

__all__ = ["Installed", "Plan", "how_installed", "plan", "run", "target_of", "versions"]

SECONDS = 5.0
# A version, or a tag of the package's: no URL, path, archive, alias or flag (all of which npm
# would install), and nothing that a shell or a CLI could take for something else.
VERSION = re.compile(r"v?\d+(?:\.\d+){0,3}(?:[-+][0-9A-Za-z]+(?:[.-][0-9A-Za-z]+)*)?")
TAG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
ARCHIVE = re.compile(r"\.(?:tgz|tar|gz|zip)\Z", re.IGNORECASE)
# What a path tells of who put it there, and what that one installs a package with.
PLACES = (
    ("brew", r"/(?:Cellar|Caskroom)/(?P<formula>[^/]+)/"),
    ("nix", r"^/nix/store/"),
    ("bun", r"/\.bun/"),
    ("pnpm", r"/pnpm/"),
    ("volta", r"/\.volta/"),
    ("yarn", r"/yarn/"),
    ("npm", r"/node_modules/"),
    ("native", r"/\.(?:claude|codex|gemini|grok)/|/\.local/(?:share|bin)/"),
    ("system", r"^/usr/(?!local/)|^/bin/|^/opt/"),
)
MANAGERS = {
    "npm": ("npm", "install", "-g"),
    "bun": ("bun", "add", "-g"),
    "pnpm": ("pnpm", "add", "-g"),
    "volta": ("volta", "install"),
    "yarn": ("yarn", "global", "add"),
}
OWN = ("npm", "native", "unknown")


@record(frozen=True)
class Installed:
    """What ``versions`` tells of one CLI.

    ``said`` is the line in which it told its version; ``misnamed``: a setting names another
    program, which cannot be run.
    """

    provider: str
    installed: bool
    version: str | None = None
    path: str | None = None
    how: str | None = None
    said: str | None = None
    problem: str | None = None
    misnamed: bool = False


@record(frozen=True)
class Plan:
    """What an upgrade would run. ``strategy``: self-update, or PROGRAM-global-install."""

    cli: str
    target: str
    command: str
    args: tuple[str, ...]
    strategy: str
    note: str | None = None
    requires_network: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def versions(providers: Iterable[Provider], seconds: float = SECONDS) -> list[Installed]:
    """Ask all of them at once; one that hangs is ended and told, and delays nobody for long."""
    wanted = list(providers)
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        return list(pool.map(lambda provider: _version(provider, seconds), wanted))


def _version(provider: Provider, seconds: float) -> Installed:
    try:
        found, named = executable(provider), settings.cli_override(provider.name)
    except InvalidInput as error:
        return Installed(provider.name, False, problem=str(error).rstrip("."), misnamed=True)
    if found is None:
        missing = f"not installed; install it with: {provider.install}"
        if named:
            variable = settings.setting("LLM_GATEWAY_<PROVIDER>_CLI").of(provider.name).name
            missing = f"{variable}={named} cannot be run"
        return Installed(provider.name, False, problem=missing, misnamed=bool(named))
    said = call(provider, provider.upkeep.version, seconds, program=found)
    line = _first_line(said)
    number = re.search(r"\d+(?:\.\d+)+[-+.\w]*", line)
    problem = said.problem or (None if said.code == 0 else f"it exited with {said.code}")
    return Installed(
        provider.name,
        said.started,
        number[0] if number else packaged_version(found, provider.upkeep.package),
        found,
        how_installed(found),
        line or None,
        problem,
    )


def _first_line(said: Said) -> str:
    lines = (line.strip() for text in (said.out, said.err) for line in text.splitlines())
    return next((line for line in lines if line), "")[:200]


def how_installed(path: str) -> str:
    """Who put a program there, as far as its path tells."""
    return _place(path)[0]


def _place(path: str) -> tuple[str, str | None]:
    if os.path.realpath(path) == os.path.realpath(sys.executable):
        return "python", None
    for real in (os.path.realpath(path), path):
        for how, pattern in PLACES:
            if found := re.search(pattern, real):
                return how, found.groupdict().get("formula")
    return "unknown", None


def target_of(said: str) -> str:
    """A version or a tag.

    :raises InvalidInput: for anything else that a package manager would install as well (T-26).
    """
    target = said.strip()
    good = VERSION.fullmatch(target) or TAG.fullmatch(target)
    if not good or ARCHIVE.search(target):
        raise InvalidInput(
            f"{said!r} is neither a version nor a tag; a target is one, such as latest or 1.2.3."
        )
    return target


def plan(provider: Provider, said: str = "latest") -> Plan:
    """What would upgrade a CLI to a target; nothing is run."""
    target, upkeep = target_of(said), provider.upkeep
    if not upkeep.package:
        raise InvalidInput(f"{provider.title} is not upgraded by itself: {provider.install}")
    found = executable(provider)
    how, formula = _place(found) if found else ("npm", None)
    if how == "brew":
        return _with_brew(provider, target, str(formula))
    if how in ("nix", "system"):
        raise PermissionDenied(f"{found} belongs to the system; upgrade it where it came from.")
    own = upkeep.latest if target == "latest" else upkeep.chosen
    if found and own and how in OWN:
        args = tuple(word.replace("{target}", target) for word in own)
        return Plan(provider.name, target, found, args, "self-update")
    program, *args_of = MANAGERS.get(how, MANAGERS["npm"])
    note = None if found else f"{provider.title} is not installed yet"
    if found and how not in MANAGERS:
        note = f"{found} was not installed by npm: afterwards the first one on PATH counts"
    args = (*args_of, f"{upkeep.package}@{target}")
    return Plan(provider.name, target, program, args, f"{program}-global-install", note)


def _with_brew(provider: Provider, target: str, formula: str) -> Plan:
    if target != "latest":
        raise InvalidInput(f"{provider.title} came with brew, which has its newest version only.")
    return Plan(provider.name, target, "brew", ("upgrade", formula), "brew-upgrade")


def run(provider: Provider, what: Plan, seconds: float) -> Said:
    """Run the plan, alone: one upgrade of a CLI at a time.

    :raises CliMissing: where the program is not there. :raises TimedOut: after ``seconds``.
    :raises PermissionDenied: for an agent that a gateway runs below ``full``.
    """
    if os.environ.get(ACCESS_CAP, Access.FULL.value) != Access.FULL.value:
        raise PermissionDenied("An agent may not upgrade CLIs; run this at a terminal of your own.")
    # npm's own variables say where its packages go.
    npm = {n: v for n, v in os.environ.items() if n.lower().startswith("npm_config_")}
    env = {**environment(provider, quiet=False), **npm}
    program = shutil.which(what.command, path=env.get("PATH", os.defpath))
    if program is None:
        raise CliMissing(f"{what.command} is not on PATH, and {what.strategy} needs it.")
    with _alone(provider.name):
        said = call(provider, what.args, seconds, program=program, env=env, politely=True)
    if said.problem and said.problem.startswith("it did not end"):
        raise TimedOut(f"The upgrade took longer than {seconds:g} s and was stopped.")
    return said


@contextmanager
def _alone(provider: str) -> Iterator[None]:
    import fcntl

    from .store.connection import create_private, make_directory

    folder = settings.home() / "locks"
    make_directory(folder)
    descriptor = create_private(folder / f"upgrade-{provider}.lock")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Saturated(f"{provider} is being upgraded already; try again later.") from None
        yield
    finally:
        os.close(descriptor)
