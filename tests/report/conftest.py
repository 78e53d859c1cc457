"""Small tables and stores made by hand, of as many images and qualities as a test wants."""

import io

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from rdpipe.core.axes import cell_name
from rdpipe.evaluation.statistics import CLASS_EDGES, RESIDUAL_EDGES, SCALE_EDGES
from rdpipe.report import frames, page, pictures
from rdpipe.report.savings import savings

EVIL = "<script>alert(1)</script>"
LIMITS = {
    "decodable": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
    "genie": {"mean": "codec", "variance": "element", "quantizer": "test-channel"},
}
BOOTSTRAP = {"resamples": 40, "seed": 0}
IDENTITY = {"dataset": "d", "codec": "c"}
CURVES = [("codec", "c", "achieved"), ("codec/codec/rounding", "c", "achievable"),
          ("codec/codec/test-channel", "c", "upper bound on R(D)"),
          ("codec/element/test-channel", "c", "genie-aided estimate"), ("jpeg", "", "achieved"),
          ("theirs", "", "reference")]  # fmt: skip
VALUES = {"coder": 0.01, "prior": 0.0, "side": 0.0, "variance": 0.05, "quantization": 0.2,
          "context": -0.01}  # fmt: skip
KINDS = {"decodable": "upper bound on R(D)", "genie": "genie-aided estimate"}


def make_tables(images=("one", EVIL), qualities=(1, 2)) -> dict[str, pd.DataFrame]:
    """The tables of one codec on one data set, and what is worked out from them."""
    tables = curve_tables(images, qualities) | term_tables(images, qualities)
    roots, groups = zip(*(make_maps(images, quality) for quality in qualities))
    tables["channels"] = pd.concat([frames.channel_frame(one, LIMITS) for one in roots])
    tables["calibration"] = pd.concat([frames.calibration_frame(one, BOOTSTRAP) for one in roots])
    tables["residuals"] = pd.concat([frames.residual_frame(one) for one in roots])
    tables["maps"] = pd.concat(
        [pictures.map_frame(one, each[0], LIMITS) for one, each in zip(roots, groups)]
    )
    tables["savings"] = savings(tables["points"], tables["image_points"], BOOTSTRAP)
    return tables


def curve_tables(images, qualities) -> dict[str, pd.DataFrame]:
    points = [
        {**IDENTITY, "codec": codec, "curve": name, "kind": kind, "quality": q, "bpp": q - 0.1 * i,
         "bpp_low": q - 0.1 * i - 0.05, "bpp_high": q - 0.1 * i + 0.05, "psnr": 28.0 + q,
         "psnr_of_mean_mse": 27.9 + q, "images": len(images), "source": "A & B" * (name == "theirs")}
        for i, (name, codec, kind) in enumerate(CURVES) for q in qualities
    ]  # fmt: skip
    each = [
        {key: one[key] for key in ("dataset", "codec", "curve", "kind", "quality")}
        | {"image": image, "bpp": one["bpp"] + 0.01 * (k % 3), "psnr": one["psnr"] + 0.1 * (k % 2)}
        for one in points for k, image in enumerate(images) if one["curve"] != "theirs"
    ]  # fmt: skip
    bd = [{**IDENTITY, "curve": "codec/codec/test-channel", "kind": "upper bound on R(D)", "bd_rate": -12.34,
           "bd_rate_low": -14.0, "bd_rate_high": -11.0},
          {**IDENTITY, "curve": "jpeg", "kind": "achieved", "bd_rate": np.nan, "bd_rate_low": np.nan,
           "bd_rate_high": np.nan}]  # fmt: skip
    made = {"points": points, "image_points": each, "bd_rates": bd}
    return {name: pd.DataFrame(rows) for name, rows in made.items()}


def term_tables(images, qualities) -> dict[str, pd.DataFrame]:
    values = VALUES | {"total": sum(VALUES.values())}
    terms = [
        {**IDENTITY, "quality": q, "limit": limit, "kind": kind, "latent_mse": 1.25, "order": order,
         "term": term, "bpp": value, "bpp_low": value - 0.01, "bpp_high": value + 0.01}
        for limit, kind in KINDS.items() for q in qualities for order in ("paper", "shapley")
        for term, value in values.items()
    ]  # fmt: skip
    levers = [
        {**IDENTITY, "limit": limit, "term": term, "bd_rate": -50 * value, "bd_rate_low": -55 * value,
         "bd_rate_high": -45 * value, "available": "codec/codec/trellis" * (term == "quantization"),
         "available_bd_rate": -2.5 * (term == "quantization"), "available_low": -3.0, "available_high": -2.0}
        for limit in KINDS for term, value in values.items()
    ]  # fmt: skip
    gaps = [
        {**IDENTITY, "component": "variance", "estimator": name, "information": known, "quality": q,
         "bpp": q * share, "per_latent": 8 * q * share}
        for name, known, share in (("codec", "decodable", 1.0), ("element", "genie", 0.6),
                                   ("channel", "decodable", 1.1), ("searched-channel", "decodable", 1.0976))
        for q in qualities
    ]  # fmt: skip
    latents = [
        {**IDENTITY, "image": image, "quality": q, "width": 70, "height": 50, "pixels": 3500,
         "bytes": 437.5 * q, "psnr": 28.0 + q, "latent_bits": 3000.0 * q, "side_bits": 300.0}
        for image in images for q in qualities
    ]  # fmt: skip
    image_terms = [
        {**IDENTITY, "image": one["image"], "quality": one["quality"], "limit": limit, "order": "paper",
         "term": "total", "bpp": 0.25}
        for one in latents for limit in KINDS
    ]  # fmt: skip
    codes = [{**IDENTITY, "cell": "codec/calibrated/rounding", "quality": 1, "latent_mse": 1.125,
              "predicted_bpp": 0.91, "real_bpp": 0.92, "predicted_saving": 0.0123,
              "real_saving": 0.0111}]  # fmt: skip
    made = {"decomposition": terms, "levers": levers, "gaps": gaps, "latents": latents,
            "image_terms": image_terms, "codes": codes}  # fmt: skip
    return {name: pd.DataFrame(rows) for name, rows in made.items()}


def make_maps(images, quality, shape=(3, 4, 5), size=(50, 70), codec="c") -> tuple[xr.Dataset, list[xr.Dataset]]:
    """What ``map_latents`` stores of some images: the root, and a group for each."""
    cells = [cell_name({"mean": "codec", "variance": v, "quantizer": q})
             for v, q in (("codec", "rounding"), ("codec", "test-channel"), ("element", "rounding"),
                          ("element", "test-channel"))]  # fmt: skip
    generator = np.random.default_rng(quality)
    spent = generator.gamma(20.0, quality, (len(images), *shape[1:]))
    bits = np.stack([spent * share for share in (1.0, 0.8, 0.7, 0.5)])
    channels = bits.sum((2, 3))[..., None] * 2.0 ** -np.arange(1, shape[0] + 1)
    moments = np.tile(4.0 ** -np.arange(shape[0]) * quality, (len(images), 1))
    sums = np.ones((len(images), 3, len(SCALE_EDGES) - 1)) * 20 * shape[1] * shape[2]
    root = xr.Dataset(
        {
            "bits": (("cell", "image", "channel"), channels),
            "level": (("cell", "image"), np.full((len(cells), len(images)), 0.08)),
            "second_moment": (("image", "channel"), moments),
            "predicted": (("image", "channel"), moments * 1.1),
            "calibration": (("image", "sum", "scale_bin"), sums),
            "residuals": (("image", "scale_class", "bin"),
                          np.full((len(images), len(CLASS_EDGES) + 1, len(RESIDUAL_EDGES) - 1), 9)),
            **{name: ("image", [value] * len(images))
               for name, value in (("stride", 16), ("height", size[0]), ("width", size[1]))},
        },
        {"cell": cells, "image": list(images), "sum": ["count", "r2", "sigma2"], **IDENTITY,
         "codec": codec, "quality": quality},
    )  # fmt: skip
    file = np.frombuffer(webp(generator, size), np.uint8)
    groups = [
        xr.Dataset({"bits": (("cell", "row", "column"), bits[:, i]), "original": ("a", file),
                    "decoded": ("b", file)})
        for i in range(len(images))
    ]  # fmt: skip
    return root, groups


def webp(generator, size) -> bytes:
    """A smooth picture that is not trivial to compress."""
    low = generator.integers(0, 255, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(low).resize(size[::-1], Image.Resampling.BICUBIC)
    image.save(buffer, "WEBP", quality=70)
    return buffer.getvalue()


def make_page(images=("one", EVIL), qualities=(1, 2), codecs=("c",), shape=(3, 4, 5), size=(50, 70)):
    """The whole page of the same tables under the names of some codecs."""
    tables = make_tables(images, qualities)
    runs = [page.run_content("d", codec, tables, LIMITS) | {"folder": "f"} for codec in codecs]
    products = [make_maps(images, quality, shape, size, codec) for codec in codecs for quality in qualities]
    shown = pictures.collect(products, LIMITS)
    entry = {"width": 70, "height": 50, "conversion": "none", "sha256": "0" * 64}
    manifest = {"images": [{"name": name, **entry} for name in images],
                "quarantined": [{"name": EVIL, "error": f"{EVIL}: broken"}]}  # fmt: skip
    config = {"matching": "image", "datasets": {"d": {"args": {"root": EVIL}}}, "limits": LIMITS}
    stage = {"stage": "map_latents", "jobs": 2, "seconds": 3.25, "longest": 2.0, "memory": 400.0}
    provenance = {"command": f"snakemake --configfile '{EVIL}'", "commit": "0123abcd", "machine": "Linux",
                  "versions": {"torch": "2"}, "times": [stage]}  # fmt: skip
    return page.render(runs, shown, {"d": manifest}, config, provenance)


@pytest.fixture
def tables():
    return make_tables()


@pytest.fixture(scope="session")
def html():
    return make_page()
