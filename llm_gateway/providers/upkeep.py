"""What the gateway knows of a vendor's CLI beside its prompts; each provider has one as data.

How it is asked for its version, its login and its flags, how it is upgraded, and what keeps it
quiet meanwhile. Nothing of it calls a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..records import field, record

__all__ = ["Upkeep"]

Flags = Mapping[str, str]


def _untold(code: int, text: str) -> bool | None:
    return None


@record(frozen=True)
class Upkeep:
    """One CLI's.

    :param package: its npm package. :param latest: its own arguments that install the newest
        version; :param chosen: the same for ``{target}``. Where it has none, its package manager
        does it.
    :param quiet: variables with which it neither updates itself nor reports while it is asked.
    :param status: arguments that tell whether it is logged in; ``logged_in`` reads exit code and
        text, None where that says nothing.
    :param keys: variables with an API key that counts in place of a login.
    :param login_files: where a login is kept; only whether one is there is looked at.
    :param prices: what the price library calls the vendor, where the CLI itself tells no cost;
        what claude did not tell of a stopped run is in its session's sum on the next turn.
    :param flags: for each help that it prints, every flag that we pass and what it is for.
    :param hidden: those of them that no help tells; they are looked for in the program's file.
    """

    package: str = ""
    version: tuple[str, ...] = ("--version",)
    latest: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    quiet: Mapping[str, str] = field(default_factory=dict)
    status: tuple[str, ...] = ()
    logged_in: Callable[[int, str], bool | None] = _untold
    keys: tuple[str, ...] = ()
    login_files: tuple[str, ...] = ()
    prices: str = ""
    flags: Mapping[tuple[str, ...], Flags] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
