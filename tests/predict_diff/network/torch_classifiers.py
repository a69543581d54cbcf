"""Tiny torch classifiers of the families that people use, for images (3, 32, 32) and five classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Self-attention of two heads over tokens (n, t, d)."""

    def __init__(self, width: int, fused: bool) -> None:
        super().__init__()
        self.fused, self.inputs, self.output = fused, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, width = x.shape
        q, k, v = self.inputs(x).reshape(n, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            heads = functional.scaled_dot_product_attention(q, k, v)
        else:
            heads = (torch.einsum("nhid,nhjd->nhij", q, k) / (width // 2) ** 0.5).softmax(-1) @ v
        return self.output(heads.transpose(1, 2).reshape(n, tokens, width))


class VisionTransformer(nn.Module):
    def __init__(self, fused: bool, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 17, width))
        self.attention, self.mlp = Attention(width, fused), _mlp(width, nn.GELU())
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.head = nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        x = x + self.attention(self.norms[0](x))
        x = x + self.mlp(self.norms[1](x))
        return self.head(self.norms[2](x)[:, 0])


class ChannelsLastBlock(nn.Module):
    """ConvNeXt's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.mlp = nn.LayerNorm(width), _mlp(width, nn.GELU("tanh"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Residual(nn.Module):
    def __init__(self, norm: Callable[[int], nn.Module], activation: nn.Module) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False), norm(8), activation, nn.Conv2d(8, 8, 3, padding=1), norm(8)
        )
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(x + self.path(x))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 12, 8, 8), nn.Linear(12, 5)
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(2))
        self.tokens, self.channels = _mlp(16, nn.GELU()), _mlp(12, nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.norms[1](x))).mean(1))


class SqueezeExcite(nn.Module):
    def __init__(self, activation: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), activation, nn.Conv2d(4, 8, 1), gate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


class Pyramid(nn.Module):
    """Features of two resolutions, brought together by interpolation."""

    def __init__(self, **interpolation: Any) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.head, self.interpolation = nn.Linear(6, 5), interpolation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.fine(x).relu()
        coarse = functional.interpolate(self.coarse(fine), size=fine.shape[2:], **self.interpolation)
        return self.head((fine * coarse).mean((2, 3)))


def _mlp(width: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 2 * width), activation, nn.Linear(2 * width, width))


def _stem(*layers: nn.Module) -> nn.Sequential:
    pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(8, 5)
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), *layers, *pooled)


CLASSIFIERS: dict[str, Callable[[], nn.Module]] = {
    "vision transformer": lambda: VisionTransformer(fused=False),
    "vision transformer, fused attention": lambda: VisionTransformer(fused=True),
    "ConvNeXt": lambda: _stem(ChannelsLastBlock(8)),
    "ResNet": lambda: _stem(Residual(nn.BatchNorm2d, nn.ReLU())),
    "ResNet with group normalisation": lambda: _stem(Residual(lambda width: nn.GroupNorm(4, width), nn.SiLU())),
    "ResNet with instance normalisation": lambda: _stem(
        Residual(lambda width: nn.InstanceNorm2d(width, affine=True), nn.Mish())
    ),
    "MLP-Mixer": Mixer,
    "EfficientNet": lambda: _stem(nn.BatchNorm2d(8), nn.SiLU(), SqueezeExcite(nn.SiLU(), nn.Sigmoid())),
    "MobileNetV3": lambda: _stem(nn.BatchNorm2d(8), nn.Hardswish(), SqueezeExcite(nn.ReLU(), nn.Hardsigmoid())),
    "pyramid, nearest": lambda: Pyramid(mode="nearest"),
    "pyramid, bilinear": lambda: Pyramid(mode="bilinear", align_corners=False),
    "pyramid, bicubic": lambda: Pyramid(mode="bicubic"),
}
