"""Behind pi3's trunk: a decoder per expert, dense maps out of patch tokens, and a camera pose out of all patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgq_bench.models.layers import Block, Rotary

SMALLEST_SUM = 1e-3  # of singular values, as a divisor: bounds the gradient of a rotation that is about to flip


class ExpertDecoder(nn.Module):
    """Tokens [N, tokens, dim_in] of single frames to [N, tokens, out]: a projection, plain blocks, a projection.

    Its blocks have neither QK-norm nor LayerScale, and no norm stands before either projection.
    """

    def __init__(self, dim_in: int, dim: int, heads: int, depth: int, out: int) -> None:
        super().__init__()
        self.projects = nn.Linear(dim_in, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, eps=1e-6, layer_scale=None) for _ in range(depth))
        self.linear_out = nn.Linear(dim, out)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        """Map ``x``; ``rotary`` is that of one frame, for every block."""
        x = self.projects(x)
        for block in self.blocks:
            x = block(x, rotary)
        out: Tensor = self.linear_out(x)
        return out


class PixelHead(nn.Module):
    """Patch tokens [N, patches, dim] to maps [N, H, W, outputs]; a patch's features are ordered output, row, column."""

    def __init__(self, dim: int, outputs: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Linear(dim, outputs * patch * patch)

    def forward(self, x: Tensor, image_hw: tuple[int, int]) -> Tensor:
        """Maps for images of ``image_hw`` pixels."""
        grid = (image_hw[0] // self.patch, image_hw[1] // self.patch)
        features = self.proj(x).transpose(1, 2).unflatten(2, grid)
        return F.pixel_shuffle(features, self.patch).permute(0, 2, 3, 1)


class ResidualUnit(nn.Module):
    """x + relu(l3 relu(l2 relu(l1 x))): nothing is rectified behind the sum."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.res_conv1 = nn.Linear(dim, dim)
        self.res_conv2 = nn.Linear(dim, dim)
        self.res_conv3 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [..., dim] to the same shape."""
        h = x
        for layer in (self.res_conv1, self.res_conv2, self.res_conv3):
            h = F.relu(layer(h))
        return x + h


class PoseHead(nn.Module):
    """Patch tokens [N, patches, dim] to camera-to-world poses [N, 3, 4]: every patch has an equal say."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.res_conv = nn.Sequential(ResidualUnit(dim), ResidualUnit(dim))
        self.more_mlps = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
        self.fc_t = nn.Linear(dim, 3)
        self.fc_rot = nn.Linear(dim, 9)

    def forward(self, x: Tensor) -> Tensor:
        """Poses; their world is the model's own choice."""
        feature = self.more_mlps(self.res_conv(x).mean(1))
        rotation = nearest_rotation(F.normalize(self.fc_rot(feature).unflatten(-1, (3, 3)), dim=-1))
        return torch.cat([rotation, self.fc_t(feature)[..., None]], -1)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """Rotations [..., 3, 3] nearest to ``matrix`` [..., 3, 3]: U diag(1, 1, det(U V^T)) V^T.

    Its gradient is the closed form of the minimiser's, not that of the SVD, whose terms grow without bound as any two
    singular values meet (as they do where ``matrix`` is a rotation). With X = U^T dM V', V' = V diag(1, 1, det) and the
    signed singular values s it is dR = U ((X - X^T) / (s_i + s_j)) V'^T, singular only where a reflection is as near.
    """
    u, singular, vh = torch.linalg.svd(matrix.detach())
    flip = torch.cat([u.new_ones(*matrix.shape[:-2], 2), torch.linalg.det(u @ vh)[..., None]], -1)
    vh, singular = flip[..., None] * vh, flip * singular
    rotation: Tensor = u @ vh
    if not matrix.requires_grad:
        return rotation
    change = u.mT @ (matrix - matrix.detach()) @ vh.mT  # zero: it only carries the gradient
    sums = singular[..., :, None] + singular[..., None, :]
    rotation = rotation + u @ ((change - change.mT) / sums.clamp_min(SMALLEST_SUM)) @ vh
    return rotation
