"""Make ``import torchvision`` and ``import compressai`` work beside a CPU-only torch."""

import torch


def declare_missing_operators() -> None:
    """Declare two torchvision operators whose compiled library may not load.

    A torchvision that is compiled against the CUDA build of torch has no operators beside a
    CPU-only torch, and ``import torchvision`` fails while it registers their shape functions. It is
    enough to declare their schemas, only if they are absent: neither rdpipe nor CompressAI calls
    them.
    """
    for name in ("nms", "qnms"):
        try:
            torch.library.define(
                f"torchvision::{name}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
        except RuntimeError:  # torchvision's own library is loaded
            pass
