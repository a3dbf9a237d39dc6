"""What can go wrong, grouped by what the reader can do about it.

    GatewayError
    ├── NotStarted              nothing was spawned, nothing was spent
    │   ├── CliMissing          cli_missing
    │   ├── SpawnFailed         spawn
    │   ├── InvalidInput        invalid_input
    │   ├── PermissionDenied    permission_denied
    │   ├── BreakerOpen         breaker_open
    │   └── Saturated           saturated
    ├── Transient               the vendor may answer later
    │   ├── RateLimited         rate_limited
    │   ├── Overloaded          overloaded
    │   └── NetworkFailed       network
    ├── CliFailed               the CLI ran and said no
    │   ├── AuthFailed          auth
    │   ├── ModelNotFound       model_not_found
    │   ├── SessionLost         session_lost
    │   ├── Refused             refused
    │   ├── LimitReached        limit_reached
    │   ├── RejectedInput       invalid_input
    │   ├── ActionDenied        permission_denied
    │   └── CliError            cli_error
    ├── BadReply                the CLI ended, but not with an answer
    │   ├── EmptyReply          empty_reply
    │   ├── ProtocolError       protocol
    │   └── OutputLimit         output_limit
    └── Stopped                 the run was ended, by us or with the process that ran it
        ├── TimedOut            timeout
        ├── IdleTimedOut        idle_timeout
        ├── Canceled            canceled
        └── Orphaned            orphaned

``str(error)`` is one sentence or two for the person who reads it: what happened, the command that
mends it and, where the vendor has a session that can be continued, its id at the end.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ActionDenied",
    "AuthFailed",
    "BadReply",
    "BreakerOpen",
    "Canceled",
    "CliError",
    "CliFailed",
    "CliMissing",
    "EmptyReply",
    "GatewayError",
    "IdleTimedOut",
    "InvalidInput",
    "LimitReached",
    "ModelNotFound",
    "NetworkFailed",
    "NotStarted",
    "Orphaned",
    "OutputLimit",
    "Overloaded",
    "PermissionDenied",
    "ProtocolError",
    "RateLimited",
    "Refused",
    "RejectedInput",
    "Saturated",
    "SessionLost",
    "SpawnFailed",
    "Stopped",
    "TimedOut",
    "Transient",
]


class GatewayError(Exception):
    """Base of all errors of the gateway.

    :param message: what happened and what mends it, for a person.
    :param session_id: the vendor's session in which the run got as far as it did.
    :param retry_at: Unix time at which the vendor said it would answer again.
    """

    category: ClassVar[str] = "cli_error"

    def __init__(
        self, message: str, *, session_id: str | None = None, retry_at: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.session_id = session_id
        self.retry_at = retry_at

    def __str__(self) -> str:
        if self.session_id is None or self.session_id in self.message:
            return self.message
        return f"{self.message} (session {self.session_id})"


class NotStarted(GatewayError):
    """Nothing was spawned."""


class CliMissing(NotStarted):
    """The vendor's CLI is not installed."""

    category = "cli_missing"


class SpawnFailed(NotStarted):
    """The operating system could not start the CLI."""

    category = "spawn"


class InvalidInput(NotStarted):
    """The request cannot be what its author meant."""

    category = "invalid_input"


class PermissionDenied(NotStarted):
    """The request asks for more than its access level or the operator allows."""

    category = "permission_denied"


class BreakerOpen(NotStarted):
    """The provider failed so often that it is left alone for a while."""

    category = "breaker_open"


class Saturated(NotStarted):
    """Too many runs at once."""

    category = "saturated"


class Transient(GatewayError):
    """The same request may succeed later."""


class RateLimited(Transient):
    """The vendor's rate limit."""

    category = "rate_limited"


class Overloaded(Transient):
    """The vendor's servers failed or are overloaded."""

    category = "overloaded"


class NetworkFailed(Transient):
    """The vendor could not be reached, or the connection broke."""

    category = "network"


class CliFailed(GatewayError):
    """The CLI ran and reported a failure."""


class AuthFailed(CliFailed):
    """Not logged in, or the key was refused."""

    category = "auth"


class ModelNotFound(CliFailed):
    """The vendor does not know the model."""

    category = "model_not_found"


class SessionLost(CliFailed):
    """The vendor no longer has the session, or answered in another one."""

    category = "session_lost"


class Refused(CliFailed):
    """The model declined to answer."""

    category = "refused"


class LimitReached(CliFailed):
    """A limit of the request: turns, cost, output tokens, context."""

    category = "limit_reached"


class RejectedInput(CliFailed):
    """The CLI or the vendor's API rejected the request as malformed."""

    category = "invalid_input"


class ActionDenied(CliFailed):
    """The CLI ended the turn because an action was not allowed."""

    category = "permission_denied"


class CliError(CliFailed):
    """Any other failure of the CLI."""

    category = "cli_error"


class BadReply(GatewayError):
    """The CLI ended without an answer that can be trusted."""


class EmptyReply(BadReply):
    """The CLI succeeded and said nothing."""

    category = "empty_reply"


class ProtocolError(BadReply):
    """The CLI's output ended early or is not what its version prints."""

    category = "protocol"


class OutputLimit(BadReply):
    """The CLI printed more than the stated cap."""

    category = "output_limit"


class Stopped(GatewayError):
    """The run was ended before its time."""


class TimedOut(Stopped):
    """The run took longer than ``timeout``."""

    category = "timeout"


class IdleTimedOut(Stopped):
    """The CLI was silent for longer than ``idle_timeout``."""

    category = "idle_timeout"


class Canceled(Stopped):
    """Whoever asked went away."""

    category = "canceled"


class Orphaned(Stopped):
    """The process that ran it is gone, and nobody knows how far it got."""

    category = "orphaned"
