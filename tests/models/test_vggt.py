"""VGGT against the official modules' outputs, and against the public checkpoint's manifest."""

from __future__ import annotations

import csv

import pytest
import torch
from safetensors.torch import load_file
from samples import GOLDEN, MICRO
from torch import Tensor

from fgq_bench.geometry import decode_pose
from fgq_bench.models.predictions import Predictions
from fgq_bench.models.vggt import VGGT, VGGTConfig


@pytest.fixture(scope="module")
def golden() -> tuple[VGGT, dict[str, Tensor], Predictions]:
    model = VGGT(MICRO).eval().requires_grad_(False)
    model.load_state_dict(load_file(GOLDEN / "vggt_tiny_weights.safetensors"))
    io = load_file(GOLDEN / "vggt_tiny_io.safetensors")
    return model, io, model(io["images"])


@pytest.mark.parametrize("level", range(4))
def test_token_level_matches_official(golden: tuple[VGGT, dict[str, Tensor], Predictions], level: int) -> None:
    model, io, _ = golden
    tokens = model.aggregator(io["images"], (level,))[level]
    torch.testing.assert_close(tokens, io[f"tokens_{level}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("iteration", range(4))
def test_pose_iteration_matches_official(golden: tuple[VGGT, dict[str, Tensor], Predictions], iteration: int) -> None:
    _, io, out = golden
    torch.testing.assert_close(
        out.pose_enc_iterations[iteration], io[f"pose_enc_iter{iteration}"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "key", "rtol"),
    [
        ("pose_enc", "pose_enc", 1e-4),
        ("depth", "depth", 1e-4),
        ("depth_conf", "depth_conf", 1e-4),
        ("points", "world_points", 1e-3),
        ("points_conf", "world_points_conf", 1e-4),
    ],
)
def test_output_matches_official(
    golden: tuple[VGGT, dict[str, Tensor], Predictions], name: str, key: str, rtol: float
) -> None:
    _, io, out = golden
    ours = getattr(out, name)
    torch.testing.assert_close(ours, io[key].reshape(ours.shape), rtol=rtol, atol=1e-5)


def test_cameras_match_official(golden: tuple[VGGT, dict[str, Tensor], Predictions]) -> None:
    _, io, out = golden
    extrinsics, intrinsics = decode_pose(out.pose_enc, (42, 56))
    torch.testing.assert_close(extrinsics, io["extrinsics"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(intrinsics, io["intrinsics"], rtol=1e-4, atol=1e-4)


def test_state_dict_is_that_of_vggt_1b() -> None:
    with torch.device("meta"):
        ours = {key: "x".join(map(str, value.shape)) for key, value in VGGT(VGGTConfig()).state_dict().items()}
    with open(GOLDEN / "vggt1b_state_dict.csv") as file:
        official = {row["key"]: row["shape"] for row in csv.DictReader(file)}
    kept = {key: shape for key, shape in official.items() if not key.startswith("track_head.")}
    assert len(official) == 1797
    assert ours == kept


def test_unneeded_levels_are_not_stored(micro: VGGT) -> None:
    levels = micro.aggregator(torch.rand(1, 2, 3, 56, 56), (1, 3))
    assert set(levels) == {1, 3}


def test_wrong_image_size_is_named(micro: VGGT) -> None:
    with pytest.raises(ValueError, match="50x56 is not a multiple of the patch size 14"):
        micro(torch.rand(1, 2, 3, 50, 56))


def test_linear_groups_follow_the_published_counts() -> None:
    with torch.device("meta"):
        groups = VGGT(VGGTConfig()).linear_groups()
    assert {name: len(linears) for name, linears in groups.items()} == {"aa": 192, "camera": 18, "dino": 96}
    assert groups["aa"][:5] == [
        "aggregator.frame_blocks.0.attn.qkv",
        "aggregator.frame_blocks.0.attn.proj",
        "aggregator.frame_blocks.0.mlp.fc1",
        "aggregator.frame_blocks.0.mlp.fc2",
        "aggregator.global_blocks.0.attn.qkv",
    ]
