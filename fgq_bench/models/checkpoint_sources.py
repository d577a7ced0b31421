"""Where a checkpoint is: a file, a directory, or a hub id; whatever looks like a path is a path."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fgq_bench.errors import UserError

FILES = ("model.safetensors", "model.pt")  # of a directory
ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)  # OWNER/NAME


def is_hub_id(checkpoint: str) -> bool:
    """Whether ``checkpoint`` reads OWNER/NAME and not like the path of a file."""
    return HUB_ID.fullmatch(checkpoint) is not None and not checkpoint.lower().endswith(ENDINGS)


def resolve(checkpoint: str) -> Path:
    """Local file of a checkpoint given as a file, a directory or a hub id (downloaded and cached).

    Raises:
        UserError: nothing is there; no checkpoint in the directory; a download that fails, with the hub's reason.
    """
    path = Path(os.path.expanduser(checkpoint))
    if checkpoint and path.is_file():
        return path
    if checkpoint and path.is_dir():
        return _in_directory(path)
    if path.exists():
        raise UserError(f"{checkpoint or repr(checkpoint)}: no regular file, directory or hub id (OWNER/NAME)")
    if not is_hub_id(checkpoint):
        raise UserError(f"{checkpoint}: no such file, directory or hub id (OWNER/NAME)")
    return _download(checkpoint)


def _in_directory(path: Path) -> Path:
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise UserError(f"{path}: no {' or '.join(FILES)} in this directory")


def _download(hub_id: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    # The hub's errors derive from those of its HTTP client, whose package depends on the hub's version.
    # ValueError: no valid id, or nothing in the cache when offline.
    failures: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, OSError, ValueError)
    try:
        return Path(hf_hub_download(hub_id, FILES[0]))
    except failures as error:
        reason = str(error).strip() or type(error).__name__
        raise UserError(
            f"{hub_id}: cannot be downloaded ({reason}); give --checkpoint FILE, there is no such file here"
        ) from None
