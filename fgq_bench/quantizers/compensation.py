"""QVGGT's compensation token: what camera tokens look like on average, shown to the camera head beside the frames' own.

As the paper writes it, principal directions take part: t = mu + U_K z_bar, z_bar the mean of the projections of
x - mu. Those are centred, so z_bar is 0 and t = mu for every K; the formula is kept, a test holds it to that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fgq_bench.calibration.calibration import Calibration
from fgq_bench.models.interface import TOKEN_TYPES, block_names

CAMERA, PATCH = TOKEN_TYPES.index("camera"), TOKEN_TYPES.index("patch")


def principal_token(tokens: Tensor, components: int) -> Tensor:
    """mu + U_K mean_i U_K^T (x_i - mu) [d] of camera tokens x_i [M, d] (QVGGT, section 3.3).

    Args:
        components: K, the number of principal directions; at most min(M, d) of them exist.
    """
    rows = tokens.double()
    mean = rows.mean(0)
    directions = torch.linalg.svd(rows - mean, full_matrices=False).Vh[:components]
    coordinates = (rows - mean) @ directions.T
    token: Tensor = mean + coordinates.mean(0) @ directions
    return token


def compensation_token(calibration: Calibration, components: int) -> Tensor:
    """The token t [1, 2C] in fp32: ``principal_token`` of the camera head's inputs, scaled to the mean norm of the
    patch tokens of the same level.
    """
    last = block_names(calibration.model.linear_groups()["aa"])[-2:]  # frame and global block of the last level
    squares: list[Tensor] = []
    camera: list[Tensor] = []
    for stage in calibration.stages():
        if stage.name in last:
            patches = stage.token_types == PATCH
            own = [out[:, patches].float().square().sum(-1).flatten() for out in stage.outputs]
            squares = [a + b for a, b in zip(squares, own, strict=True)] if squares else own
        if bool((stage.token_types == CAMERA).all()):
            camera = [x.flatten(0, 1) for x in stage.inputs]
    token = principal_token(torch.cat(camera), components)
    radius = torch.cat(squares).sqrt().mean()
    scaled: Tensor = token * (radius / token.norm())
    return scaled[None].float()
