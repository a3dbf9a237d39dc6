"""Where a vendor's model names can be learnt without asking a model; each provider has one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ..records import field, record

__all__ = [
    "Catalogue",
    "Listing",
    "SettingsFile",
    "claude_listing",
    "codex_listing",
    "codex_profiles",
    "grok_listing",
]


@record(frozen=True)
class SettingsFile:
    """A file of the user's in which a CLI keeps its model; it is only read.

    :param variable: the variable with another path for it. :param path: with ``{NAME:place}`` for
        the value of a variable of the CLI's own, or else that place.
    :param keys: dotted; the first that is there counts. :param more: further names in the file.
    """

    variable: str
    path: str
    keys: tuple[str, ...]
    more: Callable[[Mapping[str, object]], Iterator[tuple[str, str]]] | None = None


class Listing(NamedTuple):
    """What a CLI said when it was asked for its models: name → description, and its default."""

    models: Mapping[str, str]
    default: str | None = None


@record(frozen=True)
class Catalogue:
    """What is known of a vendor's models.

    :param hints: names from this source code, which may be out of date: shown as such, and never
        sent unless somebody says them. :param default: what ``-o model latest`` means where
        nobody configured anything. :param variables: of the CLI's own that name its model.
    :param words: short names that mean the newest configured model with the word in its name.
    :param listings: command lines that list models without a model call, the best one first.
    """

    hints: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    files: tuple[SettingsFile, ...] = ()
    variables: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    listings: tuple[tuple[str, ...], ...] = ()
    read: Callable[[str], Listing] = lambda _: Listing({})


def codex_listing(text: str) -> Listing:
    """``codex debug models``: the catalogue as JSON; hidden models are left out."""
    rows = json.loads(text, strict=False)["models"]
    listed = [row for row in rows if row.get("visibility") == "list"]
    return Listing({str(row["slug"]): str(row.get("description") or "") for row in listed})


def grok_listing(text: str) -> Listing:
    """``grok models``: one name a line after a dash, the default after a star."""
    names = re.findall(r"(?m)^\s+[*-]\s+(\S+)", text)
    default = re.search(r"(?m)^Default model: (\S+)", text)
    return Listing(dict.fromkeys(names, ""), default[1] if default else None)


def claude_listing(text: str) -> Listing:
    """``claude --help``: it names aliases for the latest models where it explains ``--model``."""
    found = re.search(r"(?s)\n\s+--model <.*?(?=\n\s+-)", text)
    names = re.findall(r"'([a-z][\w.-]*)'", found[0]) if found else []
    return Listing(dict.fromkeys(names, "the latest of that name"))


def codex_profiles(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Further names in codex's config.toml: profiles, and what a model was replaced by."""
    for name, profile in _table(config.get("profiles")).items():
        if isinstance(model := _table(profile).get("model"), str):
            yield model, f"profile {name}"
    for old, new in _table(_table(config.get("notice")).get("model_migrations")).items():
        if isinstance(new, str):
            yield new, "migration target"
            yield old, f"Legacy model, replaced by {new}"


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
