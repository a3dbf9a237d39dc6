"""An answer that was asked for as JSON is checked here, whatever its CLI promised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import ProtocolError
from .events import Reply

__all__ = ["check_schema"]


def check_schema(reply: Reply, schema: Mapping[str, Any] | None) -> None:
    """Raise ``ProtocolError`` where the reply is not JSON that fits the schema."""
    if schema is None:
        return
    try:
        data = json.loads(reply.text)
    except ValueError as error:
        raise _mismatch(f"it is not JSON ({error})", reply) from error
    import jsonschema

    try:
        jsonschema.validate(data, schema)
    except jsonschema.ValidationError as error:
        raise _mismatch(f"{error.json_path}: {error.message}", reply) from error
    except Exception as error:  # an unresolvable reference has a type of its own in each version
        raise _mismatch(f"the schema itself is wrong: {error}", reply) from error


def _mismatch(why: str, reply: Reply) -> ProtocolError:
    return ProtocolError(f"The answer does not fit the schema: {why}.", session_id=reply.session_id)
