"""The sample photographs have the sizes and formats that other tests rely on."""

from pathlib import Path

from rdpipe.datasets import manifest, sample


def test_sample_has_unpadded_sizes_and_needs_no_conversion():
    built = manifest.build(sample.find())
    names = [Path(entry["name"]).name for entry in built["images"]]
    assert names == ["astronaut", "chelsea", "coffee", "motorcycle_left", "rocket"]
    assert any(entry["width"] % 64 and entry["height"] % 64 for entry in built["images"])
    conversions = [entry["conversion"] for entry in built["images"]]
    assert conversions == [*["none"] * 4, "ICC profile ignored"]  # the rocket is in Adobe RGB


def test_calibration_images_are_not_sample_images():
    files = {source.file for source in sample.find()}
    calibration = sample.find_calibration()
    assert len(calibration) == 9
    assert not files & {source.file for source in calibration}
