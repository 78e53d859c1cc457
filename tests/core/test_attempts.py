"""A job that exhausts the memory of a card has one attempt in a run of the workflow."""

import re

import pytest
import torch

from rdpipe.core.attempts import RUN, once_if_hopeless
from rdpipe.core.device import lacks_memory, memory_message
from rdpipe.core.errors import InputError

ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has ..."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."),
)


def attempt(out, error=None):
    """Run a job that raises an error."""
    with once_if_hopeless(out):
        if error is not None:
            raise error


@pytest.fixture
def out(tmp_path, monkeypatch):
    """The output of a job of the run ``first``."""
    monkeypatch.setenv(RUN, "first")
    return tmp_path / "out.zarr.zip"


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_second_attempt_in_a_run_is_refused(out, monkeypatch, error):
    with pytest.raises(RuntimeError, match="memory|ALLOC"):
        attempt(out, error)
    with pytest.raises(InputError, match="memory, fewer jobs on it.*; not tried again$"):
        attempt(out)
    attempt(out.with_name("other"))
    monkeypatch.setenv(RUN, "second")
    attempt(out)
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("run", [None, ""])
def test_jobs_without_a_run_have_any_number_of_attempts(out, monkeypatch, run):
    monkeypatch.delenv(RUN)
    if run is not None:
        monkeypatch.setenv(RUN, run)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            attempt(out, ERRORS[0])


def test_other_errors_are_tried_again(out):
    for error in (RuntimeError("no gradient"), InputError("wrong"), OSError(28, "full")) * 2:
        with pytest.raises(type(error)):
            attempt(out, error)
        assert not lacks_memory(error)


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_message_is_one_line(error):
    message = memory_message(error)
    assert re.match("(CUDA|cuDNN)[a-zA-Z_: ]+; expected a card with more memory", message)
    assert "\n" not in message


def test_note_is_beside_the_first_of_several_outputs(out):
    with pytest.raises(torch.OutOfMemoryError):
        attempt([out, out.with_name("other")], ERRORS[0])
    assert [file.name for file in out.parent.iterdir()] == [".out.zarr.zip.failed"]
