"""Machines and networks by name or from a file: those that come with Schuss, and the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import PlanError
from .interconnect import Interconnect
from .profile import Profile

__all__ = ["given", "load_machine", "load_network"]

_HERE = Path(__file__).parent


def load_machine(text: str) -> Profile:
    """The profile of a machine.

    Parameters
    ----------
    text : str
        A name from ``given("machine")``, or a file with the fields of a :class:`Profile`, as `Profile.save` writes; or
        with two alone: `cpu`, the name of a given machine, and `gpu`, that is in it.

    Raises
    ------
    PlanError
        If there is neither, or the file is no profile.
    """
    found = _document(text, "machine")
    if isinstance(found, dict) and "cpu" in found:
        found = _document(str(found["cpu"]), "machine") | {k: v for k, v in found.items() if k != "cpu"}
    return Profile.from_dict(found)


def load_network(text: str) -> Interconnect:
    """A network.

    Parameters
    ----------
    text : str
        A name from ``given("network")``, or a JSON file with name, latency_us and gb_per_s.

    Raises
    ------
    PlanError
        If there is neither, or the file is no network.
    """
    return Interconnect.from_dict(_document(text, "network"), text)


def given(kind: str) -> list[str]:
    """Names of the machines (kind "machine") or networks ("network") that come with Schuss."""
    return sorted(path.stem for path in _folder(kind).glob("*.json"))


def _folder(kind: str) -> Path:
    return _HERE / f"{kind}s"


def _document(text: str, kind: str) -> Any:
    """What is in the file that is called so."""
    names = given(kind)
    path = _folder(kind) / f"{text}.json" if text in names else Path(text)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"{kind} must be a file or one of {', '.join(names)}, got {text!r}") from None
    except OSError as error:
        raise PlanError(f"{kind} {text!r} cannot be read: {error.strerror}") from error
    except ValueError as error:  # no text, or no JSON
        raise PlanError(f"{kind} {text!r} is no JSON: {' '.join(str(error).split())}") from error
