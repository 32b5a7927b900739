"""Seconds for people."""

from __future__ import annotations

__all__ = ["duration"]

_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


def duration(seconds: float) -> str:
    """Seconds with a unit that suits them, to three digits."""
    unit, size = next((unit for unit in _UNITS if seconds >= 0.9995 * unit[1]), _UNITS[-1])
    found = seconds / size
    return f"{found:,.0f} {unit}" if found >= 1000 else f"{found:.3g} {unit}"
