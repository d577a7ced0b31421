"""How a paper's own method stands against its rivals, cell by cell, and how likely that is under the paper's own noise."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, prod
from statistics import median

from fgq_bench.reporting.audit.finding import OWN, Finding, column_key, group, is_pose, is_score
from fgq_bench.reporting.audit.repeats import kind, noise
from fgq_bench.reporting.published import Published, PublishedCell

FEW = 10  # cells before "never worse" is worth a finding
NOISY = "w4a4"  # the scheme at which configurations are printed twice
Pair = tuple[PublishedCell, PublishedCell]  # the paper's own method, a rival


@dataclass(frozen=True)
class Standing:
    """Cells of the same column and scheme: the paper's own method against one rival."""

    paper: str
    model: str
    rival: str
    wins: int
    ties: int
    losses: int
    pairs: tuple[Pair, ...]


def standings(published: Published) -> list[Standing]:
    """Every rival of every paper's own method."""
    found = []
    for paper, own in OWN.items():
        full = {cell.table for cell in published.of(paper) if cell.is_full_precision}  # else: an ablation
        scores = [
            cell for cell in published.of(paper) if is_score(cell) and cell.table in full and not cell.is_full_precision
        ]
        pairs: list[Pair] = []
        for cells in group(scores, lambda cell: (*column_key(cell), cell.scheme)).values():
            mine = next((cell for cell in cells if cell.printed.method.lower() == own), None)
            pairs += [(mine, cell) for cell in cells if mine and _is_rival(cell, own)]
        for (model, rival), theirs in group(pairs, lambda pair: (pair[1].model, pair[1].printed.method)).items():
            wins, losses = (sum(a.better_than(b) for a, b in order) for order in (theirs, [(b, a) for a, b in theirs]))
            found.append(
                Standing(paper, model, rival, wins, len(theirs) - wins - losses, losses, tuple(theirs))
            )  # fmt: skip
    return found


def _is_rival(cell: PublishedCell, own: str) -> bool:
    """Neither the method itself nor one of its variants."""
    return cell.method.split()[0].split(":")[0] != own and own not in cell.printed.method.lower()


def check_sweep(published: Published) -> list[Finding]:
    """Rivals that never win a cell, and how many they would win if the cells were printed once more."""
    findings = []
    for (paper, model), found in group(standings(published), lambda one: (one.paper, one.model)).items():
        never = [one for one in found if not one.losses and len(one.pairs) >= FEW]
        if not never:
            continue
        lost = "; ".join(f"{one.rival} {one.losses} of {len(one.pairs)}" for one in found if one.losses) or "none"
        count = "; ".join(f"{one.rival} {one.wins} won, {one.ties} tied" for one in never)
        findings.append(
            Finding(
                "never worse", "suspicious", paper, f"{model}, all tables with rivals", tuple(one.rival for one in never),
                "now and then a lost cell, as printings scatter",
                f"{OWN[paper]} never loses a cell: {count}. Lost to others: {lost}. {_expected(published, paper, never)}",
            )
        )  # fmt: skip
    return findings


def _expected(published: Published, paper: str, never: list[Standing]) -> str:
    """What a second printing would show.

    Assumes that the printed differences are the true ones (generous to the method), that one printing scatters like
    those of the configurations that are printed twice, and normally. The expected number of lost cells needs no
    independence; the probability of none is given for independent cells and for cells of one data set moving together.
    """
    spread = noise(published, paper)
    pairs = [pair for one in never for pair in one.pairs if pair[0].scheme == NOISY and kind(pair[0]) in spread]
    if not pairs:
        return "No quantized configuration is printed with two values: the scatter is not known"
    holds = {pair: _holds(pair, spread[kind(pair[0])]) for pair in pairs}
    together = prod(
        min(holds[pair] for pair in same) for same in group(pairs, lambda pair: pair[0].printed.dataset).values()
    )
    sizes = ", ".join(f"{name} {100 * value:.1f} %" for name, value in spread.items())
    return (
        f"Printed once more with the scatter of what is printed twice ({sizes} of a cell's error), "
        f"{sum(1 - p for p in holds.values()):.1f} of these {len(pairs)} {NOISY} cells would be lost; probability of none: "
        f"{prod(holds.values()):.1g} (independent cells), {together:.2g} (cells of a data set move together)"
    )


def _holds(pair: Pair, spread: float) -> float:
    """Probability that the method is again not worse than the rival."""
    mine, theirs = pair
    scale = spread * (mine.error**2 + theirs.error**2) ** 0.5  # of the difference
    return 0.5 * (1 + erf((theirs.error - mine.error) / scale / 2**0.5))


def check_gains(published: Published) -> list[Finding]:
    """The median relative gain over each rival that learns, data set by data set, at 4 bits: where is it large?"""
    findings = []
    for (paper, model), found in group(standings(published), lambda one: (one.paper, one.model)).items():
        texts = []
        for one in found:
            pairs = [pair for pair in one.pairs if pair[0].scheme == NOISY]
            gains = group(pairs, lambda pair: _family(pair[0]))
            largest = max(pairs, key=_gain, default=None)
            if one.rival in ("FlatQuant", "QuantVGGT", "QuaRot") and largest:
                medians = ", ".join(f"{name} {100 * median(map(_gain, of)):.1f} %" for name, of in gains.items())
                cell = largest[0].printed
                texts.append(
                    f"over {one.rival}: {medians} (most: {cell.dataset} {cell.metric} {100 * _gain(largest):.0f} %)"
                )
        if texts:
            findings.append(
                Finding(
                    "gains", "suspicious", paper, f"{model} {NOISY}", (OWN[paper],),
                    "a claim of gain names its rival: the median over a group of cells depends on it", "; ".join(texts),
                )
            )  # fmt: skip
    return findings


def _gain(pair: Pair) -> float:
    """Relative improvement of the value, as papers print it."""
    mine, theirs = pair
    change = (mine.value - theirs.value) / theirs.value
    return change if mine.higher_is_better else -change


def _family(cell: PublishedCell) -> str:
    if is_pose(cell):
        return "poses"
    if cell.metric.startswith("depth"):
        return "depth"
    return "DTU" if cell.dataset == "dtu" else "rooms and ETH3D"


def check_worse_than_rounding(published: Published) -> list[Finding]:
    """Calibrated methods that lose cells to rounding to nearest at the same scheme."""
    findings = []
    scores = [cell for cell in published.cells if is_score(cell) and not cell.is_full_precision]
    columns = group(scores, lambda cell: (*column_key(cell), cell.scheme)).values()
    pairs = [
        (cell, rtn) for cells in columns for rtn in cells if rtn.method == "rtn" for cell in cells if cell is not rtn
    ]
    for (paper, model, scheme), found in group(pairs, lambda p: (p[0].paper, p[0].model, p[0].scheme)).items():
        by_method = group(found, lambda pair: pair[0].printed.method)
        losses = {name: sum(rtn.better_than(cell) for cell, rtn in cells) for name, cells in by_method.items()}
        bad = {name: lost for name, lost in losses.items() if 4 * lost >= len(by_method[name])}
        if bad:
            findings.append(
                Finding(
                    "worse than rounding", "suspicious", paper, f"{model} {scheme}", tuple(bad),
                    "a calibrated method loses few cells to rounding to nearest",
                    "; ".join(f"{name} loses {lost} of {len(by_method[name])}" for name, lost in bad.items()),
                )
            )  # fmt: skip
    return findings
