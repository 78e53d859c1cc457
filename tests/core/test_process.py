"""Threads and memory of a process."""

import os
import subprocess
import sys

import pytest

BALLAST = 300 << 20
"""Memory that a test allocates, byte."""


def peak(code: str = "") -> int:
    """Return the peak memory of a new process after it has run some code, byte."""
    program = (
        f"import subprocess, sys\n{code}\n"
        "from rdpipe.core.process import peak_memory; print(peak_memory())"
    )
    command = [sys.executable, "-c", program]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_peak_memory_includes_freed_memory():
    assert abs((peak(f"b'x' * {BALLAST}") - peak()) / BALLAST - 1) < 0.05


def test_peak_memory_includes_child_processes():
    code = f"subprocess.run([sys.executable, '-c', 'b\"x\" * {BALLAST}'], check=True)"
    assert abs((peak(code) - peak()) / BALLAST - 1) < 0.1


def test_peak_memory_excludes_the_parent_process():
    ballast = b"x" * BALLAST
    assert 1 << 20 < peak() < len(ballast) / 4


def output(program: str, **environment: str) -> str:
    """Return what a new process prints."""
    command, variables = [sys.executable, "-c", program], {**os.environ, **environment}
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    return process.stdout.strip()


@pytest.mark.parametrize("before", ["import torch", ""])
def test_number_of_threads_does_not_depend_on_the_environment(before):
    program = f"""
import os, subprocess, sys
from rdpipe.core.process import limit_threads
{before}
limit_threads(1)
import torch
child = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
print(torch.get_num_threads(), subprocess.run(child, capture_output=True, text=True).stdout)
"""
    threads = output(program, OMP_NUM_THREADS="2", MKL_NUM_THREADS="2")
    assert threads.split() == ["1", "1"]


def test_number_of_threads_is_restored_after_a_block():
    program = """
import torch
from rdpipe.core.process import single_thread
torch.set_num_threads(2)
with single_thread():
    inside = torch.get_num_threads()
print(inside, torch.get_num_threads())
"""
    assert output(program) == "1 2"


def test_freed_memory_can_be_retained_with_any_c_library():
    program = """
import ctypes
from rdpipe.core.process import retain_freed_memory
retain_freed_memory()
ctypes.CDLL = lambda name: object()
retain_freed_memory()
print("done")
"""
    assert output(program) == "done"
