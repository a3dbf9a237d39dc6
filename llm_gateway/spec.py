"""A request as text, for the worker that answers it in another process."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from typing import Any

from .errors import InvalidInput
from .records import asdict, fields, replace
from .request import Access, Attachment, Options, Request, Turn

__all__ = ["request_of", "spec_of"]


def spec_of(request: Request, access: Access) -> str:
    """Everything of a request that its worker needs; the access is what was resolved."""
    said = asdict(replace(request, attachments=(), options=Options()))
    options = {name: value for name, value in asdict(request.options).items() if value is not None}
    said["options"] = {**options, "access": access.value, "native": dict(request.options.native)}
    said["attachments"] = [_attached(attachment) for attachment in request.attachments]
    return json.dumps(said, ensure_ascii=True)


def request_of(spec: str) -> Request:
    """The request that ``spec_of`` wrote."""
    said = json.loads(spec)
    options = said.pop("options")
    lists = {name: tuple(value) for name, value in options.items() if isinstance(value, list)}
    known = {field.name for field in fields(Options)}
    options = {k: v for k, v in {**options, **lists}.items() if k in known}
    options["access"] = Access(options["access"])
    return Request(
        **{
            **said,
            "options": Options(**options),
            "history": tuple(Turn(**turn) for turn in said["history"]),
            "attachments": tuple(_attachment(data) for data in said["attachments"]),
        }
    )


def _attached(attachment: Attachment) -> dict[str, Any]:
    """With what is in it now: its file may be another one, or none, when the job runs."""
    try:
        content = attachment.content if attachment.path is None else attachment.bytes()
    except OSError as error:
        raise InvalidInput(
            f"The attachment {attachment.path} cannot be read: {error.strerror or error}."
        ) from None
    data = None if content is None else binascii.b2a_base64(content, newline=False).decode()
    return {"type": attachment.type, "url": attachment.url, "content": data}


def _attachment(data: Mapping[str, Any]) -> Attachment:
    content = data["content"]
    return Attachment(
        data["type"],
        path=data.get("path"),  # in a recorder of before
        content=None if content is None else binascii.a2b_base64(content),
        url=data["url"],
    )
