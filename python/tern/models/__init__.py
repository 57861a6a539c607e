"""Where mlx_lm has its prompt caches: ``tern.models.cache``."""

from .. import cache

__all__ = ["cache"]
