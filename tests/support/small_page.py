"""Small hand-made tables and stores, and their page, for any number of images and qualities."""

import io

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image
from small_ladder import equal_picture_terms, ladder_table

from rdpipe.analysis.context import CONTEXT_CELLS, CONTEXT_COLUMNS
from rdpipe.core.axes import CellId
from rdpipe.core.kinds import BoundKind, CurveRole, Information
from rdpipe.evaluation.statistics import CLASS_EDGES, RESIDUAL_EDGES, SCALE_EDGES
from rdpipe.report import frames, page, pictures
from rdpipe.report.labels import with_labels
from rdpipe.report.savings import savings

EVIL = "<script>alert(1)</script>"
"""Name of an image that tries to break out of the page."""
LIMITS = {
    "decodable": CellId("codec", "codec", "test-channel"),
    "genie": CellId("codec", "element", "test-channel"),
}
RUN = {"dataset": "d", "codec": "c"}
CURVES = (
    ("codec", "c", CurveRole.CODEC, BoundKind.ACHIEVED),
    ("codec/codec/rounding", "c", CurveRole.CELL, BoundKind.ACHIEVABLE),
    ("codec/codec/test-channel", "c", CurveRole.CELL, BoundKind.UPPER_BOUND),
    ("codec/element/test-channel", "c", CurveRole.CELL, BoundKind.GENIE_AIDED),
    ("jpeg", "", CurveRole.BASELINE, BoundKind.ACHIEVED),
    ("theirs", "", CurveRole.PUBLISHED, BoundKind.REFERENCE),
)
"""Name, codec, role and kind of each curve."""
VALUES = {
    "coder": 0.01,
    "prior": -0.01,
    "side": 0.0,
    "variance": 0.05,
    "quantization": 0.2,
    "context": np.nan,
}
"""Latent-matched terms, bit/pixel; no limit replaces the codec's mean."""
MAP_KINDS = ["achieved", "upper bound on R(D)", "genie-aided estimate", "genie-aided estimate"]
"""Kinds of the cells of maps."""
AREAS = (0.5, 0.3, 0.2)
"""Share of each class of content in an image."""
BITS_BY_CONTENT = (0.2, 0.5, 0.3)
"""Share of each class of content in the bits of an image."""
UNMEASURED = {"decodable": {"variance": np.nan}, "genie": {}}
"""Terms of an axis along which a limit has the codec's own estimator."""
KINDS = {"decodable": BoundKind.UPPER_BOUND, "genie": BoundKind.GENIE_AIDED}
BD_RATES = (
    ("codec/codec/rounding", CurveRole.CELL, BoundKind.ACHIEVABLE, -0.7, -0.9, -0.5),
    ("codec/codec/test-channel", CurveRole.CELL, BoundKind.UPPER_BOUND, -12.34, -14.0, -11.0),
    ("codec/element/test-channel", CurveRole.CELL, BoundKind.GENIE_AIDED, -55.0, -60.0, -50.0),
    ("joint", CurveRole.JOINT, BoundKind.UPPER_BOUND, -20.0, -22.0, -18.0),
    ("jpeg", CurveRole.BASELINE, BoundKind.ACHIEVED, np.nan, np.nan, np.nan),
)
"""Curve, role, kind, and BD-rate in PSNR and its interval."""
MEASURES = {"psnr": 0.0, "psnr-of-mean-mse": 0.25, "ms-ssim": 3.0}
"""What is added to the BD-rate in each measure, per cent."""


def make_tables(images=("one", EVIL), qualities=(1, 2)) -> dict[str, pd.DataFrame]:
    """Return all tables of one codec on one dataset."""
    tables = curve_tables(images, qualities) | term_tables(images, qualities)
    tables["savings"] = savings(tables["points"], tables["image_points"])
    products = [make_maps(images, quality) for quality in qualities]
    roots = [root for root, _ in products]
    maps = [pictures.map_frame(root, groups[0], LIMITS) for root, groups in products]
    calibration = [frames.calibration_frame(root) for root in roots]
    return with_labels(tables) | {
        "channels": pd.concat([frames.channel_frame(root, LIMITS) for root in roots]),
        "calibration": pd.concat(calibration),
        "residuals": pd.concat([frames.residual_frame(root) for root in roots]),
        "maps": pd.concat(maps),
        "content": pd.concat([frames.content_frame(root, LIMITS) for root in roots]),
    }


def curve_tables(images, qualities) -> dict[str, pd.DataFrame]:
    """Return the tables of curves that ``trace_bounds`` writes."""
    points = [
        {
            **RUN,
            "codec": codec,
            "curve": name,
            "role": str(role),
            "kind": str(kind),
            "quality": q,
            "bpp": q - 0.1 * i,
            "bpp_low": q - 0.1 * i - 0.05,
            "bpp_high": q - 0.1 * i + 0.05,
            "psnr": 28.0 + q,
            "psnr_of_mean_mse": 27.9 + q,
            "ms_ssim": 11.0 + q,
            "images": len(images),
            "source": "A & B" * (role is CurveRole.PUBLISHED),
        }
        for i, (name, codec, role, kind) in enumerate(CURVES)
        for q in qualities
    ]
    labels = ("dataset", "codec", "curve", "role", "kind", "quality")
    image_points = [
        {key: point[key] for key in labels}
        | {
            "image": image,
            "bpp": point["bpp"] + 0.01 * (k % 3),
            "psnr": point["psnr"] + 0.1 * (k % 2),
            "ms_ssim": point["ms_ssim"] + 0.1 * (k % 2),
        }
        for point in points
        for k, image in enumerate(images)
        if point["curve"] != "theirs"
    ]
    bd_rates = [
        {
            **RUN,
            "curve": curve,
            "role": str(role),
            "kind": str(kind),
            "measure": measure,
            "bd_rate": rate + more,
            "bd_rate_low": low + more,
            "bd_rate_high": high + more,
            "interpolation_error": 0.02 + 0.0 * rate,
            "win_rate": 0.5 + 0.0 * rate,
            "defined_images": 0 if np.isnan(rate) else len(images),
            "overlap": 0.25 if curve == "codec/element/test-channel" else 0.875,
            "reason": "no common range of PSNR" * np.isnan(rate),
            "remark": "the curve: 1 dominated point left out" * np.isnan(rate),
        }
        for curve, role, kind, rate, low, high in BD_RATES
        for measure, more in MEASURES.items()
    ]
    available = [
        {
            **RUN,
            "cell": "codec/calibrated/rounding",
            "role": str(CurveRole.CELL),
            "kind": str(BoundKind.ACHIEVED),
            "measure": "psnr",
            "bd_rate": -1.25,
            "bd_rate_low": -1.5,
            "bd_rate_high": -1.0,
            "encoder_seconds": np.nan,
        }
    ]
    earned = [
        {
            **RUN,
            "module": "variance",
            "without": "codec/channel/rounding",
            "with": "codec/codec/rounding",
            "measure": measure,
            "bd_rate": -20.0,
            "bd_rate_low": -22.5,
            "bd_rate_high": -17.5,
            "overlap": 0.875,
            "reason": "",
        }
        for measure in MEASURES
    ]
    tables = {
        "points": points,
        "image_points": image_points,
        "bd_rates": bd_rates,
        "available": available,
        "earned": earned,
    }
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def term_tables(images, qualities) -> dict[str, pd.DataFrame]:
    """Return the tables of terms, gaps, images and codes."""
    values = {limit: VALUES | UNMEASURED[limit] for limit in KINDS}
    for of_limit in values.values():
        of_limit["total"] = np.nansum(list(of_limit.values()))
    terms = [
        {
            **RUN,
            "quality": q,
            "limit": limit,
            "kind": str(kind),
            "matched_at": "latent-mse",
            "latent_mse_ratio": 1.25,
            "order": order,
            "term": term,
            "bpp": value,
            "bpp_low": value - 0.01,
            "bpp_high": value + 0.01,
        }
        for limit, kind in KINDS.items()
        for q in qualities
        for order in ("paper", "shapley")
        for term, value in values[limit].items()
    ]
    changes = [
        {
            **RUN,
            "limit": limit,
            "term": term,
            "latent_matched_change": -50 * value,
            "latent_matched_change_low": -55 * value,
            "latent_matched_change_high": -45 * value,
            "latent_mse_ratio_min": 1.25,
            "latent_mse_ratio_max": 1.25,
        }
        for limit in KINDS
        for term, value in values[limit].items()
    ]
    estimators = (
        ("codec", Information.DECODABLE, 1.0),
        ("element", Information.GENIE, 0.6),
        ("channel", Information.DECODABLE, 1.1),
        ("searched-channel", Information.DECODABLE, 1.0976),
    )
    gaps = [
        {
            **RUN,
            "component": "variance",
            "estimator": name,
            "information": str(information),
            "quality": q,
            "bpp": q * share,
            "per_latent": 8 * q * share,
        }
        for name, information, share in estimators
        for q in qualities
    ]
    latents = [
        {
            **RUN,
            "image": image,
            "quality": q,
            "width": 70,
            "height": 50,
            "pixels": 3500,
            "bytes": 437.5 * q,
            "psnr": 28.0 + q,
            "latent_bits": 3000.0 * q,
            "side_bits": 300.0,
        }
        for image in images
        for q in qualities
    ]
    image_terms = [
        {
            **RUN,
            "image": row["image"],
            "quality": row["quality"],
            "limit": limit,
            "order": "paper",
            "term": "total",
            "bpp": 0.25,
        }
        for row in latents
        for limit in KINDS
    ]
    codes = [
        {
            **RUN,
            "cell": "codec/calibrated/rounding",
            "quality": 1,
            "matched_at": "same picture",
            "psnr": 29.0,
            "predicted_bpp": 0.91,
            "real_bpp": 0.92,
            "predicted_saving": 0.0123,
            "real_saving": 0.0111,
            "remark": "",
        },
        {
            **RUN,
            "cell": "codec/codec/trellis",
            "quality": 1,
            "matched_at": "psnr",
            "psnr": 29.0015,
            "predicted_bpp": 0.93,
            "real_bpp": np.nan,
            "predicted_saving": -0.0123,
            "real_saving": np.nan,
            "remark": "one: no level has the quality",
        },
    ]
    tables = {
        "latent_decomposition": terms,
        "latent_matched": changes,
        "gaps": gaps,
        "latents": latents,
        "image_terms": image_terms,
        "codes": codes,
    }
    tables["context"] = context_table(())
    at_equal_pictures = {
        "decomposition": equal_picture_terms(RUN, KINDS, qualities),
        "ladder": ladder_table(RUN, qualities, EVIL),
    }
    return at_equal_pictures | {name: pd.DataFrame(rows) for name, rows in tables.items()}


def context_table(qualities) -> pd.DataFrame:
    """Return what context saves: 20 % of the bits, three fifths of it by the mean alone."""
    rates = {"neither": 1.25, "mean": 1.1, "variance": 1.2, "both": 1.0}
    gains = {"mean": 0.15, "variance": 0.05, "both": 0.25, "interaction": 0.05}
    rows = [
        {
            **RUN,
            "quality": q,
            "matched_at": "rounding-step",
            "quantity": quantity,
            "context": context,
            "cell": str(CONTEXT_CELLS[context]) if quantity == "rate" else "",
            "kind": str(kind_of_context(context)) if quantity == "rate" else "",
            "latent_mse_ratio": (1.0 if context in ("mean", "both") else 0.99)
            if quantity == "rate"
            else np.nan,
            "bpp": q * share,
            "bpp_low": q * share - 0.01,
            "bpp_high": q * share + 0.01,
        }
        for q in qualities
        for quantity, shares in (("rate", rates), ("gain", gains))
        for context, share in shares.items()
    ]
    return pd.DataFrame(rows, columns=list(CONTEXT_COLUMNS))


def kind_of_context(context) -> BoundKind:
    """Return the kind of a cell, by what has context."""
    return BoundKind.GENIE_AIDED if context == "variance" else BoundKind.ACHIEVABLE


def make_maps(
    images, quality, shape=(3, 4, 5), size=(50, 70), codec="c"
) -> tuple[xr.Dataset, list[xr.Dataset]]:
    """Return what ``map_latents`` stores of some images: the root, and a group for each image.

    ``shape`` is (channel, row, column) of the latents, ``size`` the height and width of the images.
    """
    cells = [
        str(CellId("codec", variance, quantizer))
        for variance in ("codec", "element")
        for quantizer in ("rounding", "test-channel")
    ]
    generator = np.random.default_rng(quality)
    spent = generator.gamma(20.0, quality, (len(images), *shape[1:]))
    bits = np.stack([spent * share for share in (1.0, 0.8, 0.7, 0.5)])
    channels = bits.sum((2, 3))[..., None] * 2.0 ** -np.arange(1, shape[0] + 1)
    moments = np.tile(4.0 ** -np.arange(shape[0]) * quality, (len(images), 1))
    sums = np.ones((len(images), 3, len(SCALE_EDGES) - 1)) * 20 * shape[1] * shape[2]
    counts = np.full((len(images), len(CLASS_EDGES) + 1, len(RESIDUAL_EDGES) - 1), 9)
    sizes = {"stride": 16, "height": size[0], "width": size[1]}
    area = size[0] * size[1] * np.array(AREAS)
    by_content = bits.sum((2, 3))[..., None] * np.array(BITS_BY_CONTENT)
    by_content[1:] *= np.array([1.0, 0.9, 0.8])  # gaps of their own for each class
    root = xr.Dataset(
        {
            "bits": (("cell", "image", "channel"), channels),
            "unplaced": (("cell", "image"), np.zeros(channels.shape[:2])),
            "level": (("cell", "image", "channel"), np.full(channels.shape, 0.08)),
            "count": (("image", "channel"), np.full(channels.shape[1:], shape[1] * shape[2])),
            "second_moment": (("image", "channel"), moments),
            "predicted": (("image", "channel"), moments * 1.1),
            "calibration": (("image", "sum", "scale_bin"), sums),
            "residuals": (("image", "scale_class", "bin"), counts),
            "content_pixels": (("image", "content"), np.tile(area, (len(images), 1))),
            "content_bits": (("cell", "image", "content"), by_content),
            "content_error": (("image", "content"), np.tile(area * 65.025, (len(images), 1))),
            "content_latent_error": (("cell", "image", "content"), by_content[::-1]),
            **{name: ("image", [value] * len(images)) for name, value in sizes.items()},
        },
        {
            "cell": cells,
            "level_kind": ("cell", ["step", "theta"] * 2),
            "kind": ("cell", MAP_KINDS),
            "image": list(images),
            "sum": ["count", "r2", "sigma2"],
            "content": ["smooth", "texture", "edges"],
            **RUN,
            "codec": codec,
            "quality": quality,
        },
    )
    file = np.frombuffer(webp(generator, size), np.uint8)
    groups = [
        xr.Dataset(
            {
                "bits": (("cell", "row", "column"), bits[:, i]),
                "mse": (("error_row", "error_column"), squared_error(size, quality)),
                "original": ("a", file),
                "decoded": ("b", file),
            }
        )
        for i in range(len(images))
    ]
    return root, groups


def squared_error(size, quality):
    """Return the mean squared error of squares of 16 pixels, which grows to the lower right."""
    rows, columns = (-(-side // 16) for side in size)
    return np.add.outer(np.arange(rows), np.arange(columns)) * 100.0 / quality


def webp(generator, size) -> bytes:
    """Return a smooth image, which is not trivial to compress, as WebP."""
    low = generator.integers(0, 255, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(low).resize(size[::-1], Image.Resampling.BICUBIC)
    image.save(buffer, "WEBP", quality=70)
    return buffer.getvalue()


def without_intervals(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return tables in which no interval is known, as with one image."""
    return {
        name: table.assign(**{key: np.nan for key in table if key.endswith(("_low", "_high"))})
        for name, table in tables.items()
    }


def make_page(
    images=("one", EVIL),
    qualities=(1, 2),
    codecs=("c",),
    shape=(3, 4, 5),
    size=(50, 70),
    tables=None,
) -> str:
    """Return the complete page, with the same tables under the names of some codecs."""
    tables = tables or make_tables(images, qualities)
    runs = [page.run_content("d", codec, tables, LIMITS) | {"folder": "f"} for codec in codecs]
    products = [
        make_maps(images, quality, shape, size, codec) for codec in codecs for quality in qualities
    ]
    shown = pictures.collect(products, LIMITS)
    entry = {"width": 70, "height": 50, "conversion": "none", "sha256": "0" * 64}
    manifest = {
        "images": [{"name": name, **entry} for name in images],
        "quarantined": [{"name": EVIL, "error": f"{EVIL}: broken"}],
        "remarks": [f"{EVIL} is a copy"],
    }
    config = {
        "matching": "image",
        "datasets": {"d": {"args": {"root": f"{EVIL} xargs -0"}}},
        "limits": {name: cell.selector() for name, cell in LIMITS.items()},
    }
    stage = {"stage": "map_latents", "jobs": 2, "seconds": 3.25, "longest": 2.0, "memory": 400.0}
    provenance = {
        "command": f"snakemake --configfile '{EVIL}' -0",
        "commit": "0123abcd",
        "machine": "Linux",
        "versions": {"torch": "2"},
        "times": [stage],
    }
    return page.render(runs, shown, {"d": manifest}, config, provenance)


def make_kodak_page() -> str:
    """Return a page as large as that of two codecs on Kodak at eight qualities."""
    images = [f"kodim{i:02}" for i in range(1, 25)]
    return make_page(images, range(1, 9), ("c", "other"), shape=(144, 32, 48), size=(267, 400))
