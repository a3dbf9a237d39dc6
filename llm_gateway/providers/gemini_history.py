"""The models that answered in gemini's own history, which it keeps and nothing here writes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from .. import settings

__all__ = ["seen_in_history"]

MODEL = re.compile(rb'"(?:model|modelName|modelId)"\s*:\s*"([^"\\\s]{1,100})"')
A_FILE = 20


def seen_in_history() -> Iterator[tuple[str, str, str]]:
    """Names with where and on which day, of the newest files that are not too large."""
    off = ("LLM_GATEWAY_DISABLE_MODEL_DISCOVERY", "GEMINI_DISABLE_HISTORY_DISCOVERY")
    if any(settings.said(name) == "1" for name in off):
        return
    most = int(settings.said("GEMINI_HISTORY_MAX_FILE_BYTES"))
    root = Path(os.path.expanduser(settings.said("GEMINI_HISTORY_ROOT")))
    files = sorted(_files(root, most), reverse=True)
    for changed, path in files[: int(settings.said("GEMINI_HISTORY_MAX_FILES"))]:
        day = time.strftime("%Y-%m-%d", time.gmtime(changed))
        for name in _names(path):
            yield name, "gemini's history", day


def _files(root: Path, most: int) -> Iterator[tuple[float, Path]]:
    for path in root.glob("*/chats/*.json*"):
        try:
            stat = path.lstat()
        except OSError:
            continue
        if not path.is_symlink() and stat.st_size <= most:
            yield stat.st_mtime, path


def _names(path: Path) -> list[str]:
    try:
        found = MODEL.findall(path.read_bytes())
    except OSError:
        return []
    return [name.decode("utf-8", "replace") for name in dict.fromkeys(found)][:A_FILE]
