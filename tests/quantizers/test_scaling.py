"""SmoothQuant and AWQ: the papers' formulas, and searches that find the best of their grid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fgq_bench import api
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.grid import dequantize
from fgq_bench.quant.linear import round_to_nearest
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Diagonal
from fgq_bench.quantizers.awq import ClippingRounder, round_off, search_scale
from fgq_bench.quantizers.scaling import norm_before
from fgq_bench.quantizers.smoothquant import smoothing_multiplier


def test_smoothing_equalises_at_alpha_one_half() -> None:
    maximum, weight = torch.tensor([100.0, 1.0, 0.0]), torch.tensor([[1.0, -2.0, 4.0], [0.5, 1.0, -1.0]])
    multiplier = smoothing_multiplier(maximum, weight, 0.5)
    expected = (weight.abs().amax(0) / maximum.clamp(min=1e-5)).sqrt().double()
    torch.testing.assert_close(multiplier, expected)
    torch.testing.assert_close((maximum * multiplier)[:2], (weight.abs().amax(0) / multiplier)[:2])
    torch.testing.assert_close(smoothing_multiplier(maximum, weight, 1.0)[0], torch.tensor(0.01, dtype=torch.double))


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("a.blocks.3.attn.qkv", "a.blocks.3.norm1"),
        ("a.blocks.3.mlp.fc1", "a.blocks.3.norm2"),
        ("a.blocks.3.attn.proj", None),
        ("a.blocks.3.mlp.fc2", None),
        ("camera_head.pose_branch.fc1", None),
        ("camera_head.poseLN_modulation.1", None),
    ],
)
def test_what_folds(name: str, norm: str | None) -> None:
    assert norm_before(name) == norm


@pytest.mark.parametrize("fold", ["online", "v"])
def test_only_what_cannot_fold_stays_online(micro: VGGT, manifest: Path, fold: str) -> None:
    made = api.quantize(micro, "smoothquant", "w8a8", overrides={"fold": fold}, calibration=str(manifest))
    online = {name.rpartition(".")[2] for name, linear in made.linears.items() if len(linear.transforms)}
    assert online == ({"proj", "fc2"} if fold == "online" else {"fc2"})
    assert all(isinstance(t, Diagonal) for linear in made.linears.values() for t in linear.transforms)
    assert len(made.overrides) == 2 * 2 * 8  # weight and bias of two LayerNorms in eight blocks


def test_the_scale_search_returns_the_best_of_its_grid() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 32) * torch.logspace(-1, 1, 32)
    weight, mean, hessian, scheme = torch.randn(16, 32), x.abs().mean(0), x.T @ x / 250, Scheme.parse("w3a16")

    def loss(scale: torch.Tensor) -> float:
        return float(((round_off(weight * scale, scheme, 1) / scale - weight) @ x.T).square().sum())

    scales = [(mean ** (step / 20)) for step in range(20)]
    losses = [loss(s / (s.max() * s.min()).sqrt()) for s in scales]
    found = loss(search_scale(weight, mean, hessian, scheme, 1, 20))
    assert found == pytest.approx(min(losses), rel=1e-3)
    assert found < 0.8 * losses[0]


@pytest.mark.parametrize("scheme", ["w3a16", "w3a16g16"])
def test_clipping_lowers_the_error_of_every_group_and_spares_q_and_k(scheme: str) -> None:
    torch.manual_seed(0)
    parsed = Scheme.parse(scheme)
    groups = parsed.groups_of(32, "w")
    x, weight = torch.randn(400, 32), torch.randn(12, 32) ** 3
    plain = round_to_nearest(weight, parsed, groups)
    clipped = ClippingRounder(x.T @ x, tuple(1 - 0.05 * i for i in range(10)), first_row=8)(weight, parsed, groups)
    assert all(torch.equal(a[:8], b[:8]) for a, b in zip(plain[:2], clipped[:2], strict=True))

    def errors(parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]) -> torch.Tensor:
        difference = dequantize(*parts) - weight.unflatten(1, (groups, -1))
        return torch.einsum("ogi,tgi->otg", difference, x.unflatten(1, (groups, -1))).square().sum(1)

    assert (errors(clipped) <= errors(plain) * (1 + 1e-5)).all()
    assert errors(clipped)[8:].sum() < 0.95 * errors(plain)[8:].sum()
