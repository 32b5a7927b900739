"""Where downloaded, generated and measured data are kept."""

import os
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Return the cache directory: SCHUSS_CACHE_DIR where set, else the user's for Schuss; it need not exist yet."""
    from platformdirs import user_cache_path

    own = os.environ.get("SCHUSS_CACHE_DIR")
    return Path(own) if own else user_cache_path("schuss", appauthor=False)
