"""The most memory that a process had."""

import subprocess
import sys

BALLAST = 300 << 20


def peak(code: str = "") -> int:
    """What :func:`rdpipe.memory.peak` gives after some code in a process of its own."""
    program = f"import subprocess, sys\n{code}\nfrom rdpipe.memory import peak; print(peak())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_peak_counts_what_is_freed_again():
    assert abs((peak(f"b'x' * {BALLAST}") - peak()) / BALLAST - 1) < 0.05


def test_the_peak_counts_a_program_that_was_started():
    code = f"subprocess.run([sys.executable, '-c', 'b\"x\" * {BALLAST}'], check=True)"
    assert abs((peak(code) - peak()) / BALLAST - 1) < 0.1


def test_the_peak_is_not_that_of_the_program_that_started_it():
    ballast = b"x" * BALLAST
    assert 1 << 20 < peak() < len(ballast) / 4
