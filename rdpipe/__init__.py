"""Find where a learned image codec loses its bits, and how far it is from the limit.

The public names are imported on first use, so that ``import rdpipe.theory`` needs numpy and scipy
only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdpipe.api import decompose
    from rdpipe.core.axes import CellId
    from rdpipe.core.errors import InputError
    from rdpipe.core.kinds import BoundKind, Information
    from rdpipe.core.latents import Latents
    from rdpipe.core.protocols import Codec, Send
    from rdpipe.entropy.priors import Gaussian, Laplace, Learned, Logistic, Mixture, Prior, Table
    from rdpipe.evaluation import evaluate

__version__ = "0.2.0"
__all__ = [
    "BoundKind",
    "CellId",
    "Codec",
    "Gaussian",
    "Information",
    "InputError",
    "Laplace",
    "Latents",
    "Learned",
    "Logistic",
    "Mixture",
    "Prior",
    "Send",
    "Table",
    "__version__",
    "decompose",
    "evaluate",
]
_MODULES = {
    "BoundKind": "rdpipe.core.kinds",
    "CellId": "rdpipe.core.axes",
    "Codec": "rdpipe.core.protocols",
    "Gaussian": "rdpipe.entropy.priors",
    "Information": "rdpipe.core.kinds",
    "InputError": "rdpipe.core.errors",
    "Laplace": "rdpipe.entropy.priors",
    "Latents": "rdpipe.core.latents",
    "Learned": "rdpipe.entropy.priors",
    "Logistic": "rdpipe.entropy.priors",
    "Mixture": "rdpipe.entropy.priors",
    "Prior": "rdpipe.entropy.priors",
    "Send": "rdpipe.core.protocols",
    "Table": "rdpipe.entropy.priors",
    "decompose": "rdpipe.api",
    "evaluate": "rdpipe.evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
