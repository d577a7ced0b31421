"""The one thing every loader yields: a sequence of frames with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass
class Scene:
    """A sequence of S frames. Fields a data set does not have are None."""

    sequence: str
    category: str
    images: Tensor  # [S, 3, H, W] in [0, 1]
    extrinsics: Tensor | None  # [S, 3, 4] w2c, OpenCV axes, metres
    intrinsics: Tensor | None  # [S, 3, 3] pixels
    depth: Tensor | None  # [S, H, W] z-depth, metres; [S, h, w] where a protocol scores at the stored resolution
    mask: Tensor | None  # as depth, bool, True where it is valid

    def select(self, frames: list[int]) -> Scene:
        """Some frames, in that order."""

        def chosen(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[frames]

        return replace(
            self,
            images=self.images[frames],
            extrinsics=chosen(self.extrinsics),
            intrinsics=chosen(self.intrinsics),
            depth=chosen(self.depth),
            mask=chosen(self.mask),
        )

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take."""
        tensors = (self.images, self.extrinsics, self.intrinsics, self.depth, self.mask)
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)
