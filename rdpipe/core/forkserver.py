"""A process that has imported the stages and forks for each job, so that jobs start at once.

Importing PyTorch and the stages takes seconds, more than many jobs need. A run of the workflow
:func:`starts <start>` one server, which :func:`imports them once <serve>`; a job then
:func:`asks <request>` it for a fork, and ends with the status of the fork. The fork has the
descriptors, the working directory and the environment of the process that asks. It is interrupted
when that process is interrupted or ends. The server ends with the process that has started it::

    Snakemake ---- starts ----> server
       | starts                   | forks
    shell, request <--status--- job
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

VARIABLE = "RDPIPE_FORK_SERVER"
"""Environment variable with the path of the server's socket; empty if jobs import by themselves."""
OF_A_JOB = frozenset(
    f"PATH PWD OLDPWD PS1 SHLVL _ TMPDIR TMP TEMP TEMPDIR CUDA_VISIBLE_DEVICES {VARIABLE}".split()
)
"""Environment variables that a shell, Snakemake or a rule sets for a job."""
STARTED = "started"
"""Reply of the server to a request that it accepts; otherwise it replies why it does not."""
GRACE = 5.0
"""Time that a job has to end after an interrupt, s."""


def start(command: Sequence[str]) -> None:
    """Start a server, and name it in the environment of this process and of its children.

    There is no server on systems other than Linux, where a fork of a process that has loaded
    numerical libraries may crash, and none if the path of its socket would be too long.

    Parameters
    ----------
    command : sequence of str
        A command that calls :func:`serve`, to which two descriptors are appended: the listening
        socket, and a pipe that closes when this process ends.
    """
    if sys.platform != "linux":
        return
    folder = tempfile.mkdtemp(prefix="rdpipe-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
        except OSError:  # the path is too long
            return
        listener.listen(socket.SOMAXCONN)
        owned, _owner = os.pipe()  # the other end stays open for as long as this process runs
        descriptors = [listener.fileno(), owned]
        subprocess.Popen(
            [*command, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # without a server, jobs report the error
            start_new_session=True,  # an interrupt from the keyboard comes through the requests
        )
        os.close(owned)
    os.environ[VARIABLE] = path


def serve(listener: socket.socket, owned: int, run: Callable[[list[str]], int]) -> None:
    """Fork for each request until the owner of the server ends.

    Parameters
    ----------
    listener : socket.socket
    owned : int
        Descriptor of a pipe that closes when the owner ends.
    run : callable
        What a job does with its arguments; returns an exit status.

    Raises
    ------
    SystemExit
        In the process of a job, with its exit status.
    """
    gc.freeze()  # no collection copies the pages that all jobs share
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
    jobs: dict[int, socket.socket] = {}
    while owned not in (ready := select.select([listener.fileno(), owned, ended], [], [])[0]):
        if ended in ready:
            os.read(ended, 1024)
            _report_ended(jobs)
        if listener.fileno() not in ready:
            continue
        connection, _ = listener.accept()
        job = os.fork()
        if job == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (listener, *jobs.values()):
                other.close()
            for descriptor in (owned, ended, wake):
                os.close(descriptor)
            _run_job(connection, run)
        jobs[job] = connection
    shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)


def _report_ended(jobs: dict[int, socket.socket]) -> None:
    """Send the wait status of each job that has ended to the process that asked for it."""
    for job in list(jobs):
        ended, status = os.waitpid(job, os.WNOHANG)
        if ended:
            with (
                jobs.pop(job) as connection,
                contextlib.suppress(OSError),
            ):  # that process has ended
                connection.sendall(f"{status}\n".encode())


def _run_job(connection: socket.socket, run: Callable[[list[str]], int]) -> NoReturn:
    """Run the job of a request in this process."""
    try:
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        with connection.makefile("r") as stream:
            message = json.loads(stream.readline())
        refusal = _refusal(message)
        connection.sendall(f"{refusal or STARTED}\n".encode())
    except (OSError, ValueError):  # the process that asks has ended
        os._exit(1)
    if refusal:
        os._exit(1)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["environment"])
    del os.environ[VARIABLE]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also if Snakemake ignores it
    threading.Thread(target=_end_with_request, args=(connection,), daemon=True).start()
    raise SystemExit(run(message["arguments"]))


def _end_with_request(connection: socket.socket) -> None:
    """Interrupt this process when the process that has asked for it is interrupted or ends."""
    with contextlib.suppress(ConnectionError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _identity(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a job and the server have to share: Python, the package and the environment.

    Numbers of threads are not part of it: only jobs that set their own ask.
    """
    shared = {
        name: value
        for name, value in environment.items()
        if name not in OF_A_JOB and not name.endswith("_THREADS")
    }
    return {"the environment of Python": sys.prefix, "the package": __file__, **shared}


def _refusal(message: Mapping[str, Any]) -> str:
    """Return why a request is refused; empty if it is accepted."""
    here, there = _identity(os.environ), message["identity"]
    names = here.keys() | there.keys()
    different = sorted(name for name in names if here.get(name) != there.get(name))
    return f"another value of {', '.join(different)}" if different else ""


def request(arguments: Sequence[str]) -> int | None:
    """Run a job in a fork of the server, and wait for it.

    An interrupt is passed on to the job. If a signal ends the job, it ends this process, too.

    Parameters
    ----------
    arguments : sequence of str

    Returns
    -------
    int, optional
        The exit status of the job. None if it did not start: there is no server, or the job must
        not be a fork of it, which is said on standard error.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    message = {
        "arguments": list(arguments),
        "folder": os.getcwd(),
        "identity": _identity(os.environ),
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [b"\0"], [0, 1, 2])
            connection.sendall(json.dumps(message).encode() + b"\n")
            stream = connection.makefile("r")
            reply = stream.readline().rstrip()
        except OSError:
            return None
        if reply != STARTED:
            if reply:
                print(f"not a fork of the fork server: {reply}", file=sys.stderr)
            return None
        try:
            status = stream.readline()
        except KeyboardInterrupt:
            connection.shutdown(socket.SHUT_WR)
            status = stream.readline()
    code = os.waitstatus_to_exitcode(int(status or signal.SIGKILL))  # without the server, unknown
    if code < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback of this process
        os.kill(os.getpid(), -code)
    return code
