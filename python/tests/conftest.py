"""What the tests share: the embedded model, and the same weights in mlx-lm."""

import os
from pathlib import Path

import pytest

import tern

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo" / "model"

# What the demo is asked; its answers are of no interest here, only that they are the same.
QUESTION = [{"role": "user", "content": "Solve: 17 * 23"}]


@pytest.fixture(scope="session")
def demo():
    return tern.load("demo", ctx=2048, threads=2)


@pytest.fixture(scope="session")
def model(demo):
    return demo[0]


@pytest.fixture(scope="session")
def tokenizer(demo):
    return demo[1]


@pytest.fixture(scope="session")
def prompt(tokenizer):
    return tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, enable_thinking=False)


@pytest.fixture(scope="session")
def mlx():
    """mlx-lm's model and tokenizer of the demo's folder, computing in float32."""
    try:
        import mlx.core as mx
        from mlx.utils import tree_flatten
        from mlx_lm import load
    except ImportError:
        if os.environ.get("TERN_REQUIRE_ORACLES"):
            raise
        pytest.skip("no mlx-lm")
    mlx_model, mlx_tokenizer = load(str(DEMO))
    floats = [(name, value.astype(mx.float32))
              for name, value in tree_flatten(mlx_model.parameters())
              if mx.issubdtype(value.dtype, mx.floating)]
    mlx_model.load_weights(floats, strict=False)
    return mlx_model, mlx_tokenizer
