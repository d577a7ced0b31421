"""What a pi3 is trained for: points up to one scale, relative poses of all pairs, and how far points can be trusted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgq_bench.geometry import decode_pose, invert_rigid, relative_poses, unproject_depth
from fgq_bench.models.pi3 import Pi3, Pi3Config
from fgq_bench.models.training.batches import Batch
from fgq_bench.models.training.losses import relative_loss
from fgq_bench.models.training.objective import Objective
from fgq_bench.models.vggt import VGGT

POINT_WEIGHT, RELATIVE_WEIGHT, TRANSLATION_WEIGHT, CONFIDENCE_WEIGHT = 4.0, 1.0, 2.0, 0.1
TRUSTED = 0.05  # error of a point relative to its depth below which its confidence should be high


def local_targets(batch: Batch) -> tuple[Tensor, Tensor]:
    """Points in each camera's own frame [B, S, H, W, 3], and w2c extrinsics [B, S, 3, 4] in the same scale."""
    extrinsics, intrinsics = decode_pose(batch.pose_enc, (batch.images.shape[-2], batch.images.shape[-1]))
    own = torch.eye(3, 4, device=extrinsics.device).expand_as(extrinsics)
    return unproject_depth(batch.depth, own, intrinsics), extrinsics


def best_scale(points: Tensor, target: Tensor, stride: int = 3) -> Tensor:
    """The factor [B] that brings each sequence's points [B, S, H, W, 3] nearest to ``target``.

    Nearest in the loss itself, sum |s p - t| / depth, on every ``stride``-th pixel either way: the weighted median of
    t / p with weights |p| / depth. No gradient flows: at this very minimum there is none along the scale. (At any
    other, such as the plain median of the ratios or least squares, a fixed scale leaves a gradient that shrinks all
    points, and training diverged.)
    """
    p, t = (each.detach()[:, :, ::stride, ::stride].float() for each in (points, target))
    weights = (p.abs() / t[..., 2:]).flatten(1)
    ratios, order = (t / p).nan_to_num(0.0).flatten(1).sort(1)
    below = weights.gather(1, order).cumsum(1)
    middle = (below < below[:, -1:] / 2).sum(1, keepdim=True)
    return ratios.gather(1, middle)[:, 0]


class Pi3Objective(Objective[Pi3]):
    """Weighted losses of a pi3 (Wang et al., arXiv:2507.13347, section 3.3, without their normal loss)."""

    capturable = False  # the nearest rotation is an SVD, which waits for its own success

    def __init__(self, config: Pi3Config) -> None:
        super().__init__()

    def forward(self, model: Pi3, batch: Batch, frame: Tensor) -> dict[str, Tensor]:
        """See ``Objective``; confidence learns from the points' errors and teaches nothing but its own decoder."""
        state = model.run_stages(model.begin(batch.images))
        feature = model.feature(state)
        points = model.local_points(state, feature)
        confidence = model.confidence(state, feature.detach())
        with torch.autocast(feature.device.type, enabled=False):
            target, extrinsics = local_targets(batch)
            scale = best_scale(points, target)[:, None, None, None]
            error = (scale[..., None] * points - target).abs() / target[..., 2:]
            w2c = invert_rigid(model.c2w(state))
            ours = relative_poses(torch.cat([w2c[..., :3], scale * w2c[..., 3:]], -1))[..., 3]
            translation = F.smooth_l1_loss(ours, relative_poses(extrinsics)[..., 3], beta=0.1)
            trusted = (error.detach().sum(-1) < TRUSTED).float()
            return {
                "points": POINT_WEIGHT * error.mean(),
                "relative": RELATIVE_WEIGHT * relative_loss(w2c, extrinsics),
                "translation": TRANSLATION_WEIGHT * translation,
                "confidence": CONFIDENCE_WEIGHT * F.binary_cross_entropy_with_logits(confidence, trusted),
            }


@torch.no_grad()
def inherit(model: Pi3, parent: VGGT) -> None:
    """Give ``model`` the patch encoder, the alternating blocks and the special tokens of ``parent``.

    As in the official training, which starts from VGGT-1B (spec: pi3, decoder). The registers become those of VGGT's
    frames that are no reference; heads and expert decoders stay as they are.
    """
    trunk = parent.aggregator
    shared = {key: value for key, value in trunk.patch_embed.state_dict().items() if key != "mask_token"}
    model.encoder.load_state_dict(shared)
    for index in range(model.depth):
        for (_, ours), (_, theirs) in zip(model.level(index), trunk.level(index), strict=True):
            ours.load_state_dict(theirs.state_dict())
    model.register_token.copy_(torch.cat([trunk.camera_token, trunk.register_token], 2)[:, 1:])
