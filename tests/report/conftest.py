"""The tables of a small run, and the page of them."""

import pytest
from small_page import make_page, make_tables


@pytest.fixture
def tables():
    return make_tables()


@pytest.fixture(scope="session")
def html():
    return make_page()
