"""Jobs as forks of one process: descriptors, environment, status, and who ends with whom."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdpipe.core import forkserver
from rdpipe.core.forkserver import VARIABLE

SERVER = """
import os, socket, sys, time
from pathlib import Path
from rdpipe.core import forkserver

server = os.getpid()

def run(arguments):
    match arguments:
        case ["say", text]:
            print(text)
            print(os.getcwd(), os.environ["PATH"], os.environ.get(forkserver.VARIABLE))
            print(sys.stdin.read(), file=sys.stderr)
            return 3
        case ["server"]:
            print(server, os.getpid() != server)
            return 0
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
        case ["fail"]:
            raise KeyError("unexpected")
        case ["sleep", file]:
            try:
                Path(file).write_text(str(os.getpid()))
                time.sleep(60)
            finally:
                Path(file).with_name("cleaned").touch()
        case ["deaf", file]:
            import signal
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            Path(file).write_text(str(os.getpid()))
            time.sleep(60)

forkserver.GRACE = 0.5
forkserver.serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), run)
"""
OWNER = """
import os, sys
from rdpipe.core import forkserver

forkserver.start([sys.executable, "-c", sys.argv[1]])
print(os.environ.get(forkserver.VARIABLE), flush=True)
sys.stdin.read()
"""
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
CLIENT = """
import signal, sys
from rdpipe.core import forkserver

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it
status = forkserver.request(sys.argv[1:])
sys.exit("cold" if status is None else status)
"""


def start_owner(server=SERVER, **environment):
    """Start a process that owns a server; return it and the path of the socket."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**ENVIRONMENT, **environment},
    )
    return owner, owner.stdout.readline().strip()


@pytest.fixture(scope="module")
def path():
    owner, path = start_owner()
    yield path
    owner.communicate("")


def client(path, *arguments, **options):
    """Start a process that asks the server for a job."""
    environment = {**ENVIRONMENT, VARIABLE: path, **options.pop("environment", {})}
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def wait_until(condition):
    """Wait until a condition holds, for half a minute at most."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def runs(process):
    """Return whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_job_has_descriptors_folder_and_environment_of_who_asks(path, tmp_path):
    process = client(path, "say", "ä" * 60_000, cwd=tmp_path, environment={"PATH": "/mine"})
    out, err = process.communicate("typed")
    assert out.splitlines() == ["ä" * 60_000, f"{tmp_path} /mine None"]
    assert (process.returncode, err) == (3, "typed\n")


def test_all_jobs_are_forks_of_one_process(path):
    changed = {"OMP_NUM_THREADS": "7", "TMPDIR": "/elsewhere"}
    printed = {
        client(path, "server", environment=environment).communicate()[0]
        for environment in ({}, {}, changed)
    }
    assert len(printed) == 1
    assert printed.pop().endswith(" True\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_that_ends_a_job_ends_the_process_that_waits(path, number):
    process = client(path, "signal", str(int(number)))
    process.communicate()
    assert process.returncode == -number


def test_an_unexpected_error_has_its_traceback_and_status_1(path):
    process = client(path, "fail")
    assert "KeyError: 'unexpected'" in process.communicate()[1]
    assert process.returncode == 1
    assert client(path, "server").communicate()[0]  # the server goes on


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["sleep", "deaf"])
def test_a_job_ends_with_the_process_that_asked_for_it(path, tmp_path, number, kind):
    """It is interrupted, so that it can remove its temporary files; killed if it goes on."""
    file = tmp_path / "pid"
    process = client(path, kind, str(file))
    wait_until(lambda: file.is_file() and file.read_text())
    job = int(file.read_text())
    assert runs(job)
    process.send_signal(number)
    process.communicate()
    if number == signal.SIGINT:  # who was asked to end has waited for the job
        assert not runs(job)
        assert process.returncode == -(signal.SIGINT if kind == "sleep" else signal.SIGKILL)
    wait_until(lambda: not runs(job))
    assert (tmp_path / "cleaned").exists() == (kind == "sleep")


def test_a_job_goes_on_without_the_server_and_its_status_is_a_failure(tmp_path):
    """Who asked waits for it, so that no second copy of the job runs beside it."""
    owner, path = start_owner()
    server = int(client(path, "server").communicate()[0].split()[0])
    file = tmp_path / "pid"
    process = client(path, "sleep", str(file))
    wait_until(lambda: file.is_file() and file.read_text())
    job = int(file.read_text())
    os.kill(server, signal.SIGKILL)
    time.sleep(0.3)
    assert runs(job) and process.poll() is None
    os.kill(job, signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    folder = Path(path).parent
    assert folder.exists()
    owner.communicate("")
    assert not folder.exists()  # the owner removes it, too


def test_jobs_that_run_at_the_same_time_each_have_their_status(path, tmp_path):
    files = [tmp_path / f"{i}/pid" for i in range(3)]
    for file in files:
        file.parent.mkdir()
    processes = [client(path, "sleep", str(file)) for file in files]
    for file in files:
        wait_until(lambda file=file: file.is_file() and file.read_text())
    jobs = [int(file.read_text()) for file in files]
    os.kill(jobs[1], signal.SIGTERM)
    processes[1].communicate()
    assert processes[1].returncode == -signal.SIGTERM
    processes[0].kill()
    processes[0].communicate()
    wait_until(lambda: not runs(jobs[0]))
    assert runs(jobs[2]) and processes[2].poll() is None
    processes[2].send_signal(signal.SIGINT)
    processes[2].communicate()
    assert processes[2].returncode == -signal.SIGINT


def test_a_process_that_ends_before_it_asks_does_no_harm(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
    assert client(path, "server").communicate()[0].endswith(" True\n")


@pytest.mark.parametrize(
    "name, value", [("PYTHONHASHSEED", "5"), ("ATEN_CPU_CAPABILITY", "default")]
)
def test_a_job_with_another_environment_is_no_fork_and_says_so(path, name, value):
    printed = client(path, "server", environment={name: value}).communicate()
    assert printed == ("", f"not a fork of the fork server: another value of {name}\ncold\n")


def test_a_job_of_another_python_is_no_fork(path, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    root = Path(forkserver.__file__).parents[2]
    process = subprocess.run(
        [tmp_path / "bin/python", "-c", CLIENT, "server"],
        env={**ENVIRONMENT, VARIABLE: path, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert "another value of PYTHONPATH, the environment of Python" in process.stderr


def test_a_job_starts_cold_without_a_server(path, tmp_path):
    for changed in ("", str(tmp_path / "none")):
        process = client(path, "server", environment={VARIABLE: changed})
        assert process.communicate() == ("", "cold\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_with_its_owner_and_removes_its_socket(number):
    owner, path = start_owner()
    server = int(client(path, "server").communicate()[0].split()[0])
    owner.send_signal(number)
    owner.communicate()
    wait_until(lambda: not runs(server))
    assert not Path(path).parent.exists()
    assert client(path, "server").communicate()[1] == "cold\n"


def test_jobs_wait_for_a_server_that_still_imports_and_start_cold_if_it_fails():
    owner, path = start_owner("import time; time.sleep(1)\n" + SERVER)
    assert client(path, "server").communicate()[0].endswith(" True\n")
    owner.communicate("")
    owner, path = start_owner("import time; time.sleep(1); raise SystemExit('broken')")
    assert client(path, "server").communicate() == ("", "cold\n")
    owner.communicate("")


def test_no_server_starts_where_the_path_of_a_socket_is_too_long(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    owner, path = start_owner(TMPDIR=str(folder))
    owner.communicate("")
    assert path == "None"
    assert list(folder.iterdir()) == []


def test_no_server_starts_on_another_system(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delenv(VARIABLE, raising=False)
    forkserver.start(["false"])
    assert VARIABLE not in os.environ
