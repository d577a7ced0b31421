"""Pickled checkpoints (``.pt``): what ``torch.save`` wrote is mapped, nothing but tensors and plain values is let in."""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgq_bench.bounded import open_regular
from fgq_bench.errors import UserError

LARGEST_PICKLE = 2**23  # bytes of names and shapes, beside the tensors' own; VGGT-1B's file has 0.3 MB
OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled, before version 1.6
PLAIN = re.compile(  # what may be named in the pickle; weights_only alone also lets in what allocates at will
    r"collections (OrderedDict|Counter)|torch (Size|device)|torch\.nn\.parameter Parameter"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter)|torch(\.storage)? \w+Storage"
)
SHOWN = 5  # entries of a file that a message names


def load_pickled(path: Path, device: torch.device | str = "cpu") -> Any:
    """The content of a ``.pt`` file: tensors (mapped while they live on the CPU), containers, plain values.

    Nothing of a file is unpacked, so it takes no more memory than its size.

    Raises:
        UserError: truncated or damaged; compressed; of the format before torch 1.6; holds objects of other kinds.
    """
    _check_archive(path)
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=True)
    except (OSError, MemoryError):  # of this machine, not of the file
        raise
    except Exception as error:  # a damaged pickle ends in whatever its instructions lead to
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
        raise damaged(path, reason or type(error).__name__) from None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a ``.pt`` file that is a state dict, or a dict in which exactly one entry is one.

    Raises:
        UserError: see ``load_pickled``; no state dict in it, or several.
    """
    loaded = load_pickled(path)
    if _is_state_dict(loaded):
        return _entries(loaded)
    inside = [value for value in _entries(loaded).values() if _is_state_dict(value)]
    if len(inside) == 1:
        return _entries(inside[0])
    choose = "; save the one that is meant by itself" if inside else ""
    raise UserError(f"{path}: not a state dict of tensors: it holds {_contents(loaded)}{choose}")


def damaged(path: Path, reason: str) -> UserError:
    """The error for a file of the right kind that cannot be read; what the machine lacks is not the file's fault."""
    if "allocate memory" in reason:
        return UserError(f"{path}: too little memory to read it ({reason[:200]})")
    return UserError(f"{path}: not a readable checkpoint, perhaps truncated ({reason[:200]})")


def _check_archive(path: Path) -> None:
    """Raise UserError unless this is a zip archive as torch writes them: nothing compressed, one small plain pickle."""
    with open_regular(path) as file:
        if file.read(len(OLD_FORMAT)) == OLD_FORMAT:
            raise UserError(f"{path}: written in the format before torch 1.6; load it and torch.save it again")
    try:
        with zipfile.ZipFile(path) as archive:
            if packed := [each for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED]:
                raise UserError(
                    f"{path}: refused, {packed[0].filename} in it is compressed; torch.save compresses nothing"
                )
            pickles = [each for each in archive.infolist() if each.filename.lower().endswith("data.pkl")]
            if len(pickles) != 1:
                raise UserError(f"{path}: a zip archive, but not one of torch.save (it has {len(pickles)} data.pkl)")
            if pickles[0].file_size > LARGEST_PICKLE:
                size = f"{pickles[0].file_size / 1e6:.0f} MB, the limit is {LARGEST_PICKLE / 1e6:.0f} MB"
                raise UserError(f"{path}: refused, beside its tensors it holds too much ({size})")
            foreign = sorted(name for name in _globals(archive.read(pickles[0])) if not _is_plain(name))
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise damaged(path, str(error)) from None
    if foreign:
        names = ", ".join(name.replace(" ", ".") for name in foreign[:SHOWN])
        raise UserError(f"{path}: refused, it holds more than tensors ({names}); save its state dict by itself")


def _globals(pickled: bytes) -> set[str]:
    """All functions and classes that a pickle names, as ``module name``; ValueError where it is none."""
    return {str(argument) for opcode, argument, _ in pickletools.genops(pickled) if opcode.name == "GLOBAL"}


def _is_plain(name: str) -> bool:
    module, _, attribute = name.partition(" ")
    return bool(PLAIN.fullmatch(name)) or (
        module == "torch" and isinstance(getattr(torch, attribute, None), torch.dtype)
    )


def _entries(value: Any) -> dict[Any, Any]:
    """What a dict holds, nothing of anything else; an OrderedDict's own ``items`` may come from the pickle."""
    return dict(dict.items(value)) if isinstance(value, dict) else {}


def _is_state_dict(value: Any) -> bool:
    entries = _entries(value)
    return bool(entries) and all(isinstance(key, str) and isinstance(each, Tensor) for key, each in entries.items())


def _contents(value: Any) -> str:
    """The names and kinds of a dict's first entries, else the kind of ``value``; values may be endless, none is printed."""
    if not (entries := _entries(value)):
        return _kind(value)
    names = [key[:60] if isinstance(key, str) else f"a key of type {type(key).__name__}" for key in entries]
    shown = [f"{name} ({_kind(each)})" for name, each in zip(names[:SHOWN], entries.values(), strict=False)]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _kind(value: Any) -> str:
    if not isinstance(value, dict):
        return type(value).__name__
    return f"{len(value)} {'tensors' if _is_state_dict(value) else 'entries'}"
