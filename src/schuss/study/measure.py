"""What every measurement needs: fresh worker processes, their environment, and the peak beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from threading import Timer
from typing import Any

from schuss import _core
from schuss.engine import chosen_isa
from schuss.errors import SchussError
from schuss.study import peers
from schuss.study.work import Work

__all__ = ["Peak", "StudyError", "Worker", "environment", "pause", "start", "watched"]

#: Variables that change what is measured begin so.
WATCHED = (
    *("SCHUSS_ISA", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "XLA_", "NPROC", "TORCH", "ATEN_"),
    *(
        "TF_NUM_",
        "TF_ENABLE_",
        "TF_XLA_",
        "NUMBA_",
        "PYTENSOR_FLAGS",
        "THEANO_FLAGS",
        "LD_PRELOAD",
        "MALLOC_",
    ),
)
#: Set in this process by scikit-learn, for itself; the peers' processes do without.
ADDED = ("KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK")
#: What limits the threads of each library; NPROC is XLA's.
LIMITS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC", "NUMBA_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
#: -P: a file torch.py in the user's folder is not PyTorch.
WORKER = (sys.executable, "-P", "-m", "schuss.study.worker")


class StudyError(SchussError):
    """What a user reads as one line."""


def environment(threads: int | None = None) -> dict[str, str]:
    """For the processes to be started; with `threads`, what limits each implementation to so many."""
    inherited = {name: value for name, value in os.environ.items() if name not in ADDED}
    return inherited if threads is None else inherited | dict.fromkeys(LIMITS, str(threads))


def watched() -> dict[str, str]:
    """Variables of the environment that change what is measured."""
    return {name: value for name, value in sorted(environment().items()) if name.startswith(WATCHED)}


class Worker:
    """A fresh process with one implementation; `ask` sends a request and waits for the reply.

    Parameters
    ----------
    name : str
        Of the implementation; `@N` limits its threads.
    command : sequence of str, default: `python -m schuss.study.worker`
        The job follows as its last argument, in JSON.
    job : dict
        What the process is told besides the name.
    """

    def __init__(self, name: str, command: Sequence[str] = WORKER, **job: Any) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by __exit__
        self.process = subprocess.Popen(
            [*command, json.dumps({"name": name, **job})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(peers.split(name)[1]),
            process_group=0,  # Ctrl-C is for this process, which ends the others
        )

    def ask(self, request: str, limit: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its reply.

        Parameters
        ----------
        request : str
        limit : float or None, default None
            Seconds after which the process is ended.

        Raises
        ------
        StudyError
            With the first line of what the process says is wrong, or its last words.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        ended: list[str] = []

        def end() -> None:
            ended.append(f"no answer to {request!r} within {limit:g} s")
            self.process.kill()

        timer = None if limit is None else Timer(limit, end)
        if timer is not None:
            timer.start()
        try:
            print(json.dumps({"request": request, **arguments}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            if timer is not None:
                timer.cancel()
        reply = json.loads(line) if line else {"error": ended[0] if ended else self.last_words()}
        if "error" in reply:
            raise StudyError(f"{self.name}: {(reply['error'].splitlines() or ['it failed'])[0]}")
        return dict(reply)

    def last_words(self) -> str:
        """The last line on the standard error of a process that is gone."""
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1] if lines else f"its process ended with {code}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def start(name: str, work: Work) -> Worker:
    """A worker that trains `work`."""
    return Worker(name, work=work.as_dict())


class Peak:
    """Fused multiply-adds that never leave the registers, measured between what they are compared with."""

    def __init__(self, threads: Iterable[int]) -> None:
        self.gflops: dict[int, list[float]] = {n: [] for n in sorted(set(threads))}

    def measure(self, seconds: float = 0.2) -> None:
        for threads, rates in self.gflops.items():
            rates.append(_core.measure_peak(chosen_isa(), threads, seconds, False) / 1e9)


def pause() -> None:
    """Let threads that spin after their last piece of work go to sleep before another's turn."""
    time.sleep(0.1)
