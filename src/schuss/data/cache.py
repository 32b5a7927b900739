"""Where downloaded and generated data are kept."""

from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Return the user's cache directory for Schuss; it need not exist yet."""
    from platformdirs import user_cache_path

    return user_cache_path("schuss", appauthor=False)
