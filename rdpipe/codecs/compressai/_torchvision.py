"""Let ``import torchvision`` (hence ``import compressai``) work beside a CPU-only torch."""

import torch


def declare_missing_operators() -> None:
    """Declare the two torchvision operators whose compiled library may not load.

    The registry's torchvision is compiled against the CUDA build of torch. Beside a CPU-only
    torch its operators are absent and ``import torchvision`` fails while registering their
    shape functions. Declaring the schemas, only where they are absent, is enough: nothing in
    rdpipe or CompressAI calls them.
    """
    for name in ("nms", "qnms"):
        try:
            torch.library.define(
                f"torchvision::{name}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
        except RuntimeError:  # already there: torchvision's own library loaded
            pass
