"""π³ against the official modules' outputs, against the public checkpoint's manifest, and as a reconstruction model."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from samples import GOLDEN, MICRO_PI3
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, load_manifest
from fgq_bench.cards import DatasetCard, load_card
from fgq_bench.diagnostics import token_magnitudes, without_views
from fgq_bench.errors import UserError
from fgq_bench.fisher import estimate
from fgq_bench.geometry import decode_pose, relative_poses, transform_points
from fgq_bench.latency.cases import Arm, network_cases
from fgq_bench.latency.deployment import deployed, random_model
from fgq_bench.latency.harness import empty_result, run_case
from fgq_bench.latency.roofline import Peaks
from fgq_bench.latency.timing import Budget
from fgq_bench.latency.variants import BASELINE
from fgq_bench.loaders.base import open_dataset
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.checkpoints import load_model, model_hash, save_model
from fgq_bench.models.interface import TOKEN_TYPES, block_names, run_stage
from fgq_bench.models.pi3 import Pi3, Pi3Config
from fgq_bench.models.pi3_heads import nearest_rotation
from fgq_bench.models.pi3_outputs import Reconstruction, fitted_intrinsics
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.models.vggt import VGGT
from fgq_bench.models.vit import normalize_images
from fgq_bench.models.workload import linear_flops
from fgq_bench.result_kinds.latency import SUBJECTS

Golden = tuple[Pi3, dict[str, Tensor], dict[str, Tensor]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    """The model with the golden weights, the official values, and ours by the same names."""
    model = Pi3(MICRO_PI3).eval().requires_grad_(False)
    model.load_state_dict(load_file(GOLDEN / "pi3_tiny_weights.safetensors"))
    io, ours = load_file(GOLDEN / "pi3_tiny_io.safetensors"), {}
    watched = {"point_decoder": "point_hidden", "conf_decoder": "conf_hidden", "camera_head.fc_rot": "rot_raw"}
    for path, key in {**watched, "camera_head.fc_t": "trans_raw"}.items():
        model.get_submodule(path).register_forward_hook(lambda _m, _x, out, key=key: ours.update({key: out}))
    state = model.begin(io["images"])
    while (step := model.next_stage(state)) is not None:
        output = run_stage(step)
        ours[step.name.replace("decoder.", "decoder_")] = output
        state = model.advance(state, output)
    ours["encoder_tokens"] = model.encoder.finish(ours["encoder.blocks.1"])
    ours["camera_hidden"] = ours["camera_decoder"]
    own = model.reconstruct(state)
    ours |= {"points": own.points, "local_points": own.local_points, "conf": own.confidence[..., None]}
    ours["camera_poses"] = torch.cat([own.c2w, torch.tensor([0, 0, 0, 1.0]).expand(2, 3, 1, 4)], -2)
    return model, io, ours


@pytest.mark.parametrize(
    "key",
    [
        "encoder_tokens", "decoder_0", "decoder_1", "decoder_2", "decoder_3", "point_hidden", "conf_hidden",
        "camera_hidden", "rot_raw", "trans_raw", "local_points", "conf", "points", "camera_poses",
    ],
)  # fmt: skip
def test_matches_official(golden: Golden, key: str) -> None:
    _, io, ours = golden
    torch.testing.assert_close(ours[key], io[key], rtol=1e-5, atol=1e-5)


def test_stored_constants_are_those_that_images_are_normalised_with(golden: Golden) -> None:
    model, io, _ = golden
    stored = (io["images"] - model.get_buffer("image_mean")) / model.get_buffer("image_std")
    torch.testing.assert_close(normalize_images(io["images"]), stored)


def test_state_dict_is_that_of_the_public_checkpoint() -> None:
    with torch.device("meta"):
        ours = {key: "x".join(map(str, value.shape)) for key, value in Pi3(Pi3Config()).state_dict().items()}
    with open(GOLDEN / "pi3_state_dict.csv") as file:
        official = {row["key"]: row["shape"] for row in csv.DictReader(file)}
    assert len(official) == 1210
    assert ours == official


def test_linear_groups_follow_the_published_counts() -> None:
    with torch.device("meta"):
        model = Pi3(Pi3Config())
    groups = model.linear_groups()
    assert {name: len(linears) for name, linears in groups.items()} == {"aa": 144, "camera": 22, "dino": 96}
    sizes = [model.get_parameter(f"{name}.weight").numel() for name in groups["aa"]]
    assert sum(sizes) == 36 * 12 * 1024**2
    assert block_names(groups["aa"]) == [f"decoder.{index}" for index in range(36)]


def test_linears_cost_what_the_specification_says() -> None:
    """Per frame of 518 x 518: 0.83 TFLOP in the encoder, 1.25 in the decoder, a third of 0.54 in the camera's."""
    with torch.device("meta"):
        model = Pi3(Pi3Config())
    flops = linear_flops(model, 1, (518, 518))
    totals = {group: sum(flops[name] for name in names) / 1e12 for group, names in model.linear_groups().items()}
    assert totals == pytest.approx({"aa": 1.25, "camera": 0.54 / 3, "dino": 0.83}, rel=0.02)


def test_no_frame_is_special(golden: Golden) -> None:
    model, io, _ = golden
    order = torch.tensor([2, 0, 1])
    first, second = (model.run_stages(model.begin(images)) for images in (io["images"], io["images"][:, order]))
    a, b = model.reconstruct(first), model.reconstruct(second)
    for x, y in ((a.local_points, b.local_points), (a.confidence, b.confidence), (a.c2w, b.c2w)):
        torch.testing.assert_close(y, x[:, order], rtol=1e-4, atol=1e-5)
    ours, theirs = model.finish(first), model.finish(second)
    torch.testing.assert_close(theirs.depth, ours.depth[:, order], rtol=1e-4, atol=1e-5)
    poses = [decode_pose(pose_enc, (42, 56))[0] for pose_enc in (ours.pose_enc[:, order], theirs.pose_enc)]
    torch.testing.assert_close(relative_poses(poses[1]), relative_poses(poses[0]), rtol=1e-4, atol=1e-5)


def test_the_trained_model_has_no_favourite_frame() -> None:
    """Trained weights are no exception: reordered frames are the same reconstruction, each seen from its own camera."""
    model = load_model("pi3-tiny")
    scene = open_dataset(load_card(DatasetCard, "procedural-rooms"), limit=1).load("rooms-test-0000")
    order = [3, 1, 0, 2]
    a, b = model(scene.images[None]), model(scene.images[None, order])
    torch.testing.assert_close(b.depth, a.depth[:, order], rtol=1e-3, atol=1e-4)
    poses = [decode_pose(pose_enc, (84, 84))[0] for pose_enc in (a.pose_enc[:, order], b.pose_enc)]
    torch.testing.assert_close(relative_poses(poses[1]), relative_poses(poses[0]), rtol=1e-3, atol=1e-4)


def test_predictions_are_w2c_in_the_first_cameras_frame(golden: Golden) -> None:
    model, io, ours = golden
    out = model(io["images"])
    w2c, intrinsics = decode_pose(out.pose_enc, (42, 56))
    torch.testing.assert_close(w2c[:, 0], torch.eye(3, 4).expand(2, 3, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(transform_points(w2c, out.points), io["local_points"], rtol=1e-4, atol=1e-4)
    relative = torch.linalg.inv(io["camera_poses"]) @ io["camera_poses"][:, :1]
    torch.testing.assert_close(w2c, relative[..., :3, :], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(intrinsics, fitted_intrinsics(io["local_points"]), rtol=1e-4, atol=1e-4)
    assert torch.equal(out.depth, ours["local_points"][..., 2])
    assert torch.equal(out.points_conf, ours["conf"][..., 0].sigmoid())


def test_focal_lengths_of_a_pinhole_camera_are_found() -> None:
    depth = 1 + torch.rand(2, 28, 42)
    x = (torch.arange(42) + 0.5 - 21) / torch.tensor([30.0, 50.0])[:, None, None] * depth
    y = (torch.arange(28)[:, None] + 0.5 - 14) / torch.tensor([40.0, 60.0])[:, None, None] * depth
    found = fitted_intrinsics(torch.stack([x, y, depth], -1))
    expected = [[[30, 0, 21], [0, 40, 14], [0, 0, 1]], [[50, 0, 21], [0, 60, 14], [0, 0, 1]]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_fields_of_view_belong_to_the_points_and_not_to_the_camera() -> None:
    points, c2w = torch.rand(1, 2, 14, 14, 3, requires_grad=True), torch.eye(3, 4).expand(1, 2, 3, 4).clone()
    out = Reconstruction(points, torch.zeros(1, 2, 14, 14), c2w.requires_grad_()).predictions()
    found = torch.autograd.grad(out.pose_enc.square().sum(), [points, c2w], allow_unused=True)
    assert found[0] is None
    assert found[1] is not None and found[1].isfinite().all()


def test_stages_are_the_forward_pass(micro_pi3: Pi3) -> None:
    images = torch.rand(2, 3, 3, 42, 56)
    expected, names, states = micro_pi3(images), [], [micro_pi3.begin(images, dense=False)]
    while (step := micro_pi3.next_stage(states[-1])) is not None:
        names.append(step.name)
        kinds = [TOKEN_TYPES[index] for index in step.token_types.tolist()]
        frames = 3 if step.name in ("decoder.1", "decoder.3") else 1
        assert len(kinds) == step.x.shape[1]
        assert kinds.count("camera") == (step.name.startswith("encoder.")), "only the encoder has a class token"
        assert kinds.count("patch") == 12 * frames
        states.append(micro_pi3.advance(states[-1], run_stage(step)))
    blocks = [f"encoder.blocks.{index}" for index in range(2)] + [f"decoder.{index}" for index in range(4)]
    assert names == [*blocks, "camera_decoder"]
    for state in states:
        assert torch.equal(micro_pi3.resume(state).points, expected.points)


def test_wrong_image_size_is_named(micro_pi3: Pi3) -> None:
    with pytest.raises(ValueError, match="50x56 is not a multiple of the patch size 14"):
        micro_pi3(torch.rand(1, 2, 3, 50, 56))


@pytest.fixture
def on_clips(micro_pi3: Pi3, manifest: Path, tmp_path: Path) -> Calibration:
    """The random π³ on the test manifest."""
    return Calibration(micro_pi3, "hash", CalibrationClips(load_manifest(str(manifest)), {}), "float32", tmp_path)


def test_blocks_inside_the_camera_decoder_know_where_their_tokens_are(on_clips: Calibration) -> None:
    (stage,) = [stage for stage in on_clips.stages() if stage.name == "camera_decoder"]
    first, second = stage.blocks()
    assert second.name == "camera_decoder.blocks.1"
    for output, x in zip(first.outputs, second.inputs, strict=True):
        assert torch.equal(output, x)


def test_fisher_information_needs_no_camera_token(on_clips: Calibration) -> None:
    found = estimate(on_clips, ["decoder.0", "decoder.3"], "gauss-newton", 1, 0)
    assert found.isfinite().all()
    assert (found[:, :, TOKEN_TYPES.index("camera")] == 0).all()
    assert (found[:, :, TOKEN_TYPES.index("patch")].sum(-1) > 0).all(), "every task depends on every block"


def test_loads_by_the_path_of_every_model(micro_pi3: Pi3, micro: VGGT, tmp_path: Path) -> None:
    save_model(micro_pi3, tmp_path / "pi3.safetensors", torch.float32)
    save_model(micro, tmp_path / "vggt.safetensors", torch.float32)
    loaded, images = load_model("pi3", str(tmp_path / "pi3.safetensors")), torch.rand(1, 2, 3, 56, 42)
    assert isinstance(loaded, Pi3) and loaded.config == MICRO_PI3
    with evaluation_precision(loaded.device, "bfloat16"):
        expected, found = micro_pi3(images), loaded(images)
    for name in ("pose_enc", "depth", "points", "points_conf"):
        assert getattr(found, name).dtype == torch.float32, name
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    narrow = {name.partition(".")[0] for name, each in loaded.named_parameters() if each.dtype == torch.bfloat16}
    assert narrow == {"encoder", "decoder", "point_decoder", "conf_decoder", "camera_decoder"}
    assert model_hash(loaded) != model_hash(micro_pi3)
    for name, path in (("vggt-tiny", "pi3"), ("pi3", "vggt")):
        with pytest.raises(UserError, match=f"not a checkpoint of {name}: its configuration is another model's"):
            load_model(name, str(tmp_path / f"{path}.safetensors"))


def test_a_trackers_keys_are_not_this_models(micro_pi3: Pi3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({**Pi3(MICRO_PI3).state_dict(), "track_head.some.weight": torch.ones(3)}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"1 unknown keys \(first: track_head\.some\.weight\); .* shapes differ"):
        load_model("pi3", str(tmp_path / "model.pt"))


def test_latency_times_its_blocks_its_trunk_and_all_of_it() -> None:
    device = torch.device("cpu")
    model = deployed(random_model(MICRO_PI3, 0, device))
    assert model.get_parameter("register_token").dtype == torch.bfloat16
    assert model.get_parameter("camera_head.fc_t.weight").dtype == torch.float32
    parts = {}
    for case in network_cases(SUBJECTS, {BASELINE: Arm(model, {})}, [2], 56):
        result = run_case(case, empty_result(case, {}, {}, device), device, Budget(1, 1, 1e-3), Peaks(None, None, None))
        assert result.status == "ok", result.error
        parts[case.name if case.subject == "blocks" else case.subject] = set(result.metrics[BASELINE]["breakdown"])
    block = {"attention", "linears", "other"}
    assert parts == {"frame-2x56": block, "global-2x56": block, "aggregator": block, "model": {*block, "heads"}}


def test_diagnostics_look_into_it(micro_pi3: Pi3) -> None:
    images = torch.rand(3, 3, 56, 56)
    rows = token_magnitudes(micro_pi3, [Scene("scene", "none", images, None, None, None, None)])
    assert [(row["block"], row["token"]) for row in rows[:4]] == [
        ("F0", "register"), ("F0", "patch"), ("G0", "register"), ("G0", "patch"),
    ]  # fmt: skip
    changed = torch.cat([images[:2], torch.rand(1, 3, 56, 56)])
    networks = (micro_pi3, without_views(micro_pi3, (56, 56)))
    same = [torch.equal(net(images[None]).depth[:, 0], net(changed[None]).depth[:, 0]) for net in networks]
    assert same == [False, True]


def test_gradient_of_the_nearest_rotation_is_that_of_the_minimiser() -> None:
    """Against finite differences, with both signs of the determinant; finite where the SVD's own gradient is not."""
    torch.manual_seed(0)
    for sign in (1.0, -1.0):
        matrix = torch.randn(5, 3, 3, dtype=torch.double)
        matrix = matrix * (sign * torch.linalg.det(matrix).sign())[:, None, None]
        weight = torch.randn(3, 3, dtype=torch.double)
        ours = torch.func.grad(lambda x, w=weight: (nearest_rotation(x) * w).sum())(matrix)
        for index in range(9):
            step = torch.zeros(3, 3, dtype=torch.double)
            step.view(-1)[index] = 1e-6
            high, low = (((nearest_rotation(matrix + s * step)) * weight).sum((-1, -2)) for s in (1, -1))
            torch.testing.assert_close(ours.flatten(1)[:, index], (high - low) / 2e-6, rtol=1e-4, atol=1e-5)
    rotation = torch.eye(3, requires_grad=True)
    (nearest_rotation(rotation) * torch.randn(3, 3)).sum().backward()
    assert rotation.grad is not None and rotation.grad.isfinite().all()
