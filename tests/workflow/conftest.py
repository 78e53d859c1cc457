"""The small project, run for real once."""

import pytest
from filelock import FileLock
from small_project import CONFIG, FIRST_RUN, Project, run_project


@pytest.fixture(scope="session")
def new_project():
    """A project in a folder, not yet run."""
    return Project


@pytest.fixture(scope="session")
def project(tmp_path_factory, worker_id, testrun_uid):
    """The project after one complete run, of which every worker has a copy."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / f"project-{testrun_uid}"
    with FileLock(f"{folder}.lock"):
        if not (folder / FIRST_RUN).exists():
            folder.mkdir()
            run_project(folder)
    return Project(tmp_path_factory.mktemp("project") / "copy", original=folder)


@pytest.fixture(autouse=True)
def same_config_for_every_test(request):
    yield
    if "project" in request.fixturenames:
        request.getfixturevalue("project").configure(CONFIG)
