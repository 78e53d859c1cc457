"""Selection of the rows of one codec."""

import pandas as pd

from rdpipe.report.run_tables import select_run
from rdpipe.report.savings import savings


def test_run_has_its_own_rows_and_the_shared_curves():
    labels = [("c", "codec"), ("c", "source"), ("b", "codec"), ("", "baseline"), ("", "published")]
    rows = [
        {"dataset": "d", "codec": codec, "role": role, "curve": role, "kind": "achieved"}
        | {"image": "a", "quality": quality, "bpp": quality, "psnr": 30.0 + quality}
        for codec, role in labels
        for quality in (1, 2)
    ]
    points = pd.DataFrame(rows)
    rates = points.assign(codec="b")
    tables = {"points": points, "image_points": points, "bd_rates": rates}
    selected = select_run(tables, "d", "c")
    assert selected["points"]["role"].unique().tolist() == [
        "codec",
        "source",
        "baseline",
        "published",
    ]
    assert selected["bd_rates"].empty
    assert set(selected["points"]["label"]) == {"codec", "source", "baseline", "published"}
    saved = savings(selected["points"], selected["image_points"])
    assert set(saved["curve"]) == {"source", "baseline", "published"}
