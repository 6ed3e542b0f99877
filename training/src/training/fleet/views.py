"""Random views of a batch, made on the device that trains: geometry, what differs between sources, and lost shortcuts.

Sources differ in how they shrank, sharpened, compressed and framed their images; letters, borders and tubes tell the
view and the ward. What is random here can't be learned by heart.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Views:
    """How far a view may be from its image: degrees, shares of the edge, factors, and chances per image or chunk."""

    rotation: float = 10.0
    zoom: tuple[float, float] = (0.85, 1.3)
    stretch: float = 0.08
    shift: float = 0.08
    flip: float = 0.3
    contrast: tuple[float, float] = (0.75, 1.3)
    gamma: tuple[float, float] = (0.75, 1.35)
    brightness: float = 20.0
    noise: float = 5.0
    border: float = 0.3
    corner: float = 0.3
    patch: float = 0.5
    chunks: int = 8
    """A batch is cut into so many chunks that share a resampling kernel, a blur and a compression."""

    def __call__(self, pixels: Tensor, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """uint8 [N, 256, 256] -> float [N, size, size] in 0..255 on the same device, and where nothing of the patient
        is to be seen: 1.0 outside the image and where something was painted over it, else 0.0, the same shape."""
        images = pixels.float().unsqueeze(1)
        generator = torch.Generator(images.device).manual_seed(int(rng.integers(1 << 62)))
        parts = [self._source(part, rng.random(3)) for part in images.chunk(self.chunks)]
        images, blank = self._geometry(torch.cat(parts), size, generator)
        images, blank = self._frames(images, blank, generator)
        return self._levels(images, generator)[:, 0], blank[:, 0].float()

    def _source(self, images: Tensor, random: NDArray[np.float64]) -> Tensor:
        """Another source's resampling, sharpness and compression; one choice (three numbers 0..1) for the chunk."""
        edge = images.shape[-1]
        kind, small, strength = map(float, random)
        if kind < 0.6:
            mode = ("area", "bilinear", "bicubic")[int(kind * 5)]
            low = int(edge * (0.5 + 0.5 * small))
            images = _resized(_resized(images, low, mode), edge, "bilinear")
        elif kind < 0.75:
            blurred = _blur(images)
            images = images + (images - blurred) * (2 * strength) if small < 0.5 else blurred
        if strength < 0.35:
            images = compress(images.clamp(0, 255), 4 + 60 * small)
        return images.clamp(0, 255)

    def _geometry(self, images: Tensor, size: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        n = len(images)

        def between(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, generator=g, device=images.device)

        angle = between(-1, 1) * math.radians(self.rotation)
        zoom, stretch = between(*self.zoom), 1 + between(-self.stretch, self.stretch)
        mirror = torch.where(between(0, 1) < self.flip, -1.0, 1.0)
        slack = self.shift + (1 - 1 / zoom).clamp(min=0)  # a close-up may look anywhere: lateral crops
        across, up = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        rows = [
            torch.stack([across * stretch * mirror, -up, between(-1, 1) * slack], 1),
            torch.stack([up * stretch * mirror, across / stretch, between(-1, 1) * slack], 1),
        ]
        grid = functional.affine_grid(torch.stack(rows, 1), [n, 1, size, size], align_corners=False)
        outside = (grid.abs() > 1).any(3).unsqueeze(1)
        return functional.grid_sample(images, grid, align_corners=False), outside

    def _frames(self, images: Tensor, blank: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Borders of a random level, corners in which letters stand painted over (or painted), a patch taken out."""
        n, size = len(images), images.shape[-1]
        random = torch.rand(n, 18, 1, 1, 1, generator=g, device=images.device).unbind(1)
        at = (torch.arange(size, device=images.device) + 0.5) / size
        across, down = at.view(1, 1, 1, size), at.view(1, 1, size, 1)
        width, height = 0.1 * random[1], 0.1 * random[2]
        framed = (across < width) | (across > 1 - width) | (down < height) | (down > 1 - height)
        boxes = [(framed & (random[0] < self.border), 255 * random[3].square())]
        mean = images.mean((2, 3), keepdim=True)
        for i, x in enumerate((0.0, 1.0)):
            box = ((across - x).abs() < 0.05 + 0.2 * random[4 + i]) & (down < 0.03 + 0.12 * random[6 + i])
            level = torch.where(random[8 + i] < 0.5, 510 * random[8 + i], mean)
            boxes.append((box & (random[10 + i] < self.corner), level))
        patch = ((across - random[12]).abs() < 0.05 + 0.12 * random[13]) & (
            (down - random[14]).abs() < 0.05 + 0.12 * random[15]
        )
        boxes.append(
            (patch & (random[16] < self.patch), torch.where(random[17] < 0.5, mean, 510 * (random[17] - 0.5)))
        )
        for box, level in boxes:
            images, blank = torch.where(box, level, images), blank | box
        return images, blank

    def _levels(self, images: Tensor, g: torch.Generator) -> Tensor:
        random = torch.rand(len(images), 4, 1, 1, 1, generator=g, device=images.device).unbind(1)

        def between(low: float, high: float, i: int) -> Tensor:
            return low + (high - low) * random[i]

        level = images.mean((2, 3), keepdim=True)
        images = (images - level) * between(*self.contrast, 0) + level + between(-1, 1, 1) * self.brightness
        images = (images / 255).clamp(1e-4, 1) ** between(*self.gamma, 2) * 255
        noise = torch.randn(images.shape, generator=g, device=images.device)
        return (images + noise * self.noise * random[3].square()).clamp(0, 255)


def compress(images: Tensor, step: float) -> Tensor:
    """What JPEG loses: 8x8 cosine transform, coefficients rounded to steps that grow with the frequency (ITU T.81).

    float [N, 1, h, w] in 0..255 with edges that 8 divides -> the same shape.
    """
    n, _, height, width = images.shape
    k = torch.arange(8, device=images.device, dtype=torch.float32)
    turn = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    turn[0] /= math.sqrt(2)
    steps = step * (1 + k[:, None] + k[None]) / 8
    blocks = images.reshape(n, height // 8, 8, width // 8, 8).transpose(2, 3)
    kept = torch.round(turn @ (blocks - 128) @ turn.T / steps) * steps
    return (turn.T @ kept @ turn + 128).transpose(2, 3).reshape(images.shape)


def _resized(images: Tensor, edge: int, mode: str) -> Tensor:
    if mode == "area":
        return functional.interpolate(images, (edge, edge), mode="area")
    return functional.interpolate(images, (edge, edge), mode=mode, antialias=True, align_corners=False)


def _blur(images: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    square = (kernel[:, None] * kernel[None]).view(1, 1, 5, 5)
    return functional.conv2d(functional.pad(images, (2, 2, 2, 2), mode="reflect"), square)


def shrink(images: Tensor, size: int) -> Tensor:
    """As serving does it (OpenCV's INTER_AREA): uint8 [N, e, e] -> float [N, size, size], whole grey levels."""
    edge = images.shape[-1]
    if edge == size:
        return images.float()
    starts = torch.arange(size, device=images.device)[:, None] * edge / size
    pixels = torch.arange(edge, device=images.device)[None]
    covered = (torch.minimum(starts + edge / size, pixels + 1.0) - torch.maximum(starts, pixels + 0.0)).clamp(
        min=0
    )
    rows = covered * size / edge
    return (rows @ images.float() @ rows.T).round()
