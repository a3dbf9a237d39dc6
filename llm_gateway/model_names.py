"""How model names and aliases are written in a variable: the original's grammar."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["aliases_in", "is_name", "models_in"]

_NAME = re.compile(r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*\Z")


def is_name(text: str) -> bool:
    """Whether a text can be a model's name: no blanks, no control characters, no flag."""
    return _NAME.match(text) is not None


def models_in(text: str) -> tuple[dict[str, str], list[str]]:
    """Names with descriptions, and what is wrong with the rest.

    A JSON array of names or objects, a JSON object name → description, or ``name`` and
    ``name=description`` with commas or line ends between. Broken JSON is taken for one name.
    """
    try:
        pairs = list(_model_pairs(text.strip()))
    except (ValueError, RecursionError):
        pairs = [(text.strip(), "")]
    good = {name: description for name, description in pairs if is_name(name)}
    return good, [f"{name!r} can be no model's name" for name, _ in pairs if not is_name(name)]


def aliases_in(text: str, prefix: str = "") -> tuple[dict[str, str], list[str]]:
    """Aliases in lower case with what they mean, and what is wrong with the rest.

    A JSON object, or ``alias=model`` with commas or line ends between. With a prefix only the
    aliases that begin with it count, without it. Broken JSON has no aliases.
    """
    try:
        pairs = list(_alias_pairs(text.strip()))
    except (ValueError, RecursionError) as error:
        return {}, [f"not valid JSON ({error})"]
    found, wrong = {}, []
    for alias, target in pairs:
        if prefix and "." not in alias:
            wrong.append(f"{alias!r} does not say whose it is, as {prefix}{alias} would")
            continue
        if not alias.lower().startswith(prefix):
            continue
        name = alias.lower()[len(prefix) :]
        if is_name(name) and is_name(target):
            found[name] = target
        else:
            wrong.append(f"{alias!r} = {target!r} is no alias of a model")
    return found, wrong


def _model_pairs(text: str) -> list[tuple[str, str]]:
    if text.startswith("["):
        return [_model(row) for row in json.loads(text)]
    if text.startswith("{"):
        return [(str(name).strip(), str(what)) for name, what in json.loads(text).items()]
    return [(name, what) for name, _, what in _words(text)]


def _model(row: Any) -> tuple[str, str]:
    if not isinstance(row, dict):
        return str(row).strip(), ""
    name = next((row[key] for key in ("model", "id", "name") if row.get(key)), "")
    what = next((row[key] for key in ("description", "desc") if row.get(key)), "")
    return str(name).strip(), str(what)


def _alias_pairs(text: str) -> list[tuple[str, str]]:
    if text.startswith(("{", "[")):
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("no object")
        return [(str(alias).strip(), str(target).strip()) for alias, target in data.items()]
    return [(alias, target) for alias, _, target in _words(text)]


def _words(text: str) -> list[tuple[str, str, str]]:
    """``a=b, c`` → what stands on both sides of each ``=``."""
    parts = (part.strip().partition("=") for part in re.split(r"[,\n]", text) if part.strip())
    return [(name.strip(), sign, what.strip()) for name, sign, what in parts]
