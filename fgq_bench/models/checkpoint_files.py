"""Checkpoint files, ``.safetensors`` or ``.pt``: their tensors by name, read one at a time; refusals are one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fgq_bench.bounded import open_regular
from fgq_bench.errors import UserError
from fgq_bench.models.pickled import damaged, read_state_dict

FLOATS = ("F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16")  # as safetensors and torch say
WRAPPERS = ("module.", "_orig_mod.", "model.")  # what DataParallel, torch.compile and Lightning put before every name
NOT_THE_FILE = {  # how a file begins that a download left in the checkpoint's place: what it is
    b"version https://git-lfs": "a Git LFS pointer; `git lfs pull` gets the file itself",
    b"<": "a web page; download the file itself",
}


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint file, not read yet; ``dtype`` as the file's format names it."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]


def open_checkpoint(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """Entries and metadata of a checkpoint file, without what a wrapper put before all of their names.

    A ``.pt`` file stays mapped while its entries live: what was read of it counts as the process's memory until then,
    though the system may take it back.

    Raises:
        UserError: the file is unreadable, damaged, something else, or holds more than one model's tensors.
    """
    _check_beginning(path)
    if path.suffix != ".safetensors":
        state = read_state_dict(path)
        return _unwrapped({key: _of_tensor(value) for key, value in state.items()}), {}
    try:
        with safe_open(path, "pt") as file:
            entries = {key: _of_slice(path, key, file.get_slice(key)) for key in file.keys()}  # noqa: SIM118
            return _unwrapped(entries), file.metadata() or {}
    except (SafetensorError, RuntimeError) as error:  # RuntimeError: the file cannot be mapped
        raise damaged(path, str(error)) from None


def check_entries(path: Path, found: Mapping[str, Entry], expected: Mapping[str, Tensor]) -> None:
    """Raise UserError where ``found`` is not exactly the model's, in floating point: names the first differences.

    8-bit and narrower tensors are refused, fp8 too: without its scales a quantized weight is another number, and with
    them it is still not the full-precision model that methods are compared with.
    """
    if codes := [key for key in expected if key in found and found[key].dtype not in FLOATS]:
        raise UserError(
            f"{path}: {len(codes)} weights are stored as {found[codes[0]].dtype} (first: {codes[0]}), a quantized "
            "checkpoint; give the float32, bfloat16 or float16 one that it was made from"
        )
    missing = [key for key in expected if key not in found]
    foreign = [key for key in found if key not in expected]
    shapes = [key for key in expected if key in found and found[key].shape != expected[key].shape]
    problems = [
        f"{len(keys)} {what} (first: {keys[0][:100]})"
        for what, keys in (("keys missing", missing), ("unknown keys", foreign), ("shapes differ", shapes))
        if keys
    ]
    if problems:
        raise UserError(f"{path}: not a checkpoint of this model: {'; '.join(problems)}")


def _check_beginning(path: Path) -> None:
    """Raise UserError where the file cannot be opened, is empty, or is what a failed download leaves."""
    try:
        with open_regular(path) as file:
            beginning = file.read(100).lstrip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not beginning:
        raise UserError(f"{path}: an empty file, not a checkpoint")
    for begins, what in NOT_THE_FILE.items():
        if beginning.startswith(begins):
            raise UserError(f"{path}: not a checkpoint but {what}")


def _unwrapped(entries: dict[str, Entry]) -> dict[str, Entry]:
    """``entries`` under the names that a model's own ``state_dict`` gives them."""
    while entries and (common := [each for each in WRAPPERS if all(key.startswith(each) for key in entries)]):
        entries = {key.removeprefix(common[0]): entry for key, entry in entries.items()}
    return entries


def _of_tensor(value: Tensor) -> Entry:
    return Entry(tuple(value.shape), str(value.dtype).removeprefix("torch."), value.detach)


def _of_slice(path: Path, key: str, part: Any) -> Entry:
    return Entry(tuple(part.get_shape()), part.get_dtype(), partial(_read, path, key))


def _read(path: Path, key: str) -> Tensor:
    """One tensor of a safetensors file, opened anew: a mapping that stays open keeps every page that was read."""
    with safe_open(path, "pt") as file:
        tensor: Tensor = file.get_tensor(key)
    return tensor
