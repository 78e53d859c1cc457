"""The table of predicted and real bytes on the page."""

import re

import jinja2
import numpy as np
import pytest

from rdpipe.report.page import TEMPLATES

SOURCE = '{% import "macros.html.j2" as show %}{% include "tables.html.j2" %}'
CODE = {
    "cell": "codec/channel/rounding",
    "label": "codec/channel/rounding",
    "quality": 1,
    "matched_at": "same picture",
    "psnr": 29.0,
    "predicted_bpp": 0.91,
    "real_bpp": 0.92,
    "predicted_saving": 0.0123,
    "real_saving": 0.0111,
    "remark": "",
}


@pytest.fixture
def render():
    """A function that returns the part of the page with the tables of a run."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    run = {"index": 0, "images": 1, "limits": [], "per_image": []}

    def render(codes, config):
        page = environment.from_string(SOURCE)
        return page.render(run={**run, "codes": codes}, config=config, SHOWN=10)

    return render


def cells_of(html):
    """Return the texts of the cells of the first row of the table."""
    (row, *_) = re.findall(r"<tr><th class=\"text\" scope=\"row\">.*?</tr>", html)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_missing_prediction_is_empty_and_has_its_remark(render):
    missing = {"predicted_bpp": np.nan, "predicted_saving": np.nan, "remark": "no prediction"}
    html = render([CODE | missing], {"bitstream": True})
    assert "nan" not in html.lower() and "remark</th>" in html
    expected = ["1", "same picture", "29.00", "", "0.9200", "", "+0.0111", "no prediction"]
    assert cells_of(html) == expected
    assert cells_of(render([CODE], {}))[3:] == ["0.9100", "0.9200", "+0.0123", "+0.0111", ""]


def test_page_says_that_there_are_no_real_bytes_only_if_they_were_asked_for(render):
    sentence = "the codec does not decode without the image"
    assert sentence in render([], {"bitstream": True})
    assert sentence not in render([], {"bitstream": False}) and sentence not in render([], {})
    assert sentence not in render([CODE], {"bitstream": True})
