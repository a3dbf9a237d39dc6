"""Looks at everything that a prompt needs, changes nothing, and says what mends what is broken."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from . import settings
from .cli_call import call
from .contract import vanished
from .doctor_recorder import look
from .errors import InvalidInput
from .findings import BROKEN, NOTE, OK, WARNING, Finding
from .providers.base import Provider
from .registry import filled
from .updates import Installed, versions

__all__ = ["examine"]

KEY = re.compile(r"(KEY|TOKEN)(_|$)")
ORIGINAL = "llm-cli-gateway"
# More than `versions` gives them: a slow machine is no reason to call a CLI broken.
SECONDS = 20.0


def examine(providers: Iterable[Provider], *, probe: bool = False) -> Iterator[Finding]:
    """Look at everything. ``probe``: compare each CLI's help with every flag that we pass."""
    wanted = list(providers)
    yield from _programs()
    said = list(_settings())
    yield from said
    if any(finding.state == BROKEN for finding in said):
        return  # they say where everything else is
    yield from _clis(wanted, probe)
    yield from _keys(wanted)
    yield from look()


# Ourselves.


def _programs() -> Iterator[Finding]:
    told = [f"{name} {found}" for name in ("llm-gateway", "llm") if (found := _installed(name))]
    told.append("Python {}.{}.{}".format(*sys.version_info[:3]))
    yield Finding("programs", "versions", OK, ", ".join(told))
    if version := _installed(ORIGINAL):
        yield Finding(
            "programs",
            ORIGINAL,
            BROKEN,
            f"{ORIGINAL} {version} is installed beside llm-gateway: both are called llm_gateway "
            "when they are imported, so that one has written over the other",
            f"llm uninstall {ORIGINAL} -y && llm install --force-reinstall llm-gateway",
        )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# The CLIs.


def _clis(wanted: list[Provider], probe: bool) -> Iterator[Finding]:
    found = versions(wanted, SECONDS)
    there = [p for p, row in zip(wanted, found, strict=True) if row.installed and row.path]
    with ThreadPoolExecutor(max_workers=max(1, len(there))) as pool:
        asked = {p.name: pool.submit(_asked, p, probe) for p in there}
        more = {name: pending.result() for name, pending in asked.items()}
    for provider, row in zip(wanted, found, strict=True):
        yield _version(provider, row)
        yield from more.get(provider.name, ())
    if not any(p.upkeep.package for p in there):
        yield Finding("clis", "all", BROKEN, "no vendor's CLI is installed", wanted[0].install)


def _version(provider: Provider, row: Installed) -> Finding:
    if not row.installed:
        missing = f"{provider.title} is not installed"
        if row.misnamed:
            remedy = "name the executable there, or unset it; see: llm gateway settings"
            return Finding("clis", row.provider, BROKEN, str(row.problem), remedy)
        return Finding("clis", row.provider, NOTE, missing, provider.install)
    if row.problem:
        failed = f"{row.path}: asked for its version, {row.problem}"
        return Finding("clis", row.provider, BROKEN, failed, _reinstall(provider))
    return Finding("clis", row.provider, OK, f"{row.version or row.said} at {row.path} ({row.how})")


def _reinstall(provider: Provider) -> str:
    return f"run {provider.command} --version at a terminal, or {provider.install}"


def _asked(provider: Provider, probe: bool) -> list[Finding]:
    """What a CLI tells of its login, and with ``probe`` of its flags."""
    findings = [*_login(provider), *_silent_key(provider)]
    return findings + (list(_flags(provider)) if probe else [])


def _login(provider: Provider) -> Iterator[Finding]:
    upkeep, area = provider.upkeep, "logins"
    if not upkeep.package:
        return
    keys = [name for name in provider.key_names(os.environ) if os.environ.get(name)]
    files = [path for path in _login_files(provider) if path.exists()]
    told = _said_of_login(provider) if upkeep.status else None
    if keys:
        yield Finding(area, provider.name, OK, f"by {keys[0]} (not tried)")
    elif told or (told is None and files):
        where = f"{files[0]} is there" if files else f"{provider.command} says so"
        yield Finding(area, provider.name, OK, f"logged in: {where} (not tried)")
    else:
        says = "is not logged in" if told is False else "has no login that can be seen"
        yield Finding(area, provider.name, WARNING, f"{provider.title} {says}", provider.login)


def _said_of_login(provider: Provider) -> bool | None:
    said = call(provider, provider.upkeep.status, 10.0)
    if said.problem is not None or said.code is None:
        return None
    return provider.upkeep.logged_in(said.code, said.out or said.err)


def _silent_key(provider: Provider) -> Iterator[Finding]:
    keys = [name for name in provider.upkeep.keys if os.environ.get(name)]
    files = [path for path in _login_files(provider) if path.exists()]
    if keys and files:
        yield Finding(
            "logins",
            provider.name,
            WARNING,
            f"{keys[0]} is set, so {provider.title} may bill that key and not the login that it "
            f"keeps in {files[0]}",
            f"unset {keys[0]}, if the login is the one that is meant",
        )


def _login_files(provider: Provider) -> list[Path]:
    return [Path(filled(place, os.environ)) for place in provider.upkeep.login_files]


def _flags(provider: Provider) -> Iterator[Finding]:
    from .cli_call import executable

    program, gone = executable(provider), 0
    for command, flag, feature in vanished(provider, program) if program else ():
        gone += 1
        text = f"{command} has no {flag} (any more), so this does not work: {feature}"
        if not flag:
            text = f"{command}: {feature}"
        yield Finding("flags", provider.name, BROKEN, text, _mend_flag(provider))
    if not gone and provider.upkeep.flags:
        count = len({flag for flags in provider.upkeep.flags.values() for flag in flags})
        yield Finding("flags", provider.name, OK, f"all {count} flags that we pass are there")


def _mend_flag(provider: Provider) -> str:
    return f"llm gateway upgrade {provider.name} --run, or llm install -U llm-gateway"


# The environment.


def _keys(wanted: list[Provider]) -> Iterator[Finding]:
    """Which vendors' keys are set; a CLI gets its own vendor's alone."""
    told = []
    for name in sorted(n for n in os.environ if KEY.search(n) and os.environ[n]):
        own = [p.name for p in wanted if p.environment_names(os.environ).pass_(name, os.environ)]
        if own:
            told.append(f"{name} (for {', '.join(own)})")
    if told:
        text = f"{'; '.join(told)}. Each CLI gets its own vendor's alone"
        yield Finding("environment", "keys", NOTE, text)


def _settings() -> Iterator[Finding]:
    try:
        settings.check()
    except InvalidInput as error:
        remedy = "mend it in the environment or in config.toml; the rest was not looked at"
        yield Finding("settings", "values", BROKEN, str(error).rstrip("."), remedy)
        return
    for problem in settings.problems():
        yield Finding("settings", "values", WARNING, problem, "see: llm gateway settings")
    for name in settings.unread():
        text = f"{name} is set, and nothing reads it"
        yield Finding("settings", "values", NOTE, text, "see: llm gateway settings")
    from .providers import all_providers

    for setting, held in settings.every(all_providers()):
        if held.source != "default":
            text = f"{setting.name}={held.value} (from {held.source})"
            yield Finding("settings", "values", OK, text)
