"""Defaults of the base classes: whatever an estimator does not state is taken at its worst."""

import pytest
import torch
from gaussian_latents import make_cell

from rdpipe.core.kinds import BoundKind
from rdpipe.estimators.base import CausalEstimator, FittedEstimator, Mean, Variance
from rdpipe.estimators.means import ZeroMean
from rdpipe.estimators.user_estimators import adapt_variance
from rdpipe.estimators.variances import CodecVariance
from rdpipe.quantizers.base import CodableQuantizer, Quantizer
from rdpipe.quantizers.scalar import Rounding


class Derived(Variance):
    """A variance as a subclass."""

    information = "decodable"

    def __call__(self, latents, residual):
        return latents.scale.square(), 0.0


class Plain:
    """The same variance as a plain class."""

    information = "decodable"

    def __call__(self, latents, residual):
        return latents.scale.square(), 0.0


@pytest.mark.parametrize("variance", [Derived(), Plain()])
@pytest.mark.parametrize("context", [False, True])
def test_subclass_and_plain_class_have_the_same_labels(variance, context):
    """Both are taken to need the side information and the context model of the codec."""
    variance = adapt_variance("v", variance)
    assert variance.uses_side and variance.uses_context and variance.transmitter is None
    cell = make_cell(ZeroMean(), variance, Rounding(), context)
    assert cell.kind is (BoundKind.GENIE_AIDED if context else BoundKind.ACHIEVABLE)
    assert cell.includes_side


def test_statements_of_a_plain_class_and_a_subclass_count():
    class Independent(Derived):
        uses_side = False
        uses_context = False

    class PlainIndependent(Plain):
        uses_side = False
        uses_context = False

    for variance in (Independent(), PlainIndependent()):
        cell = make_cell(ZeroMean(), adapt_variance("v", variance), Rounding(), context=True)
        assert cell.kind is BoundKind.ACHIEVABLE and not cell.includes_side


def test_nothing_is_the_estimate_of_the_codec_by_default():
    class Average(Mean):
        information = "decodable"

        def __call__(self, latents):
            return latents.mean

    assert not Average().is_codec and not Derived().is_codec
    cell = make_cell(Average(), CodecVariance(), Rounding(), context=True)
    assert cell.kind is BoundKind.GENIE_AIDED


@pytest.mark.parametrize(
    "base", [Mean, Variance, CausalEstimator, FittedEstimator, Quantizer, CodableQuantizer]
)
def test_base_classes_are_abstract(base):
    with pytest.raises(TypeError, match="abstract"):
        base()


def test_causal_estimator_has_one_group_and_waves_by_default():
    class West(Mean, CausalEstimator):
        information = "decodable"
        radius = 1

        def __call__(self, latents):
            return torch.zeros_like(latents.y)

        def predict(self, context, initial, channels, positions):
            return initial

    assert West().groups == 1 and West().decoding_order((1, 2, 2)) is None
