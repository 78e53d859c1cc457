"""The results of a small run, with the tables that commands read."""

import pytest
from small_page import make_tables
from small_results import write_results


@pytest.fixture
def tables():
    return make_tables()


@pytest.fixture
def results(tables, tmp_path):
    return write_results(tables, tmp_path / "results")


@pytest.fixture
def labeled(tables, tmp_path):
    """The same with the labels of a config."""
    labels = {"c": "Our codec", "codec/codec/test-channel": "Ideal noise", "joint": "Joint"}
    return write_results(tables, tmp_path / "labeled", labels)
