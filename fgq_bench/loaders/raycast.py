"""Analytic ray casting of procedural scenes: exact depth and 8-bit images, batched, on any device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from fgq_bench.environment import cpp_compiler
from fgq_bench.loaders.procedural_scene import BOXES, COLOURS, ENTITIES, SceneArrays

_log = logging.getLogger(__name__)
_FAR = 1e6
AMBIENT = 0.55


def _hash(i: Tensor, j: Tensor, seed: Tensor) -> Tensor:
    """Integer hash of tile coordinates, in [0, 2^31); int64 inside so that nothing overflows."""
    value = (i * 73856093) ^ (j * 19349663) ^ (seed * 83492791)
    for factor in (1274126177, 1911520717):
        value = value & 0x7FFFFFFF
        value = ((value ^ (value >> 15)) * factor) & 0x7FFFFFFF
    return value ^ (value >> 16)


def _box_span(origin: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Entry and exit distance of rays [..., 3] through an axis-aligned box of half sizes [..., 3] at the origin."""
    safe = torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    near, far = (-half - origin) / safe, (half - origin) / safe
    return torch.minimum(near, far).amax(-1), torch.maximum(near, far).amin(-1)


def _to_local(vector: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate [..., 3] by minus yaw about z."""
    x, y, z = vector.unbind(-1)
    return torch.stack([cosine * x + sine * y, cosine * y - sine * x, z], -1)


def _distances(origin: Tensor, rays: Tensor, centre: Tensor, half: Tensor, yaw: Tensor) -> Tensor:
    """Distance [B, S, N, ENTITIES] along ``rays`` [B, S, N, 3] to each entity; ``_FAR`` where it is missed."""
    distances = []
    for index in range(ENTITIES):
        c, h = centre[:, None, None, index], half[:, None, None, index]
        cosine, sine = yaw[:, None, None, index].cos(), yaw[:, None, None, index].sin()
        offset = origin[:, :, None] - c
        if index <= BOXES:
            near, far = _box_span(_to_local(offset, cosine, sine), _to_local(rays, cosine, sine), h)
            if index == 0:
                distances.append(far)
                continue
            hit, t = (near < far) & (near > 1e-3), near
        else:
            a, b = rays.square().sum(-1), (offset * rays).sum(-1)
            root = b.square() - a * (offset.square().sum(-1) - h[..., 0].square())
            t = (-b - root.clamp(min=0).sqrt()) / a
            hit = (root > 0) & (t > 1e-3)
        distances.append(torch.where(hit, t, torch.full_like(t, _FAR)))
    return torch.stack(distances, -1)


def _shade(
    local: Tensor, half: Tensor, entity: Tensor, tile: Tensor, seed: Tensor, light: Tensor
) -> tuple[Tensor, ...]:
    """Face [..], colour index [..] and brightness [..] of hit points in entity coordinates."""
    scaled = local / half
    axis = scaled.abs().argmax(-1)
    onehot = torch.nn.functional.one_hot(axis, 3).to(local.dtype)
    positive = (scaled * onehot).sum(-1) > 0
    face = 2 * axis + positive.long()
    u = torch.where(axis == 0, local[..., 1], local[..., 0])
    v = torch.where(axis == 2, local[..., 1], local[..., 2])
    cells = [torch.floor(coordinate / tile).long() for coordinate in (u, v)]
    colour = _hash(cells[0] + 64, cells[1] + 64, seed * 8 + face) % COLOURS
    flat = onehot * torch.where(positive, 1.0, -1.0)[..., None]
    normal = torch.where((entity > BOXES)[..., None], scaled / scaled.norm(dim=-1, keepdim=True), flat)
    normal = torch.where((entity == 0)[..., None], -normal, normal)
    brightness = AMBIENT + (1 - AMBIENT) * (normal * light).sum(-1).clamp(min=0)
    return face, colour, brightness


def _cast(
    rays: Tensor, origin: Tensor, centre: Tensor, half: Tensor, yaw: Tensor, tile: Tensor, palette: Tensor, seed: Tensor,
    light: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """8-bit colours [B, S, N, 3] and ray parameters [B, S, N] (z-depth, as rays have unit z in the camera)."""
    t, entity = _distances(origin, rays, centre, half, yaw).min(-1)
    batch = torch.arange(rays.shape[0], device=rays.device)[:, None, None]
    hit = origin[:, :, None] + t[..., None] * rays
    cosine, sine = yaw.cos()[batch, entity], yaw.sin()[batch, entity]
    local = _to_local(hit - centre[batch, entity], cosine, sine)
    light_local = _to_local(light[:, None, None].expand_as(hit), cosine, sine)
    face, colour, brightness = _shade(
        local, half[batch, entity], entity, tile[batch, entity], seed[batch, entity], light_local
    )
    rgb = palette[batch, entity, face, colour] * brightness[..., None]
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8), t


@cache
def compiled(function: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """``torch.compile`` of ``function`` where a C++ compiler exists; otherwise itself, with a notice."""
    if cpp_compiler() is not None:
        return torch.compile(function, dynamic=False)
    _log.warning("no C++ compiler found: rendering runs eagerly, 5-10x slower (install g++)")
    return function


def intrinsics_from_fov(fov: Tensor, size: int) -> Tensor:
    """Pixel intrinsics [..., 3, 3] of square images with horizontal field of view ``fov`` [...] (rad)."""
    focal = size / 2 / torch.tan(fov / 2)
    matrix = torch.zeros(*fov.shape, 3, 3, dtype=fov.dtype, device=fov.device)
    matrix[..., 0, 0] = matrix[..., 1, 1] = focal
    matrix[..., 0, 2] = matrix[..., 1, 2] = size / 2
    matrix[..., 2, 2] = 1
    return matrix


def render(
    scenes: SceneArrays,  # stacked: B scenes with S cameras
    size: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    compile: bool = True,
) -> tuple[Tensor, Tensor]:
    """Render B stacked scenes.

    In float64 (the data sets) texture edges fall on the same pixel on every machine; training uses float32.

    Returns:
        images [B, S, 3, size, size] uint8 and z-depth [B, S, size, size] in metres.
    """

    def tensor(values: object) -> Tensor:
        return torch.as_tensor(values, dtype=dtype, device=device)

    extrinsics = tensor(scenes.extrinsics)
    rotation = extrinsics[..., :3]
    origin = -(rotation.transpose(-1, -2) @ extrinsics[..., 3:])[..., 0]
    focal = size / 2 / torch.tan(tensor(scenes.fov) / 2)
    pixel = (torch.arange(size, dtype=dtype, device=device) + 0.5 - size / 2) / focal[:, None]  # [B, size]
    x, y = pixel[:, None, :].expand(-1, size, -1), pixel[:, :, None].expand(-1, -1, size)
    rays = torch.stack([x, y, torch.ones_like(x)], -1).flatten(1, 2)[:, None] @ rotation
    cast = compiled(_cast) if compile else _cast
    rgb, depth = cast(
        rays.contiguous(), origin, tensor(scenes.centre), tensor(scenes.half), tensor(scenes.yaw), tensor(scenes.tile),
        tensor(scenes.palette), torch.as_tensor(scenes.seed, device=device), tensor(scenes.light),
    )  # fmt: skip
    batch, frames = depth.shape[:2]
    images = rgb.permute(0, 1, 3, 2).reshape(batch, frames, 3, size, size)
    return images, depth.view(batch, frames, size, size)
