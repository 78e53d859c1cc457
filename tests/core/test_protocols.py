"""Capabilities of codecs are recognized by their methods."""

import pytest

from rdpipe.core import protocols


class Minimal:
    def analyse(self, name, image): ...

    def synthesise(self, y_hat, height, width): ...


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
    assert isinstance(codec, protocols.SupportsBitstream) == supports
    assert not isinstance(codec, protocols.SupportsContext)


def test_object_without_the_methods_is_not_a_codec():
    assert not isinstance(object(), protocols.Codec)
