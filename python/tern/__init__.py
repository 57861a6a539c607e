"""tern: run models of the Nemotron-3-Nano-Omni family, in the shape of mlx_lm.

    from tern import load, generate

    model, tokenizer = load("demo")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Solve: 17 * 23"}], add_generation_prompt=True)
    text = generate(model, tokenizer, prompt=prompt, max_tokens=512)

docs/python.md says what is the same as in mlx_lm and what is not.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

from . import cache, errors, models, sample_utils
from .batch import BatchResponse, BatchStats, batch_generate
from .errors import TernError
from .generate import GenerationResponse, generate, generate_step, stream_generate
from .model import Model, load
from .tokenizer import TokenizerWrapper

try:
    __version__ = _version("tern")
except PackageNotFoundError:  # imported from a build tree
    __version__ = "0.0.0"

__all__ = [
    "BatchResponse",
    "BatchStats",
    "GenerationResponse",
    "Model",
    "TernError",
    "TokenizerWrapper",
    "__version__",
    "batch_generate",
    "cache",
    "errors",
    "generate",
    "generate_step",
    "load",
    "models",
    "sample_utils",
    "stream_generate",
]
