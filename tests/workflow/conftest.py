"""The small project, run for real once."""

import pytest
from small_project import CONFIG, Project, run_project


@pytest.fixture(scope="session")
def new_project():
    """A project in a folder, not yet run."""
    return Project


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The project after one complete run."""
    return run_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(autouse=True)
def same_config_for_every_test(request):
    yield
    if "project" in request.fixturenames:
        request.getfixturevalue("project").configure(CONFIG)
