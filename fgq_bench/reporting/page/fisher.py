"""Fisher heat-maps: every channel of every block and token type, in 16-bit steps of a logarithm."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fgq_bench.models.interface import TOKEN_TYPES
from fgq_bench.quant.layout import Expected
from fgq_bench.reporting.figures.fisher_maps import short_name
from fgq_bench.reporting.page.facts import FisherFacts, read_facts
from fgq_bench.reporting.page.section import Section, damaged
from fgq_bench.reporting.page.tables import PageTable
from fgq_bench.reporting.tables import Cell, Table
from fgq_bench.task_losses import TASKS

VERB, TITLE = "fisher", "Fisher information"
LOWEST, HIGHEST = -8.0, 4.0  # log10(F / mean) of the codes 1 and 65535; code 0 is F = 0
MISSING: Final = "Not stored beside this page: fgq-bench fisher -o FOLDER/fisher makes it, then fgq-bench report --page FOLDER/index.html."  # fmt: skip


def fisher_section(folder: Path) -> Section:
    """The heat-maps of ``folder``/fisher, and each task's information by block and by token type."""
    path = folder / VERB / "fisher.json"
    facts = read_facts(path, VERB, FisherFacts)
    if facts is None or not path.with_suffix(".safetensors").is_file():
        return Section(VERB, TITLE, missing=MISSING)
    conditions = (
        f"Model {facts['model']}; calibration {facts['manifest']['manifest']}; estimator {facts['estimator']}, "
        f"{facts['probes']} probes, seed {facts['seed']}. F: squared derivative of a task's loss by a channel of a "
        "block's output, in expectation."
    )
    blocks = [short_name(row["block"]) for row in facts["blocks"]]
    tables = [PageTable.read(table) for table in (_by_block(facts, conditions), _by_type(facts, conditions))]
    values = _read_tensor(path.with_suffix(".safetensors"), len(blocks))
    data = {
        "conditions": conditions, "tasks": TASKS, "blocks": blocks, "types": TOKEN_TYPES, "channels": values.shape[-1],
        "lowest": LOWEST, "highest": HIGHEST, "codes": encode(values),
    }  # fmt: skip
    return Section(VERB, TITLE, {"tables": tables, "conditions": conditions}, data)


def _read_tensor(path: Path, blocks: int) -> Tensor:
    """F [tasks, blocks, token types, channels]; raises UserError for any other tensor."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise damaged(path, VERB, error) from None
    wanted = Expected((torch.float32,), (len(TASKS), blocks, len(TOKEN_TYPES), None))
    if "fisher" not in tensors:
        raise damaged(path, VERB, "tensor 'fisher' is missing")
    if (fault := wanted.fault(tensors["fisher"])) is not None:
        raise damaged(path, VERB, f"tensor 'fisher': {fault}")
    return tensors["fisher"]


def encode(fisher: Tensor) -> str:  # [tasks, blocks, token types, channels]
    """Base64 of uint16 codes of log10(F / mean); the mean is a task's over blocks and channels, token types summed."""
    values = fisher.double()
    mean = values.sum(2).mean((1, 2)).clamp(min=torch.finfo(torch.float64).tiny)
    logarithm = (values / mean[:, None, None, None]).clamp(min=10.0**LOWEST).log10().clamp(max=HIGHEST)
    codes = 1 + ((logarithm - LOWEST) / (HIGHEST - LOWEST) * 65534).round()
    return base64.b64encode(torch.where(values > 0, codes, 0).numpy().astype("<u2").tobytes()).decode()


def _by_block(facts: dict[str, Any], conditions: str) -> Table:
    totals = {task: sum(row[task] for row in facts["blocks"]) or 1.0 for task in TASKS}
    rows = [
        [Cell(row["block"]), *(Cell(f"{100 * row[task] / totals[task]:.2f}") for task in TASKS)]
        for row in facts["blocks"]
    ]
    heads = ["Block", *(f"{task} (%)" for task in TASKS)]
    caption = f"Share of each task's information, summed over token types and channels. {conditions}"
    return Table("fisher-blocks", "Fisher information by block", caption, heads, rows)


def _by_type(facts: dict[str, Any], conditions: str) -> Table:
    shares = facts["share_by_token_type"]
    rows = [[Cell(task), *(Cell(f"{100 * shares[task][kind]:.2f}") for kind in TOKEN_TYPES)] for task in TASKS]
    heads = ["Task", *(f"{kind} tokens (%)" for kind in TOKEN_TYPES)]
    caption = f"Share of each task's information, summed over blocks and channels. {conditions}"
    return Table("fisher-types", "Fisher information by token type", caption, heads, rows)
