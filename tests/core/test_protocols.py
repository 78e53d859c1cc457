"""Capabilities of codecs are recognized by their methods and attributes."""

import pytest

from rdpipe.core import protocols


class Minimal:
    def code(self, image, size, send): ...


class WithBitstream(Minimal):
    def compress(self, image): ...

    def decompress(self, stream): ...


class WithHalfABitstream(Minimal):
    def compress(self, image): ...


@pytest.mark.parametrize(
    "codec, supports", [(Minimal(), False), (WithBitstream(), True), (WithHalfABitstream(), False)]
)
def test_capability_needs_all_its_methods(codec, supports):
    assert isinstance(codec, protocols.Codec)
    assert isinstance(codec, protocols.SupportsCoder) == supports
    assert not isinstance(codec, protocols.SupportsFloat64)


@pytest.mark.parametrize(
    "protocol, attribute",
    [
        (protocols.HasMultiple, "multiple"),
        (protocols.HasLeast, "least"),
        (protocols.HasDevice, "device"),
        (protocols.StatesDecoding, "can_decode"),
        (protocols.SupportsFloat64, "to_float64"),
        (protocols.SupportsForward, "forward"),
        (protocols.SupportsForwardBits, "forward_bits"),
        (protocols.SupportsKnownSource, "references"),
    ],
)
def test_capability_is_one_attribute(protocol, attribute):
    codec = Minimal()
    assert not isinstance(codec, protocol)
    setattr(codec, attribute, print)
    assert isinstance(codec, protocol)


def test_object_without_the_method_is_not_a_codec():
    assert not isinstance(object(), protocols.Codec)
