"""The Fisher audit as a page of Markdown."""

from __future__ import annotations

from typing import Any

from fgq_bench.reporting.formats import escape_markdown

HEADS = {"rotation": "camera: rotation", "centre": "camera: centre", "depth": "depth", "points": "points"}
LEVELS = {
    "channels": (
        "Channels of a block",
        "Spearman correlation over the channels of a block, mean over blocks: ranking against the damage that noise "
        "in a single channel does.",
    ),
    "blocks": (
        "Blocks",
        "Spearman correlation over the blocks: a block's total against the damage that noise of equal root mean square "
        "in all its channels does. Few points, and most quantities rise or fall with depth: whatever falls with "
        "depth as the damage does scores as high. Intervals over clips alone.",
    ),
}


def to_markdown(facts: dict[str, Any]) -> str:
    """All tables of ``fisher-validity.json`` under the conditions that they were measured in."""
    c = facts["conditions"]
    lines = [
        "# Fisher validity", "",
        f"`{facts['command']}`", "",
        f"{c['model']}, {c['compute_dtype']}; Fisher information and variance on manifest {escape_markdown(c['manifest']['manifest'])} "
        f"({c['calibration_clips']} clips); damage on {len(c['clips'])} other clips ({escape_markdown(', '.join(c['datasets']))}), "
        f"{len(c['seeds'])} noise seeds, {c['channels']} of {c['width']} channels in each of {c['blocks']} blocks. "
        f"Noise: of random sign, as large as the rounding error on the token's {c['bits']}-bit grid (root mean square), "
        "equal in all channels of a token; the rest of the network is float. Damage: error against the float "
        "predictions, as the agreement task measures it (mean angle, mean distance of centres, median relative errors). "
        f"Intervals: 95 % bootstrap over clips{' and channels' if c['channels'] < c['width'] else ''}, the same resamples "
        "for every row. *permuted* is shuffled anew in every resample: its interval is what chance gives. *other half of "
        "the clips* ranks by the damage measured on the other half: what a perfect ranking could reach with half the clips. "
        "*own task*: the Fisher information of the task that the column measures, summed over tokens as FGQ sums it; *by "
        "token noise*: each token type weighted by the noise that it gets; *all tasks*: FGQ's weights.", "",
    ]  # fmt: skip
    for level, (title, what) in LEVELS.items():
        found = facts[level]
        lines += [f"## {title}", "", what, "", *_table("Ranking", found["correlation"], "{:.2f}")]
        still = [HEADS[name] for name, count in c["blocks_that_count"].items() if count < c["blocks"]]
        if still and level == "channels":
            counts = ", ".join(f"{HEADS[name]}: {count}" for name, count in c["blocks_that_count"].items())
            lines += [f"Blocks in which noise moves the measure at all, over which the means are: {counts}.", ""]
        if level == "blocks":
            continue  # too few, and in order of depth: comparisons would tell nothing
        lines += ["Own task's Fisher minus activation variance:", "", *_table("Estimator", found["over_variance"], "{:+.2f}")]  # fmt: skip
        lines += [
            "Own task's Fisher minus the mean of the other two tasks':", "", *_table("Estimator", found["over_other_tasks"], "{:+.2f}")
        ]  # fmt: skip
        lines += ["Every task's Fisher against every measure:", "", *_table("Fisher of", found["by_task"], "{:.2f}")]
    lines += [
        "## High against low", "",
        "Damage of the highest-ranked eighth of the channels over that of the lowest-ranked eighth (1: no difference).", "",
        *_table("Ranking", facts["contrast"], "{:.2f}"),
        *_cancellation(facts),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def show(cell: dict[str, float], form: str) -> str:
    """``0.41 [0.30, 0.52]``."""
    value, low, high = (form.format(cell[key]) for key in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def _table(head: str, rows: dict[str, Any], form: str) -> list[str]:
    lines = ["| " + " | ".join([head, *HEADS.values()]) + " |", "|---|" + "---:|" * len(HEADS)]
    lines += [
        "| " + " | ".join([name, *(show(row[measure], form) for measure in HEADS)]) + " |" for name, row in rows.items()
    ]
    return [*lines, ""]


def _cancellation(facts: dict[str, Any]) -> list[str]:
    c = facts["cancellation"]
    plain = c["artefacts"]["plain"]
    lines = [
        "## What cancels", "",
        f"FGQ trained on the first {c['blocks']} blocks ({c['scheme']}, {c['clips']} clips, {c['epochs']} epochs, Fisher "
        "estimator sum, all tasks), with a power of two between 2^-10 and 2^10 per block:", "",
        "| Training | SHA-256 of the artefact | |", "|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {name} | {digest[:16]} | {'' if name == 'plain' else 'identical bytes' if digest == plain else 'differs'} |"
        for name, digest in c["artefacts"].items()
    ]
    changes = ", ".join(f"{tasks}: {value:.3g}" for tasks, value in c["weight_changes"].items())
    lines += [
        "", f"Largest relative change of a channel's weight over 100 draws of factors in that range ({c['estimator']}): {changes}. "
        "With one task only rounding is left of a block's magnitude (float64). With several, factors on the Fisher "
        "information itself act on how the tasks mix inside a block, through the tasks' means over all blocks (eq. 12), "
        "and in no other way.", "",
        f"Compensation token (QVGGT): its largest difference from the mean camera token is {facts['token_deviation']:.1e} "
        "of the mean's largest entry, with 32 principal directions, in float64 "
        "(`tests/quantizers/test_qvggt.py::test_principal_directions_have_no_effect`).",
    ]  # fmt: skip
    return lines
