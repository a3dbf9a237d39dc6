"""The models of a platform that the gateway does not run on: each refuses with one sentence."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import llm

__all__ = ["models"]

NAMES = ("claude", "codex", "gemini", "grok", "demo")


def models(refusal: str) -> list[tuple[llm.Model, llm.AsyncModel]]:
    """Return for each provider models that raise ``llm.ModelError(refusal)`` when asked."""

    class Unsupported(llm.Model):
        can_stream = True

        def __init__(self, name: str) -> None:
            self.model_id = f"gateway-{name}"

        def execute(
            self, prompt: llm.Prompt, stream: bool, response: Any, conversation: Any
        ) -> Iterator[str]:
            raise llm.ModelError(refusal)

    class AsyncUnsupported(llm.AsyncModel):
        can_stream = True

        def __init__(self, name: str) -> None:
            self.model_id = f"gateway-{name}"

        async def execute(
            self, prompt: llm.Prompt, stream: bool, response: Any, conversation: Any
        ) -> AsyncGenerator[str, None]:
            raise llm.ModelError(refusal)
            yield ""

    return [(Unsupported(name), AsyncUnsupported(name)) for name in NAMES]
