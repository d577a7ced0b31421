"""What can happen to a file: seeded changes of its bytes, of its values, of its tensors."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Mutation = Callable[[Path, random.Random], None]
FOREIGN = (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04" + bytes(40), b"\x80\x04\x95cos\nsystem\n.", b"%!PS-Adobe-3.0\n", b"[" * 100_000, b'{"a": ' * 5000, b"\xff\xfe\0\0", b"null", b"[]\n", b"{}\n")  # fmt: skip
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    1.5,
    "",
    "../../etc/passwd",
    "\0",
    "<script>",
    [],
    {},
    [[[]]],
    {"a": 1},
)


def truncate(path: Path, rng: random.Random) -> None:
    """Keep the beginning."""
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def flip_bit(path: Path, rng: random.Random) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def flip_head(path: Path, rng: random.Random) -> None:
    """One bit of the first 200 bytes, where formats keep what the rest means."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(min(200, len(data)))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def scramble(path: Path, rng: random.Random) -> None:
    """A run of random bytes in the middle."""
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    end = min(start + rng.randrange(1, 64), len(data))
    data[start:end] = rng.randbytes(end - start)
    path.write_bytes(data)


def empty(path: Path, rng: random.Random) -> None:
    """Nothing."""
    path.write_bytes(b"")


def foreign(path: Path, rng: random.Random) -> None:
    """A file of another kind, or of none."""
    path.write_bytes(rng.choice([*FOREIGN, rng.randbytes(300)]))


def folder(path: Path, rng: random.Random) -> None:
    """A folder of that name."""
    path.unlink()
    path.mkdir()


def wrong_value(path: Path, rng: random.Random) -> None:
    """JSON or TOML: one value becomes another, mostly of another type."""
    if path.suffix == ".toml":
        lines = path.read_text().splitlines()
        places = [place for place, line in enumerate(lines) if " = " in line]
        place = rng.choice(places)
        value = rng.choice(["nan", "-inf", "[]", '""', "1979-05-27", '"../../x"', "9" * 5000, "{}", "-1", "'<script>'"])
        lines[place] = f"{lines[place].partition(' = ')[0]} = {value}"
        path.write_text("\n".join(lines) + "\n")
        return
    content = json.loads(path.read_text())
    holder, key = content, rng.choice(list(content))
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.8:
        holder = holder[key]
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    holder[key] = rng.choice([*ODD, float("nan"), float("inf")])
    path.write_text(json.dumps(content))


def lost_key(path: Path, rng: random.Random) -> None:
    """JSON: a key is missing."""
    content = json.loads(path.read_text())
    del content[rng.choice(list(content))]
    path.write_text(json.dumps(content))


def _change_tensor(path: Path, rng: random.Random, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    name = rng.choice(sorted(tensors))
    tensors[name] = change(tensors[name])
    save_file(tensors, path, metadata)


def not_finite(path: Path, rng: random.Random) -> None:
    """safetensors: one number of a float tensor is NaN or Inf; a code takes its largest value."""

    def change(value: torch.Tensor) -> torch.Tensor:
        place = rng.randrange(value.numel())
        flat = value.reshape(-1).clone()
        flat[place] = rng.choice([float("nan"), float("inf")]) if value.is_floating_point() else torch.iinfo(value.dtype).max - flat[place]  # fmt: skip
        return flat.reshape(value.shape)

    _change_tensor(path, rng, change)


def wrong_shape(path: Path, rng: random.Random) -> None:
    """safetensors: a tensor of another shape, with as many numbers."""
    _change_tensor(path, rng, lambda value: value.reshape(-1, 1).contiguous())


def wrong_type(path: Path, rng: random.Random) -> None:
    """safetensors: a tensor of another type."""
    _change_tensor(path, rng, lambda value: value.double())


BYTES: tuple[Mutation, ...] = (truncate, flip_bit, flip_head, scramble, empty, foreign, folder)
TEXT: tuple[Mutation, ...] = (*BYTES, wrong_value)
JSON: tuple[Mutation, ...] = (*TEXT, wrong_value, lost_key)
TENSORS: tuple[Mutation, ...] = (*BYTES, flip_bit, not_finite, wrong_shape, wrong_type)
