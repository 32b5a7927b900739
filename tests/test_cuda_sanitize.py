"""tools/cuda_sanitize.sh with a compute-sanitizer that is none; the trainings that it watches, on an emulated GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import clean_environment
from cuda_host.bench import needs_compiler
from cuda_host.device import HostDevice

from schuss import cuda
from schuss.cuda import data

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import cuda_trainings

SCRIPT = Path(cuda_trainings.__file__).with_name("cuda_sanitize.sh")
TOOL_NAMES = ("memcheck", "racecheck", "synccheck", "initcheck")
DONE = "all trainings done"


@needs_compiler
def test_the_trainings_take_what_a_step_can_be_made_of(monkeypatch):
    device = HostDevice()
    monkeypatch.setattr(cuda, "device", lambda number=0: device)
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "")
    monkeypatch.setattr(data, "_SHARE", data._SHARE)
    monkeypatch.setattr(data, "_CHUNK", data._CHUNK)
    monkeypatch.setattr(cuda_trainings, "PRECISIONS", ("float32",))
    monkeypatch.setattr(cuda_trainings, "TRAININGS", cuda_trainings.TRAININGS[1:3])
    cuda_trainings.small()
    names = {name for name, _ in device.ran}
    assert {"gather", "forward_small", "head", "delta_small", "weights_small", "losses", "advance"} <= names
    assert {"output", "row_squares", "clip_norm", "apply", "penalties"} <= names
    assert {"forward", "delta", "weights"} <= names


def script(tmp_path, *arguments, missing="", said=DONE, sanitizer='"$@"'):
    """Runs the script with a compute-sanitizer that does this with what it is given, and a Python that says so."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    programs = {
        "python": f'case $1 in -c) echo "{missing}" ;; *) echo "{said}" ;; esac',
        "compute-sanitizer": f"shift 4; {sanitizer}",
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    done = subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, check=False,
        env=clean_environment(PATH=path, PYTHON=str(folder / "python"), TMPDIR=str(tmp_path)),
    )  # fmt: skip
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bin"]
    return done


def test_nothing_found(tmp_path):
    done = script(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == list(TOOL_NAMES)
    assert all("nothing found" in line for line in lines)


def test_what_is_found_is_shown(tmp_path):
    found = "echo '========= Invalid __global__ read'; echo '========= ERROR SUMMARY: 2 errors'; exit 9"
    done = script(tmp_path, "memcheck", sanitizer=found)
    assert done.returncode == 1
    assert done.stdout.startswith("memcheck: ERROR SUMMARY: 2 errors")
    assert "Invalid __global__ read" in done.stdout


@pytest.mark.parametrize("sanitizer", ['"$@"; exit 1', "echo '========= Device not supported'"])
def test_what_did_not_run_to_its_end_is_no_success(tmp_path, sanitizer):
    done = script(tmp_path, "racecheck", sanitizer=sanitizer)
    assert done.returncode == 1
    assert "racecheck: did not run to its end" in done.stdout


def test_what_is_missing_is_said(tmp_path):
    done = script(tmp_path, missing="no NVIDIA driver")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "cuda_sanitize.sh: no NVIDIA driver\n"
    done = script(tmp_path, "valgrind")
    assert done.returncode == 2
    assert "unknown tool 'valgrind'" in done.stderr
