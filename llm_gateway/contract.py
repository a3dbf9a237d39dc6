"""Whether an installed CLI still has every flag that we pass: its own help is asked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from .cli_call import call
from .providers.base import Provider
from .providers.features import contains

__all__ = ["Vanished", "vanished"]

SECONDS = 30.0


class Vanished(NamedTuple):
    """A flag that a help does not have, and what does not work without it."""

    command: str
    flag: str
    feature: str


def vanished(provider: Provider, program: str) -> Iterator[Vanished]:
    """The flags that are gone; ``flag`` is empty where a help cannot be had at all."""
    for args, flags in provider.upkeep.flags.items():
        command = " ".join((provider.command, *args))
        said = call(provider, args, SECONDS, program=program)
        text = said.out + said.err
        if not said.ok or not text.strip():
            yield Vanished(command, "", said.problem or f"it exited with {said.code}")
            continue
        for flag, feature in flags.items():
            if not _has(text, flag) and not _hides(provider, program, flag):
                yield Vanished(command, flag, feature)


def _has(text: str, flag: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text) is not None


def _hides(provider: Provider, program: str, flag: str) -> bool:
    """Whether a flag that no help tells is in the program's own file."""
    if flag not in provider.upkeep.hidden:
        return False
    return contains(os.path.realpath(program), flag.encode())
