"""The candidates of a calibration manifest, and what the float model's deep layers say of each.

Deep layers are the last sixth of the levels (a frame block and a global block each): 4 of VGGT-1B's 24, as in
QuantVGGT's released code, which takes only the first frame of a frame block's input; here it is all of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.calibration.manifest import Clip, fingerprint
from fgq_bench.errors import UserError
from fgq_bench.loaders.base import Dataset
from fgq_bench.models.interface import ReconstructionModel, block_names, run_stage
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.numerics import same_numerics
from fgq_bench.tensor_files import load_tensors, save_tensors

VERSION = 1  # raised when candidates or their features change meaning
FEATURES = ("mean", "variance", "cosine")


@dataclass(frozen=True)
class Candidates:
    """One clip of every sequence of some data sets, with the data sets' fingerprints."""

    clips: tuple[Clip, ...]
    sources: tuple[tuple[str, str], ...]
    seed: int

    def hash(self) -> str:
        """SHA-256 over clips and sources."""
        text = json.dumps([[asdict(clip) for clip in self.clips], self.sources], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Features:
    """What the filter and the clusters read of every candidate, float64."""

    mean: Tensor  # [N, layers] of a layer's input, over all tokens and channels
    variance: Tensor  # [N, layers]
    cosine: Tensor  # [N, frames - 1], of the last level's features of frame 0 and of each other frame


def draw_candidates(datasets: list[Dataset], frames: int, seed: int) -> Candidates:
    """Every sequence of ``datasets`` with ``frames`` of its frames, drawn without replacement, in the order drawn.

    Raises:
        UserError: a sequence has fewer frames.
    """
    rng = random.Random(f"candidates {seed}")
    clips = []
    for dataset in datasets:
        for sequence, available in sorted(dataset.frames.items()):
            if frames > len(available):
                raise UserError(
                    f"--frames {frames}: {sequence} of {dataset.card.name} has {len(available)}; ask for fewer"
                )
            clips.append(Clip(dataset.card.name, sequence, tuple(rng.sample(available, frames))))
    sources = tuple((dataset.card.name, fingerprint(dataset)) for dataset in datasets)
    return Candidates(tuple(clips), sources, seed)


def deep_blocks(model: ReconstructionModel) -> list[str]:
    """Names of the deep layers' blocks in the order of execution, the frame block of each level first."""
    blocks = block_names(model.linear_groups()["aa"])
    return blocks[-2 * math.ceil(len(blocks) / 2 / 6) :]


@torch.no_grad()
def measure(model: ReconstructionModel, images: Tensor, compute_dtype: str) -> Features:
    """Features of one clip ``images`` [S, 3, H, W] in [0, 1], as one row each; nothing runs behind the last deep layer."""
    blocks = deep_blocks(model)
    means: list[Tensor] = []
    variances: list[Tensor] = []
    outputs: list[Tensor] = []
    with evaluation_precision(model.device, compute_dtype):
        state = model.begin(images[None].to(model.device), dense=False)
        while len(outputs) < 2 and (step := model.next_stage(state)) is not None:
            output = run_stage(step)
            if step.name in blocks:
                x = step.x.double()  # [S, tokens, C], or [1, S * tokens, C] of a global block
                means.append(x.mean())
                variances.append(x.var(correction=0))
            if step.name in blocks[-2:]:
                outputs.append(output.float().reshape(len(images), -1, output.shape[-1]))  # [S, tokens, C]
            state = model.advance(state, output)
    level = torch.cat(outputs, -1).flatten(1)  # [S, tokens * 2C]
    cosine = F.cosine_similarity(level[:1], level[1:])
    return Features(*(row[None].double().cpu() for row in (torch.stack(means), torch.stack(variances), cosine)))


def load_or_measure(
    model: ReconstructionModel,
    model_hash: str,
    datasets: list[Dataset],
    candidates: Candidates,
    compute_dtype: str,
    folder: Path,
    advance: Callable[[int], None] = lambda done: None,
) -> Features:
    """Features of all candidates: those kept in ``folder``, else measured clip by clip and kept there.

    ``advance(done)`` is told how many candidates are done. A damaged or foreign file counts as absent, and so does
    what was measured on a machine that computes otherwise.
    """
    frames = len(candidates.clips[0].frames)
    identity = f"{model_hash[:12]}-{candidates.hash()[:12]}-{frames}f-s{candidates.seed}-{compute_dtype}"
    path = folder / f"candidates-v{VERSION}-{identity}.safetensors"
    here = same_numerics(model.device)
    kept = load_tensors(path, identity, here)
    if kept is not None and kept.keys() == set(FEATURES):
        return Features(**kept)
    opened = {dataset.card.name: dataset for dataset in datasets}
    rows = []
    for clip in candidates.clips:
        rows.append(measure(model, opened[clip.dataset].read(clip.sequence, list(clip.frames)).images, compute_dtype))
        advance(len(rows))
    tensors = {name: torch.cat([getattr(row, name) for row in rows]) for name in FEATURES}
    save_tensors(path, tensors, identity, here)
    return Features(**tensors)
