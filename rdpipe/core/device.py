"""Devices: what their names mean on this machine, and how numbers are computed there.

.. code-block:: none

    config      auto | cpu | cuda | cuda:1
    workflow    auto becomes cuda or cpu when jobs are planned, and is a part of their spec
    job         cuda becomes the first card that no other job of this user has
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rdpipe.core.errors import InputError

if TYPE_CHECKING:
    import torch

DRIVER_FILES = ("nvidia0", "nvidiactl", "kfd", "dxg", "nvmap")
"""Files in ``/dev`` of which a machine with a GPU has one."""
MEMORY_ERRORS = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What errors other than ``torch.OutOfMemoryError`` say of exhausted memory."""
_claims: list[TextIO] = []
"""Locks of the cards of this process."""


def resolve_device(name: str) -> str:
    """Return ``cuda`` or ``cpu`` for ``auto``, and any other name as it is.

    PyTorch is imported only where there may be a card.
    """
    if name != "auto":
        return name
    if not any(Path("/dev", file).exists() for file in DRIVER_FILES):
        return "cpu"
    return "cuda" if count_cards() else "cpu"


def count_cards() -> int:
    """Return the number of cards that this process may use."""
    import torch

    return torch.cuda.device_count()


def available_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` is CUDA if there is a card.

    Raises
    ------
    InputError
        If it is not a device, or not available.
    """
    import torch

    count = count_cards()
    if name == "auto":
        name = "cuda" if count else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"{name!r} is not a device; expected one of: auto, cpu, cuda")
    if device.type == "cuda" and (device.index or 0) >= count:
        cards = [f"cuda:{index}" for index in range(count)]
        raise InputError(
            f"device {name!r} is not available on this machine; expected one of:"
            f" {', '.join(['auto', 'cpu', *cards])}"
        )
    return device


def claim_cards(device: str, count: int = 1) -> None:
    """Let this process and its children see only cards that no other job of this user has.

    It must be called before the first tensor on a card. Cards are free again when the process ends.
    If too few are free, because the user allows several jobs per card, some are shared. A device
    with an index, such as ``cuda:1``, is the choice of the user: nothing is changed.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    count : int
        Number of cards.
    """
    if _claims or device not in ("auto", "cuda") or not (total := count_cards()):
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    cards = visible.split(",") if visible else [str(index) for index in range(total)]
    start = os.getpid() % total  # so that shared cards are not all the same
    free = [card for card in cards[:total] if len(_claims) < count and _lock(card)]
    shared = [card for card in cards[start:total] + cards[:start] if card not in free]
    if total > count:  # also in children, which find all their cards locked by their parent
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join((free + shared)[:count])


def _lock(card: str) -> bool:
    """Return whether this process has got the lock of a card, which it keeps until it ends."""
    name = f"rdpipe-{os.getuid()}-card-{card.strip().replace('/', '-')}.lock"
    file = Path(tempfile.gettempdir(), name).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _claims.append(file)
    return True


def use_full_precision() -> None:
    """Compute in float32 on a GPU where float32 is asked for, with the same numbers in every run.

    By default cuDNN rounds the factors of convolutions to 10 bits (TF32), and chooses the fastest
    algorithm at each run.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def describe_cards() -> dict[str, str]:
    """Return name and arithmetic of the card of this process; nothing without one.

    A process that has not imported PyTorch has computed nothing on a card.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {
        "gpu": torch.cuda.get_device_name(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
        "tf32": str(torch.backends.cudnn.allow_tf32),
    }


def lacks_memory(error: BaseException) -> bool:
    """Return whether the memory of a card was exhausted, also according to CUDA's libraries."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    in_library = any(text in str(error) for text in MEMORY_ERRORS)
    return in_library or isinstance(error, torch.OutOfMemoryError)


def raise_lack_of_memory(error: BaseException) -> None:
    """Raise an error again if the memory of a card was exhausted, before it is explained away."""
    if lacks_memory(error):
        raise error


def memory_message(error: BaseException) -> str | None:
    """Return one line about an error if the memory of a card was exhausted, otherwise None."""
    if not lacks_memory(error):
        return None
    cause = str(error).partition("\n")[0].partition(". ")[0]
    return (
        f"{cause}; expected a card with more memory, fewer jobs on it, device: cpu, or smaller"
        " images or batches"
    )
