"""Adapter to CompressAI's image codecs.

:func:`adapt_model` takes a model in memory, :func:`from_checkpoint` a file of weights or a
pretrained model, and :func:`from_training` a network that ``train_codec`` wrote. The ``mini_*``
codecs and ``joint_upper`` have their weights in the package.
"""

from rdpipe.codecs.importing import prepare_import

prepare_import()  # before any import of compressai

from rdpipe.codecs.bottleneck import bottleneck_prior  # noqa: E402
from rdpipe.codecs.compressai.adapter import CompressAICodec  # noqa: E402
from rdpipe.codecs.compressai.factories import (  # noqa: E402
    adapt_model,
    from_checkpoint,
    from_training,
    joint_upper,
    mini_context,
    mini_factorized,
    mini_mean_scale,
    mini_scale,
)
from rdpipe.codecs.compressai.variable_rate import VariableRateCodec  # noqa: E402

__all__ = [
    "CompressAICodec",
    "VariableRateCodec",
    "adapt_model",
    "bottleneck_prior",
    "from_checkpoint",
    "from_training",
    "joint_upper",
    "mini_context",
    "mini_factorized",
    "mini_mean_scale",
    "mini_scale",
]
