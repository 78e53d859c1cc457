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
