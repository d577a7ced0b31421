"""What is the same on every machine: bits with the same number of threads, rounding errors apart with another.

reports/README.md, "Does it come out again?", states this; the numbers measured there are of the tests below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fgq_bench import api
from fgq_bench.cards import Scalar
from fgq_bench.kernels.reference import execute
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.artifact import QuantizedModel

LEARNED: dict[str, Scalar] = {"epochs": 2}
pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads; as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def predicted(model: VGGT) -> Tensor:
    """Poses and depth of four frames, in one row."""
    out = model(torch.rand(1, 4, 3, 56, 56, generator=torch.Generator().manual_seed(0)))
    return torch.cat([out.pose_enc.flatten(), out.depth.flatten()])


def content(made: QuantizedModel, folder: Path) -> bytes:
    made.save(folder / "made.safetensors")
    return (folder / "made.safetensors").read_bytes()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("method", ["rtn", "gptq", "flatquant", "fgq"])
def test_the_same_number_of_threads_gives_the_same_bits(
    micro: VGGT, manifest: Path, tmp_path: Path, threads: Callable[[int], None], method: str, count: int
) -> None:
    threads(count)
    options = LEARNED if method in ("flatquant", "fgq") else None
    made = [api.quantize(micro, method, "w4a4", overrides=options, calibration=str(manifest)) for _ in range(2)]
    assert content(made[0], tmp_path) == content(made[1], tmp_path)
    assert torch.equal(*(predicted(each.install(micro, execute)) for each in made))


def test_predictions_of_another_number_of_threads_differ_by_rounding(
    micro: VGGT, tiny: VGGT, tmp_path: Path, threads: Callable[[int], None]
) -> None:
    for model in (micro, tiny):
        found, artefacts = [], []
        for count in (1, 2):
            threads(count)
            made = api.quantize(model, "rtn", "w4a4")
            artefacts.append(content(made, tmp_path))
            found.append(predicted(made.install(model, execute)))
        assert artefacts[0] == artefacts[1]  # nothing is summed up
        apart = (found[0] - found[1]).abs()
        assert float(apart.mean()) < 1e-5
        assert float(apart.max()) < 1e-2  # an activation next to the edge of its code may fall to the other side


def test_gptq_of_another_number_of_threads_differs_in_few_codes(
    tiny: VGGT, manifest: Path, threads: Callable[[int], None]
) -> None:
    made = []
    for count in (1, 2):
        threads(count)
        made.append(api.quantize(tiny, "gptq", "w4a4", calibration=str(manifest)))
    for name, linear in made[0].linears.items():
        other = made[1].linears[name]
        assert linear.weight_scale is not None and other.weight_scale is not None
        torch.testing.assert_close(linear.weight_scale, other.weight_scale, rtol=1e-5, atol=0)
        assert float((linear.codes != other.codes).float().mean()) < 0.01, name


def test_what_is_learned_is_closer_than_another_seeds(
    micro: VGGT, manifest: Path, threads: Callable[[int], None]
) -> None:
    """Training carries rounding errors on: of another number of threads it is another draw, but from the same start."""

    def learn(count: int, seed: int) -> Tensor:
        threads(count)
        made = api.quantize(micro, "fgq", "w4a4", seed=seed, overrides=LEARNED, calibration=str(manifest))
        return torch.cat([linear.codes.flatten() for linear in made.linears.values()])

    one, two, other = learn(1, 0), learn(2, 0), learn(1, 1)
    assert float((one != two).float().mean()) < 0.1
    assert float((one != other).float().mean()) > 0.5
