"""Dense methods against the papers' equations, written once more in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from aczerots.backbones.dense import METHODS, LastBlock, dense_tokens

WIDTH, HEADS, N = 12, 3, 5
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def parts() -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = {name: nn.Linear(WIDTH, WIDTH) for name in ("q", "k", "v", "out")}
        feed = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 20), nn.GELU(), nn.Linear(20, WIDTH))
        norm = nn.LayerNorm(WIDTH)
        for parameter in norm.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        return {**names, "norm": norm, "feed_forward": feed}


def linear(module: nn.Module, x: Array) -> Array:
    return x @ module.weight.detach().double().numpy().T + module.bias.detach().double().numpy()


def norm(module: nn.Module, x: Array) -> Array:
    z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return z * module.weight.detach().double().numpy() + module.bias.detach().double().numpy()


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_hand(method: str, states: list[Array], parts: dict[str, nn.Module]) -> Array:
    """One image [n, width]."""
    if method == "layers":
        return np.sum(states[1:], axis=0)
    x = states[-2]
    z = norm(parts["norm"], x)
    q, k, v = (linear(parts[name], z) for name in "qkv")
    if method == "value":
        return linear(parts["out"], v)
    dh = WIDTH // HEADS
    gathered = []
    for h in range(HEADS):
        head = slice(h * dh, (h + 1) * dh)
        a = softmax(q[:, head] @ q[:, head].T / np.sqrt(dh))
        if method == "qq+kk":
            a = a + softmax(k[:, head] @ k[:, head].T / np.sqrt(dh))
        gathered.append(a @ v[:, head])
    out = linear(parts["out"], np.concatenate(gathered, axis=1))
    if method == "qq":
        return out
    y = x + out
    ffn = parts["feed_forward"]
    hidden = torch.from_numpy(linear(ffn[1], norm(ffn[0], y)))
    return y + linear(ffn[3], nn.functional.gelu(hidden).numpy())


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_method_is_that_of_its_paper(method, parts):
    states = [torch.randn(2, N, WIDTH, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    found = dense_tokens(method, states, LastBlock(heads=HEADS, **parts))
    for i in range(2):
        expected = by_hand(method, [s[i].double().numpy() for s in states], parts)
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-5)


@torch.no_grad()
def test_one_token_leaves_only_the_value(parts):
    """With nothing else to attend to, every attention is the value: once for qq, twice for qq+kk."""
    states = [torch.randn(1, 1, WIDTH, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    block = LastBlock(heads=HEADS, **parts)
    value = dense_tokens("value", states, block)
    torch.testing.assert_close(dense_tokens("qq", states, block), value, atol=1e-6, rtol=1e-5)
    bias = parts["out"].bias
    y = states[-2] + 2 * (value - bias) + bias
    expected = y + parts["feed_forward"](y)
    torch.testing.assert_close(dense_tokens("qq+kk", states, block), expected, atol=1e-5, rtol=1e-5)
