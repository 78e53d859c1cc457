"""Tables of CompressAI's entropy coder, which reads them on the CPU at every call."""

from __future__ import annotations

from functools import partial

import torch
from compressai.entropy_models import GaussianConditional
from compressai.entropy_models.entropy_models import EntropyModel
from torch import Tensor, nn

from rdpipe.codecs.compressai.private_copy import TABLES


def keep_tables_on_host(model: nn.Module, device: torch.device) -> None:
    """Move the tables of all entropy models to the CPU.

    Symbols are decoded where the tables are. CompressAI moves them to the means; a Gaussian
    conditional that is called without means gets a function that moves them to the model.

    Parameters
    ----------
    model : Module
        A model that belongs to the caller alone.
    device : torch.device
        Where it runs. On a CPU nothing is changed.
    """
    if device.type == "cpu":
        return
    for module in model.modules():
        for name, table in module.named_buffers(recurse=False):
            if name in TABLES:
                setattr(module, name, table.cpu())
        if isinstance(module, GaussianConditional):
            module.dequantize = partial(_dequantize, device)


def _dequantize(
    device: torch.device,
    symbols: Tensor,
    means: Tensor | None = None,
    dtype: torch.dtype = torch.float,
) -> Tensor:
    values: Tensor = EntropyModel.dequantize(symbols.to(device), means, dtype)
    return values
