"""`schuss info`: the GPUs, their driver and compiler, and what is compiled; one line where there is none."""

import json
import os

import pytest
from click.testing import CliRunner
from fake_driver import ATTRIBUTES, CUresult, Driver

from schuss import machine
from schuss.cli import app
from schuss.cuda import compiler, driver, summary
from schuss.errors import DeviceError
from schuss.planner import last, probe
from schuss.planner.files import load_machine


def missing():
    raise DeviceError("NVRTC cannot be loaded (No module named 'cuda'): pip install 'schuss[cuda13]'")


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "summary", lambda: {"cores": 1})
    monkeypatch.setattr(probe, "current", lambda *_, **__: load_machine("ryzen-5800x-8"))
    monkeypatch.setattr(last, "cache_dir", lambda: tmp_path)
    monkeypatch.setenv("SCHUSS_CACHE_DIR", str(tmp_path))
    (tmp_path / "version").write_text("580.65.06\n")
    monkeypatch.setattr(summary, "_MODULE_VERSION", tmp_path / "version")


@pytest.fixture
def fake(monkeypatch):
    found = Driver()
    monkeypatch.setattr(driver, "_opened", driver._Opened(os.getpid(), (13, 0), found))
    monkeypatch.setattr(compiler, "version", lambda: (13, 5))
    monkeypatch.setattr(compiler, "_call", lambda name, *_: [75, 80, 90, 100])
    return found


def info(*arguments):
    result = CliRunner().invoke(app, ["info", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def gpu_lines():
    """(name, value) of the table's lines on GPUs."""
    lines = [line.split("  ", 1) for line in info().splitlines() if line.startswith("gpu")]
    return [(name, value.strip()) for name, value in lines]


def test_no_driver_is_one_line(monkeypatch):
    monkeypatch.setattr(driver, "_opened", driver._Opened(os.getpid(), reason="no NVIDIA driver: not found"))
    assert gpu_lines() == [("gpu", "none: no NVIDIA driver: not found")]
    assert json.loads(info("--json"))["gpu"] == {"reason": "no NVIDIA driver: not found"}


def test_a_gpu(fake, tmp_path):
    assert gpu_lines() == [
        ("gpu 0", "Fake GPU, 85.9 GB, compute capability 9.0"),
        ("gpu driver", "580.65.06, CUDA 13.0"),
        ("gpu compiler", "NVRTC 13.5"),
        ("gpu kernels", f"none compiled yet, in {tmp_path / 'cuda'}"),
    ]
    assert json.loads(info("--json"))["gpu"] == {
        "reason": "",
        "devices": [
            {"number": 0, "name": "Fake GPU", "memory_bytes": 80 * 2**30, "compute_capability": "9.0"}
        ],
        "driver": {"version": "580.65.06", "cuda": "13.0"},
        "nvrtc": "13.5",
        "kernels": {"folder": str(tmp_path / "cuda"), "chips": {}},
    }


def test_what_is_compiled(fake, tmp_path):
    (tmp_path / "cuda").mkdir()
    for name, size in (("step-sm_90-a", 700_000), ("naive-sm_90-b", 100_000), ("step-sm_80-c", 500_000)):
        (tmp_path / "cuda" / f"{name}.cubin").write_bytes(bytes(size))
    kept = "1 for sm_80, 0.5 MB; 2 for sm_90, 0.8 MB"
    assert dict(gpu_lines())["gpu kernels"] == f"{kept}, in {tmp_path / 'cuda'}"
    chips = {"sm_80": {"files": 1, "bytes": 500_000}, "sm_90": {"files": 2, "bytes": 800_000}}
    assert json.loads(info("--json"))["gpu"]["kernels"]["chips"] == chips


def test_the_names_of_compiled_kernels_are_understood(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "_build", lambda *_: (b"cubin", ""))
    (tmp_path / "tiny.cu").touch()
    monkeypatch.setattr(compiler, "_KERNELS", tmp_path)
    compiler.compile("tiny.cu", {}, 90)
    assert list(summary.summary()["kernels"]["chips"]) == ["sm_90"]


def test_a_gpu_that_is_too_old(fake, monkeypatch):
    monkeypatch.setitem(ATTRIBUTES, "COMPUTE_CAPABILITY_MAJOR", 7)
    found = dict(gpu_lines())
    assert found["gpu 0"] == "Fake GPU, 85.9 GB, compute capability 7.0"
    message = "GPU 0 (Fake GPU): compute capability 8.0 or newer is needed, got 7.0"
    assert found["gpu unusable"] == message
    assert json.loads(info("--json"))["gpu"]["reason"] == message


def test_no_compiler(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(compiler, "version", missing)
    monkeypatch.setattr(summary, "_MODULE_VERSION", tmp_path / "none")
    found = dict(gpu_lines())
    assert found["gpu driver"] == "CUDA 13.0"
    assert found["gpu compiler"] == "-"
    assert found["gpu unusable"].endswith("pip install 'schuss[cuda13]'")
    gpu = json.loads(info("--json"))["gpu"]
    assert (gpu["nvrtc"], gpu["driver"]["version"]) == (None, None)


def test_a_driver_that_fails(fake):
    fake.failing["cuDeviceGetCount"] = CUresult.CUDA_ERROR_LAUNCH_FAILED
    assert gpu_lines() == [("gpu", "none: cuDeviceGetCount: CUDA_ERROR_LAUNCH_FAILED (text of 719)")]
