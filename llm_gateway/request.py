"""What one caller asks, before anything is spawned."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from .digest import sha256
from .records import field, record

__all__ = [
    "Access",
    "Attachment",
    "Invocation",
    "Options",
    "Request",
    "SessionPlan",
    "Turn",
    "system_digest",
]


class Access(str, Enum):
    """What the agent may do in its workspace; each level includes the one before."""

    READ = "read"
    EDIT = "edit"
    FULL = "full"

    @property
    def rank(self) -> int:
        return list(Access).index(self)


@record(frozen=True, slots=True)
class Attachment:
    """A file for the model: ``path`` where it has one on disk, else ``content``."""

    type: str
    path: str | None = None
    content: bytes | None = None
    url: str | None = None

    def bytes(self) -> bytes:
        if self.content is not None:
            return self.content
        assert self.path is not None
        return Path(self.path).read_bytes()


@record(frozen=True, slots=True)
class Turn:
    """One earlier message of the conversation.

    ``session`` is what an answer of this provider left in its metadata: ``session_id``, ``turn``
    and the settings that a continuation inherits.
    """

    role: str
    text: str
    session: Mapping[str, Any] | None = None


@record(frozen=True, slots=True)
class Options:
    """Everything that ``-o`` can say. ``None`` means that it was not said.

    ``native`` has the words and options that this provider's CLI alone has.
    """

    model: str | None = None
    access: Access | None = None
    cwd: str | None = None
    add_dirs: tuple[str, ...] | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    retry_wait: float | None = None
    retries: int | None = None
    ignore_breaker: bool | None = None
    reuse: bool | None = None
    force_refresh: bool | None = None
    durable: bool | None = None
    session: str | None = None
    session_id: str | None = None
    resume_latest: bool | None = None
    create_new_session: bool | None = None
    allowed_tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] | None = None
    effort: str | None = None
    max_turns: int | None = None
    max_cost_usd: float | None = None
    correlation_id: str | None = None
    trust_workspace: bool | None = None
    mcp_servers: tuple[str, ...] | None = None
    strict_mcp_config: bool | None = None
    approval_strategy: str | None = None
    approval_policy: str | None = None
    optimize_prompt: bool | None = None
    optimize_response: bool | None = None
    native: Mapping[str, str] = field(default_factory=dict)


@record(frozen=True, slots=True)
class Request:
    """One ask of one caller.

    :param id: our own id (ULID), unique for ever; ``correlation_id`` is the caller's word.
    :param turn_id: llm's ``turns.id`` of the response; ``thread_id`` its ``threads.id``.
    :param system: the system prompt in force, also when it was given on an earlier turn.
    :param history: the conversation before this prompt, oldest first.
    :param asked: the prompt as its author wrote it, where ``prompt`` is its optimised form.
    :param approval: ``approved`` or ``denied`` by the policy that its options name then.
    :param servers: the MCP servers that it names, each with a digest of its definition.
    :param keep_bodies: False for ``llm -n`` and ``llm logs off``: metadata only is kept.
    """

    id: str
    provider: str
    prompt: str
    options: Options = field(default_factory=Options)
    system: str | None = None
    history: tuple[Turn, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    schema: Mapping[str, Any] | None = None
    turn_id: str | None = None
    thread_id: str | None = None
    asked: str | None = None
    approval: str | None = None
    servers: Mapping[str, str] = field(default_factory=dict)
    keep_bodies: bool = True


@record(frozen=True, slots=True)
class SessionPlan:
    """Which of the vendor's sessions an attempt lives in.

    ``kind``: ``new``, ``resume``, ``fork`` (a new session that begins as a copy of ``session_id``)
    or ``latest`` (whatever the CLI considers the newest). ``new_id`` is the id that we choose,
    where the CLI lets us. ``at`` is the vendor's id of the message at which a fork leaves the
    session; None for all of it. ``quoted`` goes before the prompt: what the session has not seen.
    ``system_before`` is the digest of the system prompt that was in force on its last turn, which
    ``last_turn`` names. ``name`` is what a person will call a new session.
    """

    kind: str = "new"
    session_id: str | None = None
    new_id: str | None = None
    at: str | None = None
    quoted: tuple[Turn, ...] = ()
    cost_before: float | None = None
    usage_before: Mapping[str, int] | None = None
    system_before: str | None = None
    last_turn: str | None = None
    name: str | None = None

    @property
    def expected_id(self) -> str | None:
        """The id that the CLI has to report back; None where it is the CLI's to choose."""
        return self.session_id if self.kind == "resume" else self.new_id


def system_digest(system: str | None) -> str | None:
    """Return what tells a system prompt from another one."""
    return sha256(system.encode("utf-8", "replace")).hexdigest()[:16] if system else None


@record(frozen=True, slots=True)
class Invocation:
    """The plan for one spawn: everything the operating system needs, and nothing of llm.

    :param argv: ``argv[0]`` is an absolute path.
    :param withheld: names of secrets in the asker's environment that the child does not get.
    """

    argv: tuple[str, ...]
    stdin: bytes
    env: Mapping[str, str]
    cwd: str
    access: Access
    session: SessionPlan
    withheld: tuple[str, ...] = ()
