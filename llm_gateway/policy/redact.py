"""Takes secrets out of what the recorder keeps beside prompts and answers.

Separate passes are faster than one alternation, and every pattern is linear: repeats are bounded or
begin only at the start of a token, so that hostile output cannot make redaction slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["REDACTED", "redact", "redact_argv"]

REDACTED = "[redacted]"
_REPLACEMENT = r"\1" + REDACTED  # each pattern's first group stays: it says what kind of secret

_START = r"(?<![A-Za-z0-9_-])"
_SECRET_WORD = (
    r"(?:api[_-]?key|access[_-]?key|private[_-]?key|secret|passwd|password|passphrase"
    r"|token(?!s)|credential|client[_-]?secret)"
)
# Most texts have no secret, and compiling takes longer than looking for the words, in lower case,
# without one of which a pattern cannot match.
_PASSES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("-----begin ",),
        r"(?s)(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----).*?"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    ),
    (("sk-ant-",), _START + r"(sk-ant-)[A-Za-z0-9_-]{8,}"),
    (("sk-",), _START + r"(sk-)(?!ant-)(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}"),
    (("xai-",), _START + r"(xai-)[A-Za-z0-9_-]{16,}"),
    (("aiza", "ya29."), _START + r"(AIza|ya29\.)[A-Za-z0-9_-]{16,}"),
    (
        ("gh", "github_pat_", "glpat-", "npm_", "hf_", "xox"),
        _START + r"(gh[opusr]_|github_pat_|glpat-|npm_|hf_|xox[abeprs]-)[A-Za-z0-9_-]{16,}",
    ),
    (("akia", "asia"), _START + r"(AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    (("eyj",), _START + r"(eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"),
    (("bearer",), r"(?i)\b(bearer\s{1,4})(?!\[redacted)[A-Za-z0-9._~+/=-]{8,}"),
    (
        ("authorization",),
        r"""(?i)\b((?:proxy-)?authorization["']?\s{0,4}[:=]\s{0,4}["']?(?:(?:basic|token)\s{1,4})?)"""
        r"""(?!bearer|basic|token|\[redacted)[^\s"',;]{6,}""",
    ),
    (
        ("key", "secret", "passw", "passphrase", "token", "credential"),
        r"(?i)(" + _SECRET_WORD + r"""[A-Za-z0-9_-]{0,40}\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?)"""
        r"""(?!bearer\s|[A-Za-z0-9_.-]{0,12}\[redacted)[^\s"'\\,;&<>)}\]]{8,}""",
    ),
    (
        ("_key=", "_token=", "_secret=", "_password="),
        r"([A-Z0-9]_(?:KEY|TOKEN|SECRET|PASSWORD)=)(?!\S{0,12}\[redacted)\S+",
    ),
    (("://",), r"(://)[^\s/@\"']{1,512}(?=@)"),
)
_SECRET_FLAG = r"(?i)--?[a-z-]{0,40}" + _SECRET_WORD + r"\Z"


def redact(text: str) -> str:
    """The text without keys, tokens, passwords and private keys; time linear in its length."""
    lower = text.lower()
    for words, pattern in _PASSES:
        if any(word in lower for word in words):
            text = re.sub(pattern, _REPLACEMENT, text)
    return text


def redact_argv(argv: Iterable[str]) -> list[str]:
    """The argv without secrets, the value after a flag such as ``--api-key`` included."""
    items = list(argv)
    told = "\n".join(items)
    flags = any(re.match(_SECRET_FLAG, item) for item in items)
    if not flags and redact(told) == told:
        return items
    clean: list[str] = []
    after_flag = False
    for item in items:
        clean.append(REDACTED if after_flag else redact(item))
        after_flag = re.match(_SECRET_FLAG, item) is not None
    return clean
