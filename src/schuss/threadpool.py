"""Schuss's threads under threadpoolctl, beside those of BLAS and OpenMP.

`with threadpool_limits(limits=1): model.fit(X, y)` trains on one thread, and `threadpool_info()` lists "schuss". The
limit is the process's, and an upper bound: within it, the plan decides.
"""

from __future__ import annotations

from functools import cache

import threadpoolctl

__all__ = ["ThreadController", "register"]


class _Unlimited(int):
    """Threads where no limit is set. Given back as a limit, as threadpoolctl does at the end of a block, it lifts
    the limit instead of freezing what was the default before."""


class ThreadController(threadpoolctl.LibController):
    """How threadpoolctl finds the native core among the loaded libraries, and sets its limit."""

    user_api = "schuss"
    internal_api = "schuss"
    filename_prefixes = ("_core.",)  # other packages have a library of that name, too: the symbols decide
    check_symbols = ("schuss_get_num_threads", "schuss_set_num_threads")

    def get_num_threads(self) -> int | None:
        """The limit; where none is set, the number of threads that are used by default."""
        if not self._is_ours():
            return None
        from . import _core
        from .plan import allowed_threads

        if limit := _core.thread_limit():
            return limit
        try:
            return _Unlimited(allowed_threads())
        except ValueError:  # OMP_NUM_THREADS is no number: a training says so, a list of libraries goes on
            return _Unlimited(self.dynlib.schuss_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        """Limit the threads of trainings and predictions that begin from now on.

        Raises
        ------
        ValueError
            If the number is below 1.
        """
        if num_threads < 1:
            raise ValueError(f"the limit of Schuss's threads must be at least 1, got {num_threads!r}")
        limit = 0 if isinstance(num_threads, _Unlimited) else int(num_threads)
        self.dynlib.schuss_set_num_threads(limit)

    def get_version(self) -> str | None:
        """Version of the package; None for another's library."""
        if not self._is_ours():
            return None
        from . import __version__

        return __version__

    def set_additional_attributes(self) -> None:
        """Name the instruction set of the kernels, as `architecture`, as the BLAS libraries do."""
        if not self._is_ours():
            return
        from .engine import chosen_isa
        from .errors import PlanError

        self.architecture: str | None
        try:
            self.architecture = chosen_isa()
        except PlanError:  # SCHUSS_ISA names none: a training says so, a list of libraries goes on
            self.architecture = None

    def _is_ours(self) -> bool:
        return hasattr(self.dynlib, self.check_symbols[0])


@cache  # a second time would list the library twice
def register() -> None:
    """Make threadpoolctl know the native core. Called when the engine is imported; once is enough."""
    threadpoolctl.register(ThreadController)
