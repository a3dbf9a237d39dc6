"""The models of a platform that the gateway does not run on: each refuses with one sentence."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

__all__ = ["REFUSAL", "models"]

REFUSAL = "llm-gateway runs on Linux, macOS and WSL; on Windows, install llm inside WSL."
NAMES = ("claude", "codex", "gemini", "grok", "demo")


def models() -> list[tuple[Any, Any]]:
    """Return for each provider models that raise ``llm.ModelError`` when asked."""
    import llm

    class Unsupported(llm.Model):
        can_stream = True

        def __init__(self, name: str) -> None:
            self.model_id = f"gateway-{name}"

        def execute(
            self, prompt: llm.Prompt, stream: bool, response: Any, conversation: Any
        ) -> Iterator[str]:
            raise llm.ModelError(REFUSAL)

    class AsyncUnsupported(llm.AsyncModel):
        can_stream = True

        def __init__(self, name: str) -> None:
            self.model_id = f"gateway-{name}"

        async def execute(
            self, prompt: llm.Prompt, stream: bool, response: Any, conversation: Any
        ) -> AsyncGenerator[str, None]:
            raise llm.ModelError(REFUSAL)
            yield ""

    return [(Unsupported(name), AsyncUnsupported(name)) for name in NAMES]
