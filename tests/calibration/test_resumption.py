"""A calibration pass that is killed goes on where it was, and comes to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fgq_bench.calibration import resumption
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips
from fgq_bench.calibration.resumption import PassKeeper
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.pi3 import Pi3
from fgq_bench.models.vggt import VGGT
from fgq_bench.quant.scopes import target_linears
from fgq_bench.tensor_files import save_tensors


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def keep_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "FIRST", 0.0)
    monkeypatch.setattr(resumption, "SHARE", 0.0)


def calibration(model: ReconstructionModel, clips: CalibrationClips, folder: Path) -> Calibration:
    return Calibration(model, "hash", clips, "float32", folder)


def kill_after(stages: int) -> Callable[[str], None]:
    seen: list[str] = []

    def advance(stage: str) -> None:
        seen.append(stage)
        if len(seen) == stages:
            raise Killed

    return advance


def files(data: Calibration) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["vggt", "pi3"])
def model(request: pytest.FixtureRequest, micro: VGGT, micro_pi3: Pi3) -> VGGT | Pi3:
    return micro if request.param == "vggt" else micro_pi3


def test_killed_again_and_again_it_comes_to_its_end_with_the_same_bits(
    model: VGGT | Pi3, data: Calibration, tmp_path: Path
) -> None:
    targets = target_linears(model, "all")
    whole = calibration(model, data.clips, tmp_path / "whole")
    count: list[str] = []
    whole.capture(targets, count.append)
    seen: list[str] = []
    while True:  # every process finishes one stage and is killed in the second
        killed = calibration(model, data.clips, tmp_path / "killed")
        stop = kill_after(2)

        def advance(stage: str, stop: Callable[[str], None] = stop) -> None:
            seen.append(stage)
            stop(stage)

        try:
            killed.capture(targets, advance)
            break
        except Killed:
            assert (killed.folder / "pass").is_dir()
    assert len(seen) < 2 * len(count), "no stage ran more often than it was killed in"
    assert list(dict.fromkeys(seen)) == count
    assert files(killed) == files(whole), "and the pass is gone"


def test_reading_goes_on_clip_by_clip(micro: VGGT, data: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    images = CalibrationClips.images

    def reading(self: CalibrationClips, index: int) -> torch.Tensor:
        read.append(index)
        if len(read) == 3:
            raise Killed
        return images(self, index)

    monkeypatch.setattr(CalibrationClips, "images", reading)
    targets = target_linears(micro, "aa")
    with pytest.raises(Killed):
        data.capture(targets)
    data.capture(targets)
    assert read == [0, 1, 2, 0, 2, 3], "the first one again, for its shape"


def test_killed_while_the_states_are_kept(micro: VGGT, data: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Some clips are a stage behind the others."""
    targets = target_linears(micro, "aa+dino")
    whole = calibration(micro, data.clips, tmp_path / "whole")
    whole.capture(targets)
    written = list[Path]()

    def failing(path: Path, *arguments: object) -> None:
        written.append(path)
        if len(written) == 4 + 3 * 4 + 2:  # four clips begun, three stages, half of the fourth
            raise Killed
        save_tensors(path, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as context:
        context.setattr(resumption, "save_tensors", failing)
        with pytest.raises(Killed):
            data.capture(targets)
    data.capture(targets)
    assert files(data) == files(whole)


def test_a_kept_pass_that_is_past_what_is_asked_for_or_another_models_is_not_used(
    micro: VGGT, data: Calibration, tmp_path: Path
) -> None:
    later, earlier = target_linears(micro, "aa"), micro.linear_groups()["dino"]
    with pytest.raises(Killed):
        data.capture(later, kill_after(6))
    data.capture(earlier)
    assert all(data.holds(f"statistics/{name}") for name in earlier)
    keeper = PassKeeper(tmp_path / "pass", "one", torch.device("cpu"))
    state = micro.begin(data.clips.images(0)[None], dense=False)
    assert keeper.keep(["a"], {0: state})
    assert keeper.kept(0, state) is not None
    assert PassKeeper(tmp_path / "pass", "another", torch.device("cpu")).kept(0, state) is None


def test_a_short_pass_keeps_nothing(micro: VGGT, data: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "FIRST", 1e9)
    monkeypatch.setattr(resumption, "save_tensors", lambda *_: pytest.fail("kept"))
    data.capture(target_linears(micro, "aa"))
