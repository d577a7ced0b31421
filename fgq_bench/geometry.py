"""Camera geometry: rotations, rigid motions, VGGT's pose encoding, unprojection.

Conventions: extrinsics are world-to-camera (w2c) with OpenCV axes (x right, y down, z forward) unless a name
says ``c2w``; intrinsics are in pixels; quaternions are ``xyzw``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] (xyzw), which need not have unit norm."""
    x, y, z, w = quaternion.unbind(-1)
    two = 2.0 / quaternion.square().sum(-1)
    rows = [
        1 - two * (y * y + z * z), two * (x * y - z * w), two * (x * z + y * w),
        two * (x * y + z * w), 1 - two * (x * x + z * z), two * (y * z - x * w),
        two * (x * z - y * w), two * (y * z + x * w), 1 - two * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(*quaternion.shape[:-1], 3, 3)


def matrix_to_quaternion(rotation: Tensor) -> Tensor:
    """Unit quaternions [..., 4] (xyzw, w >= 0) of rotation matrices [..., 3, 3].

    The four squared components are read off the diagonal; the largest one is the safe divisor for the others.
    """
    r = rotation
    r00, r11, r22 = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    squares = torch.stack([1 + r00 - r11 - r22, 1 - r00 + r11 - r22, 1 - r00 - r11 + r22, 1 + r00 + r11 + r22], -1)
    sx, sy, sz = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    pxy, pxz, pyz = r[..., 0, 1] + r[..., 1, 0], r[..., 0, 2] + r[..., 2, 0], r[..., 1, 2] + r[..., 2, 1]
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], pxy, pxz, sx], -1),
            torch.stack([pxy, squares[..., 1], pyz, sy], -1),
            torch.stack([pxz, pyz, squares[..., 2], sz], -1),
            torch.stack([sx, sy, sz, squares[..., 3]], -1),
        ],
        -2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = torch.nn.functional.normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def invert_rigid(pose: Tensor) -> Tensor:
    """Inverse [..., 3, 4] of rigid motions [..., 3, 4]: w2c from c2w and back."""
    rotation = pose[..., :3].transpose(-1, -2)
    return torch.cat([rotation, -rotation @ pose[..., 3:]], -1)


def compose_rigid(left: Tensor, right: Tensor) -> Tensor:
    """``left`` after ``right`` for rigid motions [..., 3, 4]."""
    rotation = left[..., :3] @ right[..., :3]
    return torch.cat([rotation, left[..., :3] @ right[..., 3:] + left[..., 3:]], -1)


def camera_centers(extrinsics: Tensor) -> Tensor:
    """Camera centres [..., 3] in the world, of w2c extrinsics [..., 3, 4]."""
    return invert_rigid(extrinsics)[..., 3]


def relative_poses(extrinsics: Tensor) -> Tensor:
    """Relative poses E_i E_j^-1 [..., pairs, 3, 4] of w2c extrinsics [..., S, 3, 4], for i < j in row order."""
    count = extrinsics.shape[-3]
    first, second = torch.triu_indices(count, count, 1, device=extrinsics.device)
    left, right = extrinsics[..., first, :, :], extrinsics[..., second, :, :]
    return compose_rigid(left, invert_rigid(right))


def first_camera_motions(extrinsics: Tensor) -> Tensor:
    """E_i^-1 E_j [..., pairs, 3, 4] of w2c extrinsics [..., S, 3, 4] with the first camera as the world, for i < j."""
    aligned = compose_rigid(extrinsics, invert_rigid(extrinsics[..., :1, :, :]).expand_as(extrinsics))
    return relative_poses(invert_rigid(aligned))


def encode_pose(extrinsics: Tensor, intrinsics: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """VGGT's pose encoding [..., 9]: translation 3, quaternion xyzw 4, vertical and horizontal field of view (rad).

    Args:
        extrinsics: w2c [..., 3, 4].
        intrinsics: pixels [..., 3, 3].
        image_hw: image height and width in pixels.
    """
    height, width = image_hw
    fov_h = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    fov_w = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    quaternion = matrix_to_quaternion(extrinsics[..., :3])
    return torch.cat([extrinsics[..., 3], quaternion, fov_h[..., None], fov_w[..., None]], -1)


def decode_pose(pose_enc: Tensor, image_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """w2c extrinsics [..., 3, 4] and pixel intrinsics [..., 3, 3] of VGGT's pose encoding [..., 9].

    The principal point is the image centre; focal lengths follow from the fields of view.
    """
    height, width = image_hw
    rotation = quaternion_to_matrix(pose_enc[..., 3:7])
    extrinsics = torch.cat([rotation, pose_enc[..., :3, None]], -1)
    intrinsics = pose_enc.new_zeros(*pose_enc.shape[:-1], 3, 3)
    intrinsics[..., 0, 0] = width / 2 / torch.tan(pose_enc[..., 8] / 2)
    intrinsics[..., 1, 1] = height / 2 / torch.tan(pose_enc[..., 7] / 2)
    intrinsics[..., 0, 2] = width / 2
    intrinsics[..., 1, 2] = height / 2
    intrinsics[..., 2, 2] = 1
    return extrinsics, intrinsics


def unproject_depth(depth: Tensor, extrinsics: Tensor, intrinsics: Tensor) -> Tensor:
    """World points [..., H, W, 3] of depth maps [..., H, W] (z-depth), seen by w2c cameras; pixel centres at +0.5."""
    height, width = depth.shape[-2:]
    rows = torch.arange(height, dtype=depth.dtype, device=depth.device) + 0.5
    columns = torch.arange(width, dtype=depth.dtype, device=depth.device) + 0.5
    focal_x, focal_y = intrinsics[..., 0, 0, None, None], intrinsics[..., 1, 1, None, None]
    center_x, center_y = intrinsics[..., 0, 2, None, None], intrinsics[..., 1, 2, None, None]
    x = (columns[None, :] - center_x) / focal_x * depth
    y = (rows[:, None] - center_y) / focal_y * depth
    local = torch.stack([x, y, depth], -1)
    return transform_points(invert_rigid(extrinsics), local)


def transform_points(pose: Tensor, points: Tensor) -> Tensor:
    """Apply rigid motions [..., 3, 4] to points [..., H, W, 3]."""
    rotation, translation = pose[..., None, :, :3], pose[..., None, None, :, 3]
    return points @ rotation.transpose(-1, -2) + translation
