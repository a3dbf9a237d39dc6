"""Which models each provider has, as far as can be known without asking one.

Sources, the weakest first: ``fallback`` (names in this source code), ``observed`` (what answered
before), ``config`` (the CLI's own files), ``live`` (what the CLI listed), ``env`` (what the user
says in so many words). A name that nobody knows goes to the CLI as it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import settings
from .errors import InvalidInput
from .model_names import aliases_in, is_name, models_in
from .providers.base import Provider
from .providers.catalogue import Listing, SettingsFile
from .records import field, record
from .settings_file import toml

__all__ = ["Known", "Models", "Seen", "filled", "known", "resolve"]

CONFIDENCE = {
    "fallback": "low",
    "observed": "low",
    "config": "medium",
    "live": "high",
    "env": "high",
}
SOURCES = tuple(CONFIDENCE)
COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
Seen = Iterable[tuple[str, str, str]]


@record
class Known:
    """One model name: where it is from, and how far that can be trusted."""

    name: str
    source: str
    detail: str
    description: str = ""
    last_seen: str | None = None

    @property
    def confidence(self) -> str:
        return CONFIDENCE[self.source]


@record
class Models:
    """What is known of one provider's models. ``default`` is what ``-o model default`` means."""

    provider: str
    models: dict[str, Known] = field(default_factory=dict)
    default: str | None = None
    default_source: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def ordered(self) -> list[Known]:
        """The models, the default first."""
        return sorted(self.models.values(), key=lambda known: known.name != self.default)

    def add(self, known: Known) -> None:
        """Take a name in; a stronger source says what it is, an equal one where it is from."""
        if not is_name(known.name):
            self.warn(f"{known.detail}: {known.name!r} can be no model's name")
            return
        old = self.models.setdefault(known.name, known)
        stronger = SOURCES.index(known.source) - SOURCES.index(old.source)
        if stronger > 0 and known.description:
            old.description = known.description
        if stronger >= 0:
            old.source, old.detail = known.source, known.detail
        old.last_seen = max(filter(None, (old.last_seen, known.last_seen)), default=None)

    def set_default(self, name: str, source: str, detail: str) -> None:
        """Take a default; each source that is asked later is a stronger one."""
        self.add(Known(name, source, detail))
        if is_name(name):
            self.default, self.default_source = name, detail

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def known(
    provider: Provider,
    environ: Mapping[str, str] = os.environ,
    *,
    observed: Seen = (),
    listing: Listing | None = None,
    listed_by: str = "",
) -> Models:
    """Everything that is known of a provider's models.

    :param observed: names that answered before, with where and when.
    :param listing: what the CLI listed when it was asked.
    """
    found, catalogue = Models(provider.name), provider.catalogue
    for name, description in catalogue.hints.items():
        found.add(Known(name, "fallback", "a hint of llm-gateway's", description))
    if catalogue.default:
        found.set_default(catalogue.default, "fallback", "a hint of llm-gateway's")
    for name, where, when in observed:
        found.add(Known(name, "observed", where, last_seen=when or None))
    _listed(found, listing, listed_by)
    _configured(found, provider, environ)
    _named(found, provider)
    return found


def _listed(found: Models, listing: Listing | None, by: str) -> None:
    if listing is None:
        return
    for name, description in listing.models.items():
        found.add(Known(name, "live", by, description))
    if listing.default:
        found.set_default(listing.default, "live", by)


def _configured(found: Models, provider: Provider, environ: Mapping[str, str]) -> None:
    """What the CLI's own files and variables say; the variables win over the files."""
    for file in provider.catalogue.files:
        path = path_of(file, environ)
        data = _read(path, found)
        said = [value for key in file.keys if isinstance(value := _at(data, key), str) and value]
        for name, description in file.more(data) if file.more else ():
            found.add(Known(name, "config", str(path), description))
        if said:
            found.set_default(said[0].strip(), "config", str(path))
    for variable in provider.catalogue.variables:
        if value := environ.get(variable, "").strip():
            found.set_default(value, "env", variable)


def _named(found: Models, provider: Provider) -> None:
    """What the user says to the gateway: names, aliases, a default."""
    for value, source, name in _said(provider, "<PROVIDER>_MODELS"):
        names, warnings = models_in(value)
        for model, description in names.items():
            found.add(Known(model, source, name, description))
        for text in warnings:
            found.warn(f"{name}: {text}")
    for value, source, name in _said(provider, "<PROVIDER>_DEFAULT_MODEL"):
        found.set_default(value, source, name)
    _aliases(found, provider)


def _aliases(found: Models, provider: Provider) -> dict[str, str]:
    """What the user calls models, the provider's own variable last, which wins."""
    for setting, prefix in (
        ("LLM_GATEWAY_MODEL_ALIASES", f"{provider.name}."),
        ("<PROVIDER>_MODEL_ALIASES", ""),
    ):
        for value, _, name in _said(provider, setting):
            aliases, warnings = aliases_in(value, prefix)
            found.aliases |= aliases
            for text in warnings:
                found.warn(f"{name}: {text}")
    return found.aliases


def _said(provider: Provider, name: str) -> Iterator[tuple[str, str, str]]:
    """The value of a setting, as a source of model names; nothing where it is not set."""
    setting = settings.setting(name).of(provider.name)
    held = settings.effective(setting)
    if held.value:
        from_file = held.source == "config.toml"
        where = f"{setting.key} in {settings.config_file()}" if from_file else setting.name
        yield held.value, "config" if from_file else "env", where


def path_of(file: SettingsFile, environ: Mapping[str, str]) -> Path:
    """Where a settings file is for this user."""
    named = settings.said(file.variable) if file.variable else ""
    return Path(os.path.expanduser(named or filled(file.path, environ)))


def filled(path: str, environ: Mapping[str, str]) -> str:
    """``{CODEX_HOME:~/.codex}/config.toml`` → the variable's value, or what stands for it."""
    home = environ.get("HOME") or os.path.expanduser("~")

    def value(found: re.Match[str]) -> str:
        return environ.get(found[1]) or found[2].replace("~", home, 1)

    return re.sub(r"\{(\w+):([^}]*)\}", value, path)


def _read(path: Path, found: Models) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    try:
        if path.suffix == ".toml":
            return toml(text)
        data = json.loads(COMMENT.sub(lambda part: part[1] or "", text) or "{}")
    except (ValueError, RecursionError):
        found.warn(f"{path} cannot be parsed")
        return {}
    return data if isinstance(data, dict) else {}


def _at(data: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    for word in key.split("."):
        data = data.get(word) if isinstance(data, Mapping) else None
    return data


def resolve(
    provider: Provider, said: str | None, environ: Mapping[str, str] = os.environ
) -> str | None:
    """The model that a word means: what ``--model`` gets, None for the CLI's own choice.

    :raises InvalidInput: for what would be no name but a flag, or would hold a blank.
    """
    word = (said or "").strip()
    if not word:
        return None
    if not is_name(word):
        raise InvalidInput(f"The model {word[:100]!r} can be no model's name.")
    target = _aliases(Models(provider.name), provider).get(word.lower(), word)
    if target.lower() in ("default", "latest"):
        return _with_listing(provider, environ).default
    if target.lower() in provider.catalogue.words:
        return _newest(_with_listing(provider, environ), target.lower()) or target
    return target


def _with_listing(provider: Provider, environ: Mapping[str, str]) -> Models:
    from .model_cache import listing_of

    models, default, by = listing_of(provider.name) or ({}, None, "")
    return known(provider, environ, listing=Listing(models, default), listed_by=by)


def _newest(found: Models, word: str) -> str | None:
    """The newest model with a word in its name, of those that somebody configured.

    A hint would be out of date one day, while the CLI's own meaning of the word never is.
    """
    names = [k for k in found.models.values() if word in k.name and k.confidence != "low"]
    ranked = sorted(names, key=lambda k: (_version(k.name), SOURCES.index(k.source)), reverse=True)
    best = ranked[:1]
    same = [k for k in ranked if best and _rank(k) == _rank(best[0])]
    return min((k.name for k in same), default=None)


def _rank(known: Known) -> tuple[list[int], int]:
    return _version(known.name), SOURCES.index(known.source)


def _version(name: str) -> list[int]:
    found = re.search(r"\d+(?:\.\d+)*", name)
    return [int(part) for part in found[0].split(".")] if found else []
