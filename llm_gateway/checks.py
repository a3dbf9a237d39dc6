"""What is refused before anything is spawned, because it cannot be what its author meant."""

from __future__ import annotations

import os

from . import nesting, settings
from .errors import CliMissing, InvalidInput
from .providers.base import Provider
from .request import Access, Request

__all__ = ["check"]


def check(request: Request, provider: Provider, access: Access) -> str:
    """Check a request whose options are complete; return the CLI's absolute path.

    :raises NotStarted: says what is wrong with it.
    """
    settings.check()
    nesting.check_depth()
    _check_words(request)
    _check_directories(request)
    _check_prompt(request, provider)
    _check_attachments(request)
    provider.check(request, access)
    return _executable(provider)


def _check_words(request: Request) -> None:
    """Refuse a value that a CLI would take for a flag of its own (T-09)."""
    o = request.options
    said = {"model": o.model, "effort": o.effort, **o.native}
    named = [(name, value) for name, value in said.items() if value is not None]
    named += [("add_dirs", folder) for folder in o.add_dirs or ()]
    for name, value in named:
        if value.startswith("-") or "\0" in value or "\n" in value:
            raise InvalidInput(f"{name} {value!r} would be a flag of the CLI, or breaks its line.")


def _check_directories(request: Request) -> None:
    cwd = request.options.cwd
    if not cwd or not os.path.isdir(cwd):
        raise InvalidInput(f"The directory {cwd or '.'} does not exist (any more).")
    for folder in request.options.add_dirs or ():
        if not os.path.isdir(os.path.join(cwd, folder)):
            raise InvalidInput(f"The directory {folder} (add_dirs) does not exist.")


def _check_prompt(request: Request, provider: Provider) -> None:
    prompt, limit = request.prompt, provider.prompt_limit
    if not prompt.strip() and not request.attachments:
        raise InvalidInput("The prompt is empty.")
    size = _size("The prompt", prompt)
    _size("The system prompt", request.system or "")
    if limit is not None and size > limit:
        raise InvalidInput(
            f"The prompt has {size:,} bytes; {provider.title} takes at most {limit:,}."
        )


def _size(what: str, text: str) -> int:
    if "\0" in text:
        raise InvalidInput(f"{what} has a NUL character, which no CLI takes.")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        byte = "\udc80" <= text[error.start] <= "\udcff"  # as Python reads one from outside
        wrong = "bytes that are not UTF-8" if byte else "half a surrogate pair"
        raise InvalidInput(f"{what} is not valid text: it has {wrong}.") from None


def _check_attachments(request: Request) -> None:
    for attachment in request.attachments:
        if attachment.path is not None and not os.path.isfile(attachment.path):
            raise InvalidInput(f"The attachment {attachment.path} is not a file.")


def _executable(provider: Provider) -> str:
    override = settings.cli_override(provider.name)
    found = provider.find_executable(os.environ, override)
    if found:
        return found
    missing = f"{provider.command} is not on PATH"
    if override:
        variable = f"LLM_GATEWAY_{provider.name.upper()}_CLI"
        missing = f"{override!r} ({variable}) cannot be run"
    raise CliMissing(
        f"{provider.title} was not found: {missing}. Install it with: {provider.install}"
    )
