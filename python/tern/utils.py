"""Where mlx_lm has it: ``tern.utils.load``."""

from .model import load

__all__ = ["load"]
