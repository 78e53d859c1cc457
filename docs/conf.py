"""Configuration of the Sphinx site: `make docs`."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import config_reference  # noqa: E402  # needs the path above

import rdpipe  # noqa: E402

project = "rdpipe"
author = copyright = "the rdpipe developers"
version = release = rdpipe.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
root_doc = "index"
exclude_patterns = ["_build"]
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"rdpipe {version}"
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the docstrings
numpydoc_show_class_members = False
add_module_names = False


def write_config_reference(app) -> None:
    """Write the page on the keys of the config from the schema."""
    page = DOCS / "reference" / "config.md"
    text = config_reference.render(DOCS.parent / "workflow" / "schema.yaml")
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def skip_signature_of_data(app, kind, name, value, options, arguments, returned):
    """Give type aliases no signature: numpydoc would take that of the aliased class."""
    return (None, None) if kind in ("attribute", "data") else None


def setup(app) -> None:
    """Connect the functions of this module."""
    app.connect("builder-inited", write_config_reference, priority=100)
    app.connect("autodoc-process-signature", skip_signature_of_data, priority=100)
