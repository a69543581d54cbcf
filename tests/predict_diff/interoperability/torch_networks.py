"""A small classifier in torch, and images for it."""

from __future__ import annotations

from typing import Any


def small_classifier(torch: Any, softmax: bool = False) -> Any:
    """Convolution, softplus, pooling, linear: 3 x 12 x 10 -> 4 scores, or probabilities. No kinks."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Conv2d(3, 5, 3, padding=1),
        torch.nn.Softplus(),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(5 * 6 * 5, 4),
    ]
    return torch.nn.Sequential(*layers, *([torch.nn.Softmax(dim=1)] if softmax else [])).eval()


def some_images(torch: Any, count: int = 3) -> Any:
    """(count, 3, 12, 10), float32."""
    return torch.randn(count, 3, 12, 10, generator=torch.Generator().manual_seed(1))
