"""What the package promises as a package: its names, stub, size, and the README's example."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import schuss
from schuss import _core

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def test_public_names_exist_and_are_listed() -> None:
    assert sorted(schuss.__all__) == schuss.__all__
    for name in schuss.__all__:
        assert getattr(schuss, name).__doc__


def test_typed_marker_is_installed() -> None:
    assert (Path(schuss.__file__).parent / "py.typed").exists()


def test_core_is_small() -> None:
    assert _core.__file__ is not None
    assert Path(_core.__file__).stat().st_size < 5e6


def test_stub_is_what_the_module_says(tmp_path: Path) -> None:
    pytest.importorskip("nanobind", reason="nanobind writes the stub")
    written = tmp_path / "_core.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "schuss._core", "-o", str(written)]
    subprocess.run(command, check=True, timeout=60)
    assert written.read_text() == (Path(schuss.__file__).parent / "_core.pyi").read_text()


def test_readme_example_prints_what_it_says() -> None:
    code, printed = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README.read_text(), re.S).groups()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, str(README), "exec"), {})
    assert out.getvalue() == printed


@pytest.mark.parametrize("what", ["train on the built-in digits", "run the tests"])
def test_readme_has_the_two_commands(what: str) -> None:
    assert len(re.findall(rf"^.*[^ ]  *# {what}$", README.read_text(), re.M)) == 1


def test_the_command_line_starts_without_numerics() -> None:
    code = (
        "import sys, schuss.cli; "
        "print([name for name in ('numpy', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
