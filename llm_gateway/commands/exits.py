"""How a command ends: one exit code for each kind of cause, for scripts to tell them apart."""

from __future__ import annotations

import click

__all__ = [
    "BAD_DATA",
    "CLI_MISSING",
    "CODES",
    "EPILOG",
    "INTERRUPTED",
    "LATER",
    "MEANINGS",
    "OK",
    "OTHER",
    "POLICY",
    "READER_GONE",
    "TIMED_OUT",
    "USAGE",
    "Failed",
    "code_of",
    "code_of_job",
    "failure",
]

OK, OTHER, USAGE, BAD_DATA, CLI_MISSING, LATER, POLICY = 0, 1, 2, 65, 69, 75, 77
TIMED_OUT, INTERRUPTED, READER_GONE = 124, 130, 141

MEANINGS: dict[int, str] = {
    OK: "done",
    OTHER: "anything else that went wrong",
    USAGE: "the command line is wrong, or names what is not there",
    BAD_DATA: "the input is wrong: prompt, attachment, file, model",
    CLI_MISSING: "the vendor's CLI is not installed",
    LATER: "try again later: rate limit, overload, network, queue, breaker, still running",
    POLICY: "not allowed: access level, approval, the operator's switch",
    TIMED_OUT: "a time-out",
    INTERRUPTED: "interrupted or canceled",
    READER_GONE: "whoever read the output went away, as head does",
}

# Every category of errors.py that is not here ends with OTHER.
CODES: dict[str, int] = {
    "invalid_input": BAD_DATA,
    "model_not_found": BAD_DATA,
    "cli_missing": CLI_MISSING,
    "rate_limited": LATER,
    "overloaded": LATER,
    "network": LATER,
    "saturated": LATER,
    "breaker_open": LATER,
    "permission_denied": POLICY,
    "timeout": TIMED_OUT,
    "idle_timeout": TIMED_OUT,
    "canceled": INTERRUPTED,
}

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {said}" for code, said in MEANINGS.items())


class Failed(click.ClickException):
    """Ends a command with one sentence and a code."""

    def __init__(self, message: str, code: int = OTHER) -> None:
        from llm_gateway.progress import harmless

        super().__init__(harmless(message))
        self.exit_code = code  # type: ignore[misc]


def code_of(category: str | None) -> int:
    """The exit code of an error category."""
    return CODES.get(category or "", OTHER)


def code_of_job(status: str, category: str | None) -> int:
    """The exit code that tells how a job stands."""
    if status in ("queued", "running"):
        return LATER
    if status == "completed":
        return OK
    by_status = {"canceled": INTERRUPTED, "timed_out": TIMED_OUT}
    return by_status.get(status) or code_of(category)


def failure(error: Exception) -> Failed | None:
    """What a command ends with after an error that people may see; None for a defect of ours."""
    import sqlite3

    from llm_gateway.errors import GatewayError

    defects = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError)
    if isinstance(error, GatewayError):
        return Failed(str(error), code_of(error.category))
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, defects):
        return Failed(f"The recorder could not be used: {error}.", LATER if _busy(error) else OTHER)
    if isinstance(error, UnicodeEncodeError):
        return Failed("A word of the command line is not valid text.", USAGE)
    if isinstance(error, OverflowError):
        return Failed(f"A number is too large: {error}.", USAGE)
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return Failed(f"{named}{error.strerror}.")
    return None


def _busy(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)
