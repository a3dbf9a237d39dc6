"""The gate before a spawn, where approvals are on: judge, ask, keep a record, refuse."""

from __future__ import annotations

import hashlib
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import settings
from .errors import PermissionDenied
from .ids import new_id
from .pacing import end_turn
from .policy import approval
from .policy.child_env import ACCESS_CAP, APPROVAL_POLICY
from .policy.redact import redact
from .progress import harmless
from .providers.base import Provider
from .records import replace
from .request import Access, Request
from .store import approvals
from .store.text import clean, now

if TYPE_CHECKING:
    from .run import Run
    from .store.recording import Recorder

__all__ = ["approve", "verdict_on"]

PREVIEW = 280
PREVIEW_SWITCH = "APPROVAL_LOG_PROMPTS"


def approve(
    run: Run,
    provider: Provider,
    recorder: Recorder,
    say: Callable[[str], None],
    *,
    may_ask: bool,
) -> None:
    """Let a request pass, or refuse it; its options then name the policy in force, where one is.

    :param may_ask: whether the process is the command of a person who can be asked.
    :raises PermissionDenied: with the reasons, once they are recorded.
    """
    asked, verdict = verdict_on(run.request, provider, run.access)
    if verdict is None:
        return
    question = f"{provider.title} is to have access {run.access.value}: {_told(verdict)}"
    approved, why = verdict.approved, "is denied"
    if approved is None:
        answer = _ask(question, lambda: bool(run.cancel.reason)) if may_ask else None
        approved = bool(answer)
        why = "needs somebody at a terminal to say yes" if answer is None else "was not approved"
    run.request = replace(
        run.request,
        approval="approved" if approved else "denied",
        options=replace(run.request.options, approval_policy=verdict.policy),
    )
    record = _record(run.request, provider, run.access, asked, verdict)
    recorder.write("approval", record=record)
    try:
        approvals.append(settings.home(), record)
    except OSError as error:
        say(f"The approval log could not be written: {error.strerror or error}.")
    for violation in asked.review.violations:
        say(f"review integrity: {violation.detail} ({violation.kind.name})")
    if not approved:
        raise PermissionDenied(
            f"Under approval policy {verdict.policy} this {why}: {_told(verdict)} "
            f"(llm gateway approval show {record['id']})"
        )


def verdict_on(
    request: Request, provider: Provider, access: Access
) -> tuple[approval.Asked, approval.Verdict | None]:
    """Return what is asked for, and what the policy in force says; None where none is."""
    o = request.options
    words = [levels[o.native[w]] for w, levels in provider.native_words.items() if w in o.native]
    asked = approval.asked_for(request, access, words, request.servers)
    policy = approval.policy_in_force(o, settings.said(APPROVAL_POLICY), os.environ)
    if policy is None:
        return asked, None
    return asked, approval.judged(asked, policy, switch=approval.switch_is_on(os.environ))


def _told(verdict: approval.Verdict) -> str:
    limit = "" if verdict.threshold is None else f", at most {verdict.threshold} is approved"
    reasons = "; ".join(verdict.reasons) or "nothing stands against it"
    return f"{reasons}. Score {verdict.score}{limit}."


def _record(
    request: Request,
    provider: Provider,
    access: Access,
    asked: approval.Asked,
    verdict: approval.Verdict,
) -> dict[str, Any]:
    o, prompt = request.options, request.asked or request.prompt
    kept = request.keep_bodies and settings.said(PREVIEW_SWITCH) == "1"
    metadata: dict[str, Any] = {"model": o.model or "default"}
    if o.strict_mcp_config is not None:
        metadata["strictMcpConfig"] = o.strict_mcp_config
    return {
        "id": new_id(),
        "ts": now(),
        "status": request.approval,
        "policy": verdict.policy,
        "cli": provider.name,
        "operation": f"{provider.name}_request",
        "score": verdict.score,
        "reasons": verdict.reasons,
        "promptPreview": redact(clean(" ".join(prompt.split())[:PREVIEW]))
        if kept
        else "[redacted]",
        "promptSha256": hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest(),
        "requestedMcpServers": list(asked.servers),
        "bypassRequested": asked.bypass,
        "fullAuto": asked.full_auto,
        "metadata": metadata,
        "reviewIntegrity": asked.review.told(),
        "requestId": request.id,
        "access": access.value,
        "threshold": verdict.threshold,
        "rules": [point._asdict() for point in verdict.points],
    }


def _ask(question: str, canceled: Callable[[], bool]) -> bool | None:
    """Ask the person at the terminal; None where there is nobody to ask.

    An agent's own terminal is no person: a nested call asks nobody.
    """
    if ACCESS_CAP in os.environ or not _is_terminal(sys.stderr):
        return None
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():  # in the background, reading would stop us
            return None
        return _answered(terminal, question, canceled)
    except OSError:
        return None
    finally:
        os.close(terminal)


def _answered(terminal: int, question: str, canceled: Callable[[], bool]) -> bool:
    import termios

    termios.tcflush(terminal, termios.TCIFLUSH)  # what was typed before is no answer
    sys.stderr.write(harmless(f"{question}\nApprove? [y/N] "))
    sys.stderr.flush()
    end_turn()
    while not canceled():
        if select.select([terminal], [], [], 0.1)[0]:
            return os.read(terminal, 1024).decode("utf-8", "replace").strip().lower() in (
                "y",
                "yes",
            )
    return False


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
