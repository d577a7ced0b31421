"""Which frames of a sequence are scored: the rules of the protocols, and lists of frames pinned in files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from fgq_bench.cards import ProtocolEntry, content_root
from fgq_bench.errors import UserError
from fgq_bench.files import write_json
from fgq_bench.loaders.setting import Setting

FOLDER = "datasets/frames"
FrameList = dict[str, list[str]]  # sequence -> names of its frames, in order


def choose_frames(entry: ProtocolEntry, index: FrameList) -> FrameList:
    """The frames that ``entry`` wants of every sequence of ``index``; sequences come out in sorted order.

    - ``random``: NumPy's generator is seeded once; each sequence in turn gives ``count`` frames, drawn without
      replacement and left in the order drawn. One with fewer frames (or than ``minimum``) is left out without drawing.
    - ``stride``: every ``stride``-th frame, starting with the first; ``at_most_half``: or every n/2-th of n frames.
    - ``first``: the first ``count``. ``all``: all.
    - ``each``: every frame is a sequence of its own, ``<sequence>/<frame>`` (monocular depth).
    """
    rng = np.random.RandomState(entry.seed)
    chosen: FrameList = {}
    for sequence in sorted(index):
        names = index[sequence]
        if len(names) < max(entry.minimum, entry.count or 0 if entry.frames == "random" else 0):
            continue
        if entry.frames == "random":
            chosen[sequence] = [names[i] for i in rng.choice(len(names), entry.count, replace=False)]
        elif entry.frames == "stride":
            assert entry.stride is not None
            step = min(entry.stride, max(len(names) // 2, 1)) if entry.at_most_half else entry.stride
            chosen[sequence] = names[::step]
        elif entry.frames == "each":
            chosen |= {f"{sequence}/{name}": [name] for name in names}
        else:
            chosen[sequence] = names[: entry.count]
    return chosen


def hash_frames(frames: FrameList) -> str:
    """SHA-256 of a frame list."""
    return hashlib.sha256(json.dumps(frames, sort_keys=True).encode()).hexdigest()


def pinned_path(dataset: str, protocol: str) -> Path:
    """File with the frames of ``dataset`` under ``protocol``."""
    return content_root() / FOLDER / f"{dataset}-{protocol}.json"


def rule_of(setting: Setting) -> dict[str, Any]:
    """What decides the frames, as a pinned list states it."""
    assert setting.entry is not None
    keys = ("frames", "count", "seed", "stride", "at_most_half", "minimum")
    rule = {key: value for key in keys if (value := getattr(setting.entry, key)) is not None}
    return {"protocol": setting.protocol, **rule, "options": setting.options}


def write_pinned(path: Path, dataset: str, setting: Setting, frames: FrameList) -> None:
    """Write a frame list with its rule and hash."""
    about = {"dataset": dataset, "rule": rule_of(setting), "hash": hash_frames(frames)}
    write_json(path, {**about, "sequences": frames})


def read_pinned(path: Path, setting: Setting) -> FrameList | None:
    """The frame list in ``path``, None where there is no such file.

    Raises UserError for a damaged or edited file, and for one that was written under another rule.
    """
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
        rule, stated = values["rule"], values["hash"]
        frames = {str(name): [str(frame) for frame in found] for name, found in values["sequences"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a frame list ({type(error).__name__}: {error}); delete it, or write it again with fgq-bench frames") from None  # fmt: skip
    if stated != hash_frames(frames):
        raise UserError(f"{path}: key 'hash' is not that of the frames ({hash_frames(frames)[:12]}...): the file was edited")  # fmt: skip
    if rule != rule_of(setting):
        raise UserError(f"{path}: key 'rule' is {rule}, the protocol's is {rule_of(setting)}; write it again with fgq-bench frames")  # fmt: skip
    return frames
