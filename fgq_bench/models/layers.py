"""Transformer block shared by every network: attention with optional QK-norm and 2-D RoPE, MLP, LayerScale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Rotary = tuple[Tensor, Tensor]  # cos and sin, [tokens, head_dim] each


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in fp32, or as it is in float64."""
    return x if x.dtype == torch.float64 else x.float()


class LayerScale(nn.Module):
    """Learned per-channel factor on a residual branch."""

    def __init__(self, dim: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` [..., dim]."""
        return x * self.gamma


class Mlp(nn.Module):
    """fc1, GELU (erf), fc2."""

    def __init__(self, dim: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, out or dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [..., dim] to [..., out]."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


def rotary_2d(rows: Tensor, columns: Tensor, head_dim: int, base: float = 100.0) -> Rotary:
    """Tables for 2-D RoPE: the first half of the head rotates with the row, the second with the column.

    Args:
        rows, columns: integer positions [tokens]; special tokens sit at (0, 0), patches start at 1.
        head_dim: channels per head, a multiple of 4.
        base: frequency base (VGGT and pi3: 100).
    """
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, device=rows.device, dtype=torch.float32) / half
    frequencies = base**-exponents
    angles = [position[:, None].float() * frequencies for position in (rows, columns)]
    table = torch.cat([angle.repeat(1, 2) for angle in angles], -1)
    return table.cos(), table.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Apply 2-D RoPE to ``x`` [B, heads, tokens, head_dim] with rotate-half pairing inside each half."""
    cos, sin = (table.to(x.dtype) for table in rotary)
    a, b, c, d = x.chunk(4, -1)
    return x * cos + torch.cat([-b, a, -d, c], -1) * sin


class Attention(nn.Module):
    """Multi-head self-attention with a fused qkv projection."""

    def __init__(self, dim: int, heads: int, qk_norm: bool, qk_norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // heads, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // heads, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotary: Rotary | None = None) -> Tensor:
        """Attend over the tokens of ``x`` [B, tokens, dim]."""
        projected: Tensor = self.proj(self.attend(self.qkv(x), rotary))
        return projected

    def attend(self, qkv: Tensor, rotary: Rotary | None) -> Tensor:
        """Attention outputs, heads side by side [B, tokens, dim], of projected ``qkv`` [B, tokens, 3 * dim]."""
        batch, tokens, width = qkv.shape
        dim = width // 3
        q, k, v = qkv.view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        out = F.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).reshape(batch, tokens, dim)


class Block(nn.Module):
    """Pre-norm transformer block: x + ls1(attn(norm1 x)), then x + ls2(mlp(norm2 x)).

    ``layer_scale`` is the initial value of ls1 and ls2; None leaves them out.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        eps: float,
        qk_norm: bool = False,
        layer_scale: float | None = 0.01,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()

        def scale() -> nn.Module:
            return nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, qk_norm)
        self.ls1 = scale()
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio * dim)
        self.ls2 = scale()

    def forward(self, x: Tensor, rotary: Rotary | None = None) -> Tensor:
        """Map tokens ``x`` [B, tokens, dim] to the same shape."""
        x = x + self.ls1(self.attn(self.norm1(x), rotary))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out
