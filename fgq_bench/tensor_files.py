"""Tensors in files that say what they hold: a flipped bit, a foreign or a misplaced file is told from what was stored.

safetensors checks a file's layout but not its content, so a SHA-256 over names, types, shapes and bytes goes into its
metadata, together with the name under which the tensors are kept and, where they are computed, what they were computed
on (``numerics.same_numerics``): on another machine they would have come out otherwise in their last bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgq_bench.bounded import check_regular
from fgq_bench.files import write_atomically

DIGEST = "sha256"  # the only key: safetensors writes several in any order, and equal tensors are to be equal files


def tensors_digest(tensors: Iterable[tuple[str, Tensor]], about: str) -> str:
    """SHA-256 of ``about`` and of every tensor in order."""
    digest = hashlib.sha256(about.encode())
    for name, value in tensors:
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: str, computed_on: str | None = None) -> None:
    """Write ``tensors`` atomically under the name ``about``, with what they were computed on; raises OutputError."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {DIGEST: f"{tensors_digest(sorted(plain.items()), about)} {computed_on or ''}".strip()}
    write_atomically(path, lambda temporary: save_file(plain, temporary, metadata))


def load_tensors(path: Path, about: str, computed_on: str | None = None) -> dict[str, Tensor] | None:
    """What ``save_tensors`` wrote under this name; None where there is no file, or it is damaged or another's.

    With ``computed_on`` what was computed on anything else counts as absent, too. A file without metadata was written
    before there were hashes, one that does not say what it was computed on before that was noted: both are taken as
    they are.
    """
    try:
        check_regular(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError):
        return None
    if metadata is None:
        return tensors
    digest, _, noted = metadata.get(DIGEST, "").partition(" ")
    if digest != tensors_digest(tensors.items(), about):
        return None
    return tensors if computed_on is None or noted in ("", computed_on) else None
