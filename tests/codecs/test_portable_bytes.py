"""Bytes decode on machines with other instruction sets and numbers of threads."""

import json
import os
import subprocess
import sys
from functools import lru_cache

import numpy as np
import portable_streams
import pytest
import torch

from rdpipe.codecs.linear import klt

SSE = {
    "ATEN_CPU_CAPABILITY": "default",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "OPENBLAS_CORETYPE": "Nehalem",
}
AVX = {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "AVX", "MKL_CBWR": "COMPATIBLE"}
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
MACHINES = {
    "default, 2 threads": ({}, 2),
    "SSE, 1 thread": (SSE, 1),
    "AVX, 2 threads": (AVX, 2),
    "AVX2, 4 threads": (AVX2, 4),
}
"""Environment and number of threads of processes that decode."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a folder of streams, and what they must decode to."""
    folder, threads = tmp_path_factory.mktemp("streams"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield folder, portable_streams.write(folder)
    finally:
        torch.set_num_threads(threads)


@lru_cache
def decode_elsewhere(folder, machine):
    """Return what a process with other instructions and threads decodes."""
    environment, threads = MACHINES[machine]
    command = [sys.executable, portable_streams.__file__, str(folder), str(threads)]
    idle = {"OMP_WAIT_POLICY": "PASSIVE"}  # more threads than cores would wait for each other
    environment = os.environ | environment | idle | {"OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_codec_decodes_to_the_same_latents(written, machine):
    folder, expected = written
    decoded = decode_elsewhere(folder, machine)
    assert decoded.keys() == expected.keys()
    for name, result in expected.items():
        if isinstance(result, str):  # of a cell
            assert decoded[name] == result, name
            continue
        assert decoded[name]["latents"] == result["latents"], name
        np.testing.assert_allclose(decoded[name]["image"], result["image"], rtol=1e-4)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"),
    reason="this machine has no other instructions",
)
def test_machines_compute_other_numbers(written):
    """Otherwise the test above would show nothing."""
    folder, expected = written
    decoded = decode_elsewhere(folder, "SSE, 1 thread")
    same = [decoded[name]["priors"] == result["priors"] for name, result in codecs(expected)]
    assert not all(same)


def codecs(results):
    """Return the results of codecs, without those of cells."""
    return [(name, result) for name, result in results.items() if isinstance(result, dict)]


TRANSFORM = """
import sys
import numpy as np
from rdpipe.codecs.linear import klt
codec = klt(1, steps=[20.0], sigma=40.0, size=64, exponent=2.5)
np.save(sys.argv[1], codec.network["analysis"].numpy())
"""


@pytest.mark.parametrize("kind", ["Haswell", "Nehalem"])
def test_basis_of_equal_eigenvalues_is_the_same(kind, tmp_path):
    """A library may return any basis of a plane, and any sign."""
    file = str(tmp_path / "transform.npy")
    environment = os.environ | {"OPENBLAS_CORETYPE": kind}
    subprocess.run([sys.executable, "-c", TRANSFORM, file], env=environment, check=True)
    here = klt(1, steps=[20.0], sigma=40.0, size=64, exponent=2.5).network["analysis"]
    np.testing.assert_allclose(np.load(file), here, atol=1e-8)
