"""Asks the CLIs for their models: those that can list them without a model call."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from .cli_call import call, executable
from .errors import InvalidInput
from .providers.base import Provider
from .providers.catalogue import Listing
from .records import record

__all__ = ["Answer", "ask_all"]

SECONDS = 30.0


@record(frozen=True)
class Answer:
    """What a CLI listed and the command that did it; ``problem`` says why it listed nothing."""

    told: tuple[Listing, str] | None = None
    problem: str | None = None


def ask_all(providers: Iterable[Provider]) -> dict[str, Answer]:
    """Ask all of them at once."""
    wanted = list(providers)
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        return dict(zip((p.name for p in wanted), pool.map(_ask, wanted), strict=True))


def _ask(provider: Provider) -> Answer:
    """Take the first of the provider's commands that lists something."""
    problem = None
    if not provider.catalogue.listings:
        return Answer()
    try:
        program = executable(provider)
    except InvalidInput as error:
        return Answer(problem=str(error))
    if program is None:
        return Answer(problem=f"not installed, so it lists nothing; {provider.install}")
    for args in provider.catalogue.listings:
        command = " ".join((provider.command, *args))
        said = call(provider, args, SECONDS, program=program)
        listing = _read(provider, said.out) if said.ok else None
        if listing and listing.models:
            return Answer((listing, command))
        problem = f"{command}: {said.problem or 'it listed no models'}"
    return Answer(problem=problem)


def _read(provider: Provider, text: str) -> Listing | None:
    try:
        return provider.catalogue.read(text)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
