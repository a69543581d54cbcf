"""Multiply-adds of products that are not layers with weights."""

from __future__ import annotations

import pytest
from gradient_cases import network, normal

from predict_diff.network.inference import infer_types
from predict_diff.network.multiply_adds import multiply_adds


@pytest.mark.parametrize(
    ("body", "inputs", "count"),
    [
        ('Einsum<equation="nhid,nhjd->nhij">(x, x)', "float[N,2,5,3] x", 2 * 5 * 5 * 3),
        ('Einsum<equation="nij,jk->nik">(x, w)', "float[N,3,4] x", 3 * 4 * 6),
        ('Einsum<equation="...j,jk->...k">(x, w)', "float[N,3,4] x", None),
        ('Einsum<equation="nij,jk->nik">(x, w)', "float[N,M,4] x", None),
        ("Attention(x, x, x)", "float[N,2,5,3] x", 2 * 5 * 5 * (3 + 3)),
        ("Attention<q_num_heads=2, kv_num_heads=2>(x, x, x)", "float[N,5,6] x", None),
    ],
)
def test_counts_products_of_one_photo(body: str, inputs: str, count: int | None) -> None:
    model = network(f"y = {body}", inputs, weights={"w": normal(4, 6)}, opset=23)
    shapes = {name: known.shape for name, known in infer_types(model).items() if known.shape is not None}
    assert multiply_adds(model, shapes) == [count]
