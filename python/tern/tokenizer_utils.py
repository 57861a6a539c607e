"""Where mlx_lm has them: the tokenizer's classes."""

from .tokenizer import StreamingDetokenizer, TokenizerWrapper

__all__ = ["StreamingDetokenizer", "TokenizerWrapper"]
