"""Reading options: folders, choices, devices."""

from __future__ import annotations

from pathlib import Path

from fgq_bench.commands.given import check_roots
from fgq_bench.errors import UserError
from fgq_bench.registry import split_pair


def parse_roots(texts: list[str]) -> dict[str, Path]:
    """Folders of data sets; raises UserError for a folder that does not exist."""
    roots = {key: Path(value) for key, value in (split_pair("--root", text) for text in texts)}
    for name, path in roots.items():
        if not path.is_dir():
            raise UserError(f"--root {name}={path}: no such folder")
    return roots


def root_of(name: str, texts: list[str]) -> Path | None:
    """The folder of the only data set that a command reads; raises UserError where one is given for another."""
    roots = parse_roots(texts)
    check_roots(roots, [name])
    return roots.get(name)


def parse_root(name: str, text: str | None) -> Path | None:
    """The folder in ``PATH`` or ``DATASET=PATH``; raises UserError if there is none, or for another data set."""
    if text is None:
        return None
    if Path(text).is_dir():
        return Path(text)
    if "=" not in text:
        raise UserError(f"--root {text}: no such folder")
    roots = parse_roots([text])
    if name not in roots:
        raise UserError(f"--root {text}: the data set that is checked is {name}")
    return roots[name]


def parse_choice(option: str, value: str, choices: tuple[str, ...]) -> str:
    """``value`` if it is one of ``choices``; raises UserError otherwise."""
    if value not in choices:
        raise UserError(f"{option} {value!r}: use one of {', '.join(choices)}")
    return value


def check_device(name: str) -> str:
    """A torch device that exists here; raises UserError otherwise."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name!r}: not a torch device (cpu, cuda, cuda:1)") from None
    available = torch.cuda.device_count() if device.type == "cuda" else 1 if device.type == "cpu" else 0
    if (device.index or 0) >= available:
        raise UserError(f"--device {name!r}: not available here (fgq-bench doctor lists the devices)")
    return name
