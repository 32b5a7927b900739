"""The implementations of a study: Schuss's plans under the names of the 2016 study, and the peers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from schuss.errors import DeviceError, PlanError
from schuss.plan import ALIASES, Plan, allowed_threads
from schuss.study import peers
from schuss.study.measure import StudyError
from schuss.study.work import Work

__all__ = ["NAMES", "THEANO", "Spec", "absence", "checked", "spec"]

THEANO = "keras2-theano"


@dataclass(frozen=True)
class Spec:
    """What is known of an implementation before it runs; as :class:`schuss.study.results.Implementation`."""

    label: str
    family: str
    plan: str | None
    parallel: str
    arithmetic: str
    serial: str | None = None

    @property
    def trial(self) -> float:
        """Share of an epoch that shows how long one takes: little of those that take one example at a time."""
        return {"naive": 1 / 50, "gemv": 1 / 25}.get(self.family, 1 / 8)

    @property
    def scales(self) -> bool:
        """Whether it may be had on fewer threads."""
        return self.parallel != "-" and self.family != "cuda"


_LOOPS, _VECTORS, _MATRICES = "own loops", "BLAS, a vector at a time", "BLAS, a minibatch at a time"
_OWN, _XLA = "own kernels, a minibatch at a time", "XLA, a minibatch at a time"

#: In the order of the figures.
NAMES: dict[str, Spec] = {
    "serial": Spec("Naive serial", "naive", "naive:1x1", "-", _LOOPS),
    "multicore": Spec("Multicore parallel", "naive", "naive:Tx1", "examples", _LOOPS, "serial"),
    "fast-serial": Spec("Fast serial", "gemv", "gemv:1x1", "-", _VECTORS),
    "fast-parallel": Spec("Fast parallel", "gemv", "gemv:1xT", "matrix operations", _VECTORS, "fast-serial"),
    "gemm-serial": Spec("Minibatch BLAS serial", "gemm", "gemm:1x1", "-", _MATRICES),
    "gemm": Spec("Minibatch BLAS", "gemm", "gemm:1xT", "matrix operations", _MATRICES, "gemm-serial"),
    "native-serial": Spec("Schuss serial", "native", "native:1x1", "-", _OWN),
    "native-examples": Spec("Schuss examples", "native", "native:Tx1", "examples", _OWN, "native-serial"),
    "native-matrix": Spec(
        "Schuss matrix", "native", "native:1xT", "matrix operations", _OWN, "native-serial"
    ),
    "hybrid": Spec("Schuss hybrid", "native", "native", "both", _OWN, "native-serial"),
    "gpu": Spec("GPU", "cuda", "cuda-naive", "examples", "own tiled kernels", "serial"),
    "gpu-optimized": Spec("GPU optimized", "cuda", "cuda", "both", _OWN, "native-serial"),
    "torch": Spec("PyTorch", "peer", None, "both", _MATRICES),
    "torch-compiled": Spec("PyTorch compiled", "peer", None, "both", _MATRICES),
    "jax": Spec("JAX", "peer", None, "both", _XLA),
    "keras-jax": Spec("Keras on JAX", "peer", None, "both", _XLA),
    "keras-torch": Spec("Keras on PyTorch", "peer", None, "both", _MATRICES),
    "keras-tensorflow": Spec("Keras on TensorFlow", "peer", None, "both", _XLA),
    "pytensor": Spec("PyTensor", "peer", None, "both", _MATRICES),
    "sklearn": Spec("scikit-learn", "peer", None, "both", _MATRICES),
    THEANO: Spec("Keras 2 on Theano", "peer", None, "both", _MATRICES),
}


def spec(name: str, names: Iterable[str] = ()) -> Spec:
    """The implementation's; of `NAME@N`, NAME with N threads, with the counterpart that is among `names`."""
    base, threads = peers.split(name)
    found = NAMES[base]
    if threads is not None:
        count = "1 thread" if threads == 1 else f"{threads} threads"
        found = replace(found, label=f"{found.label} on {count}")
        return replace(found, parallel="-", serial=None) if threads == 1 else found
    serial = found.serial or (f"{base}@1" if found.family == "peer" else None)
    return replace(found, serial=serial if serial in set(names) else None)


def checked(names: Sequence[str]) -> list[str]:
    """The names, each once, in the order of the figures.

    Raises
    ------
    StudyError
        If one is unknown.
    """
    order = list(NAMES)
    for name in names:
        base, threads = peers.split(name)
        if base not in NAMES or ("@" in name and not threads):
            raise StudyError(
                f"no implementation {name!r}; there are {', '.join(NAMES)}, and NAME@N on N threads"
            )
        if threads and NAMES[base].family != "peer":
            raise StudyError(
                f"{name}: only other libraries can be had with @N, Schuss's threads are in its plans"
            )
    return sorted(dict.fromkeys(names), key=lambda name: (order.index(peers.split(name)[0]), name))


def absence(name: str, work: Work, theano_python: str | None) -> str | None:
    """Why this implementation cannot train `work` here, as a clause; None if nothing speaks against it."""
    found = spec(name)
    if peers.split(name)[0] == THEANO:
        if theano_python is None:
            return "no environment with Keras 2 on Theano was pointed at: --theano-python PATH"
        return peers.cannot(name, work)
    if found.plan is None:
        return peers.missing(name) or peers.cannot(name, work)
    try:
        plan = Plan.parse(ALIASES.get(found.plan, found.plan), allowed_threads())
        if plan is not None:
            plan.require()
    except (PlanError, DeviceError) as error:
        return str(error)
    return None
