"""Crops are reproducible."""

import hashlib
from functools import partial
from types import SimpleNamespace

import numpy as np
from small_training import FILES

from rdpipe.datasets.image import read_image
from rdpipe.training.crops import Crops, Cut, cut, draw_cut

DIGESTS = "65d80e5e f468634a aed75753 cd6df4be f6cf76a8 9ab68e33 6aa02d02 17eaf35b".split()
"""First digits of the SHA-256 of eight crops, by the code before crops were made on cards."""


def test_crop_is_a_pure_function_of_seed_and_index():
    first, second = Crops(FILES, 64, 5), Crops(FILES, 64, 5)
    late = second[9]
    assert all(np.array_equal(first[i], second[i]) for i in range(5))
    assert np.array_equal(first[9], late) and not np.array_equal(first[8], late)
    assert first[0].shape == (3, 64, 64) and first[0].dtype == np.uint8
    assert not np.array_equal(Crops(FILES, 64, 6)[9], late)


def test_decoded_images_are_kept_as_long_as_there_is_space(monkeypatch):
    decoded = []
    monkeypatch.setattr("rdpipe.training.crops.read_image", partial(counted, decoded))
    expected = [Crops(FILES, 64, 5)[i] for i in range(9)]
    sizes = sorted(read_image(str(file), max_pixels=None)[0].nbytes for file in FILES)
    monkeypatch.setattr("rdpipe.training.crops.MOST_BYTES", sum(sizes) - 1)
    decoded.clear()
    crops = Crops(FILES, 64, 5)
    for _ in range(3):
        assert all(np.array_equal(crops[i], crop) for i, crop in enumerate(expected))
    assert sum(decoded.count(file) > 1 for file in set(decoded)) == 1
    assert crops.kept_bytes <= sum(sizes) - 1


def test_workers_share_the_memory_for_decoded_images(monkeypatch):
    sizes = sorted(read_image(str(file), max_pixels=None)[0].nbytes for file in FILES)
    monkeypatch.setattr("rdpipe.training.crops.MOST_BYTES", 4 * sizes[0])
    monkeypatch.setattr(
        "rdpipe.training.crops.get_worker_info", lambda: SimpleNamespace(num_workers=4)
    )
    crops = Crops(FILES, 64, 5)
    assert all(crops[i].shape == (3, 64, 64) for i in range(20))
    assert crops.kept_bytes == sizes[0]


def counted(files, file, **options):
    """Decode an image, and append its file to a list."""
    files.append(file)
    return read_image(file, **options)


def test_small_images_are_not_shrunk_below_a_crop():
    image = np.random.default_rng(0).integers(0, 256, (64, 70, 3), dtype=np.uint8)
    for seed in range(20):
        where = draw_cut(image.shape, 64, np.random.default_rng(seed))
        assert cut(image, 64, where).shape == (64, 64, 3)


def test_saturation_keeps_gray_images():
    gray = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    for factor in (0.5, 0.8, 1.0, 2.0):
        assert np.array_equal(cut(gray, 8, Cut(0, 0, 8, False, factor)), gray)


def test_sequence_of_crops_stays_as_it_is():
    """A training that resumes after an update of rdpipe has the crops that it would have had."""
    crops = Crops(FILES, 64, 5)
    digests = [hashlib.sha256(crops[i].tobytes()).hexdigest()[:8] for i in range(8)]
    assert digests == DIGESTS


def test_sources_are_the_files_of_the_crops():
    crops = Crops(FILES, 64, 5)
    assert crops.sources(range(100)) == ", ".join(sorted(file.name for file in FILES))
    assert crops.sources([0]) in {file.name for file in FILES}
