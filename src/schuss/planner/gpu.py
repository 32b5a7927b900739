"""A GPU as the planner knows it: what the driver tells of it, or a machine file, and rates by compute capability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError, PlanError
from ..plan import PRECISIONS

if TYPE_CHECKING:
    from ..cuda.facts import Facts

__all__ = ["CONTEXT", "GpuProfile", "present"]

#: Seconds until a process has a GPU ready for work: driver, context, graphs. Assumed.
CONTEXT = 0.5

#: Multiply-adds of one multiprocessor in a clock, by compute capability and PRECISIONS.
#: float32 and float64: CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions".
#: tf32 and bfloat16, dense: from the peaks of the architectures' whitepapers, over multiprocessors and boost clock, of
#: the slowest chip of the capability: A100 156 and 312 TFLOP/s; RTX 3090 35.6 and 71; RTX 4090 82.6 and 165.2; H100 SXM
#: 494.7 and 989.4, of which mma.sync reaches 62.9 % (Luo et al., arXiv 2501.12084, section 6.2); RTX 5090 104.8 and
#: 209.5. 10.0: mma.sync is not published, that of 9.0 is assumed.
_FMA = {
    (8, 0): (64, 32, 512, 1024),
    (8, 6): (128, 2, 128, 256),
    (8, 9): (128, 2, 128, 256),
    (9, 0): (128, 64, 0.629 * 1024, 0.629 * 2048),
    (10, 0): (128, 64, 0.629 * 1024, 0.629 * 2048),
    (12, 0): (128, 2, 128, 256),
}
#: Bytes from the second-level cache to one multiprocessor in a clock: half of the 64 that its port takes. That is 4.87
#: TB/s for an A100, where 4.83 were measured (forums.developer.nvidia.com, topic 198560); an H800 had 39 bytes (Luo et
#: al., arXiv 2402.13499, table V). That GeForce chips have half of it is assumed.
_L2_BYTES = {(8, 0): 32.0, (9, 0): 32.0, (10, 0): 32.0}
_L2_BYTES_OF_OTHERS = 16.0
#: Bytes a second from page-locked host memory: 80 % of 16 lanes of PCIe 4.0 (8.x) and 5.0, as is usual. Assumed.
_HOST_RATE = {8: 25.6e9}
_HOST_RATE_OF_OTHERS = 51.2e9


def refuse_unknown(kind: type, found: Mapping[str, Any], what: str) -> None:
    """Raise PlanError for a value that is no field of the dataclass `kind`."""
    unknown = set(found) - {f.name for f in fields(kind)}
    if unknown:
        raise PlanError(f"{what}: unknown field {min(unknown)!r}")


@dataclass(frozen=True)
class GpuProfile:
    """What the cost model knows of a GPU.

    Parameters
    ----------
    name : str
    capability : (int, int)
        Compute capability.
    multiprocessors : int
    clock : float
        Hz, the highest that the driver or the data sheet tells of.
    l2_bytes, memory_bytes : int
    memory_rate : float
        Bytes a second of the memory, as the data sheet has it or as its clock and width give it.
    fma : dict of str to float
        Multiply-adds of one multiprocessor in a clock, by precision; what is left out is that of the capability.
    l2_rate : float
        Bytes a second of the second-level cache; 0: by the capability.
    host_rate : float
        Bytes a second from page-locked memory of the host; 0: by the capability.
    compiled : bool
        Whether the kernels compiled for it are kept.
    measured : str
        Date and time (ISO); empty: from data sheets or the driver's attributes, not measured.
    source : str
        Where the figures are from.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    clock: float
    l2_bytes: int
    memory_bytes: int
    memory_rate: float
    fma: dict[str, float] = field(default_factory=dict)
    l2_rate: float = 0.0
    host_rate: float = 0.0
    compiled: bool = False
    measured: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Complete what was not told from the compute capability."""
        known = _nearest(self.capability)
        fma = dict(zip(PRECISIONS, map(float, _FMA[known]), strict=True))
        object.__setattr__(self, "fma", fma | self.fma)
        if not self.l2_rate:
            each = _L2_BYTES.get(known, _L2_BYTES_OF_OTHERS)
            object.__setattr__(self, "l2_rate", each * self.multiprocessors * self.clock)
        if not self.host_rate:
            rate = _HOST_RATE.get(self.capability[0], _HOST_RATE_OF_OTHERS)
            object.__setattr__(self, "host_rate", rate)

    def peak(self, precision: str) -> float:
        """FLOP/s of all multiprocessors in registers."""
        return 2 * self.fma[precision] * self.multiprocessors * self.clock

    @property
    def origin(self) -> str:
        """Where the figures come from, in words."""
        return (
            f"measured {self.measured[:10]}"
            if self.measured
            else "from data sheets or its driver, not measured"
        )

    @classmethod
    def of_facts(cls, facts: Facts) -> GpuProfile:
        """Of a GPU that is here, by what its driver tells."""
        told = facts.attributes
        # both edges of the memory's clock carry data
        rate = 2e3 * told["memory_clock_khz"] * told["memory_bus_bits"] / 8
        return cls(
            facts.name,
            facts.capability,
            told["multiprocessors"],
            1e3 * told["clock_khz"],
            told["l2_bytes"],
            facts.memory,
            rate,
            source="the driver's attributes, and what its compute capability has",
        )

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> GpuProfile:
        """Of plain values, as JSON has them; fma, l2_rate and host_rate may be left out.

        Raises
        ------
        PlanError
            If a field is missing, unknown or of the wrong kind.
        """
        try:
            refuse_unknown(cls, found, "gpu profile")
            needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
            lacking = [name for name in needed if name not in found]
            if lacking:
                raise PlanError(f"gpu profile: {lacking[0]!r} is missing")
            major, minor = map(int, found["capability"])
            fma = {str(name): float(rate) for name, rate in found.get("fma", {}).items()}
            given = cls(**{**found, "capability": (major, minor), "fma": fma})
            given._check()
        except PlanError:
            raise
        except (TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"gpu profile: {error}") from None
        return given

    def _check(self) -> None:
        if set(self.fma) != set(PRECISIONS):
            raise ValueError(f"fma must be of {', '.join(PRECISIONS)}, got {', '.join(self.fma)}")
        numbers = {
            name: getattr(self, name)
            for name in (
                "multiprocessors",
                "clock",
                "l2_bytes",
                "memory_bytes",
                "memory_rate",
                "l2_rate",
                "host_rate",
            )
        }
        for name, number in (numbers | self.fma).items():
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
                raise ValueError(f"{name} must be a positive number, got {number!r}")


def _nearest(capability: tuple[int, int]) -> tuple[int, int]:
    """The latest known capability that is not newer; of those older than all, the first."""
    return max((one for one in _FMA if one <= capability), default=min(_FMA))


def present(number: int = 0) -> GpuProfile | str:
    """The GPU of this number as its driver tells of it; or, in one line, why none can be used. Opens no context."""
    from ..cuda import compiler
    from ..cuda.facts import serving

    try:
        facts, sm = serving(number)
    except DeviceError as error:
        return str(error)
    silent = [name for name, value in facts.attributes.items() if value <= 0]
    if silent:  # as in parts of a shared GPU
        return f"GPU {number} ({facts.name}): its driver does not tell {silent[0]}, which predictions need"
    compiled = any(name.startswith(f"step-sm_{sm}-") for name in compiler.cached()[1])
    return replace(GpuProfile.of_facts(facts), compiled=compiled)
