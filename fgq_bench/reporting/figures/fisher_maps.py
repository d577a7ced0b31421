"""Fisher information: a heat-map of blocks and channels per task, and how the token types share it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fgq_bench.models.interface import TOKEN_TYPES
from fgq_bench.reporting.figures.saving import COLOURS, new_figure, save_figure
from fgq_bench.reporting.writing import File
from fgq_bench.task_losses import TASKS


def draw_fisher(fisher: Tensor, blocks: list[str], title: str, stem: Path) -> list[File]:
    """Draw F [tasks, blocks, token types, channels]; each task's map is relative to its mean, on a log scale."""
    figure, axes = new_figure(len(TASKS), 2, 9.0, 1.1 + 0.16 * len(blocks) * len(TASKS))
    names = [short_name(block) for block in blocks]
    for row, task in enumerate(TASKS):
        by_channel = fisher[row].sum(1)
        relative = (by_channel / by_channel.mean()).clamp(min=1e-6).log10()
        heat, bars = axes[row]
        image = heat.imshow(relative.numpy(), aspect="auto", cmap="magma", vmin=-3, vmax=2, interpolation="nearest")
        heat.set_yticks(range(len(names)), names, fontsize=6)
        heat.set_title(f"{task}: channels", fontsize=8)
        heat.grid(False)
        figure.colorbar(image, ax=heat, label="log10(F / mean)")
        share = fisher[row].sum(-1)
        share = share / share.sum(1, keepdim=True)
        left = torch.zeros(len(names))
        for index, kind in enumerate(TOKEN_TYPES):
            bars.barh(range(len(names)), share[:, index].numpy(), left=left.numpy(), color=COLOURS[index], label=kind)
            left = left + share[:, index]
        bars.set_yticks(range(len(names)), names, fontsize=6)
        bars.invert_yaxis()
        bars.set_xlim(0, 1)
        bars.set_title(f"{task}: share of the token types", fontsize=8)
    axes[-1][1].legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, stem)


def short_name(block: str) -> str:
    """``F3`` for ``aggregator.frame_blocks.3``, ``G3`` for the global one, else the name's last two parts."""
    kind, _, index = block.rpartition(".")
    letter = {"frame_blocks": "F", "global_blocks": "G"}.get(kind.rpartition(".")[2])
    return f"{letter}{index}" if letter else ".".join(block.split(".")[-2:])
