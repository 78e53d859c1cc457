"""A process that has imported the stages and forks for each job, so that jobs start at once.

Importing PyTorch and the stages takes seconds, more than many jobs need. A run of the workflow
:func:`starts <start>` one server, which :func:`imports them once <serve>`; a job then
:func:`asks <request>` it for a fork of itself. Such a job has the descriptors, the working
directory and the environment of the process that asks, whose exit status is that of the job. The
server ends with the process that has started it, and a job with the process that has asked for it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

VARIABLE = "RDPIPE_FORK_SERVER"
"""Environment variable with the path of the server's socket; empty if jobs import by themselves."""
OF_A_JOB = frozenset(
    "PATH PWD OLDPWD PS1 SHLVL _ TMPDIR TMP TEMP TEMPDIR"
    f" CUDA_VISIBLE_DEVICES RDPIPE_DEBUG PYTEST_CURRENT_TEST {VARIABLE}".split()
)
"""Environment variables that no library reads when it is imported, so that a job has its own."""
STARTED, REFUSED = b"started\n", b"refused\n"
"""Replies of the server."""


def start(command: Sequence[str]) -> None:
    """Start a server, and name it in the environment of this process and of its children.

    Parameters
    ----------
    command : sequence of str
        A command that calls :func:`serve`, to which two descriptors are appended: the listening
        socket, and a pipe that closes when this process ends.
    """
    socket_path = Path(tempfile.mkdtemp(prefix="rdpipe-")) / "socket"
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(socket_path))
    except OSError:  # the path is too long for a socket: jobs import by themselves
        shutil.rmtree(socket_path.parent)
        return
    listener.listen(socket.SOMAXCONN)
    owned, _owner = os.pipe()  # the other end stays open for as long as this process runs
    passed = [listener.fileno(), owned]
    subprocess.Popen(
        [*command, *map(str, passed)],
        pass_fds=passed,
        start_new_session=True,  # an interrupt from the keyboard is for the jobs
    )
    os.close(owned)
    listener.close()
    os.environ[VARIABLE] = str(socket_path)


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
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that watch jobs
    while owned not in select.select([listener.fileno(), owned], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            os.close(owned)
            _answer(connection, run)
        connection.close()
    shutil.rmtree(Path(listener.getsockname()).parent)


def _answer(connection: socket.socket, run: Callable[[list[str]], int]) -> None:
    """Run the job of a request in a fork, and send its wait status.

    The job is terminated if the connection closes before.
    """
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    stream = connection.makefile("rwb", buffering=0)
    request = json.loads(stream.readline())
    if _shared(request["environment"]) != _shared(os.environ):
        stream.write(REFUSED)
        os._exit(0)
    stream.write(STARTED)
    job = os.fork()
    if job == 0:
        stream.close()
        connection.close()
        _become(request, descriptors)
        raise SystemExit(run(request["arguments"]))
    for descriptor in descriptors:
        os.close(descriptor)
    threading.Thread(target=_end_with_client, args=(connection, job), daemon=True).start()
    _, status = os.waitpid(job, 0)
    with contextlib.suppress(OSError):  # the client has ended
        stream.write(f"{status}\n".encode())
    os._exit(0)


def _become(request: Mapping[str, object], descriptors: Sequence[int]) -> None:
    """Give this process the descriptors, environment and directory of the one that asked for it."""
    os.setsid()  # its own group, which ends as a whole
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    del os.environ[VARIABLE]


def _end_with_client(connection: socket.socket, job: int) -> None:
    """Terminate a job when its client has ended."""
    with contextlib.suppress(ConnectionError):
        connection.recv(1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job, signal.SIGTERM)


def _shared(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that a job has to share with the server.

    Snakemake sets those for numbers of threads; whoever asks has made sure that they do not matter.
    """
    return {
        name: value
        for name, value in environment.items()
        if name not in OF_A_JOB and not name.endswith("_THREADS")
    }


def request(arguments: Sequence[str]) -> int | None:
    """Run a job in a fork of the server, and wait for it.

    If a signal ends the job, the same signal ends this process.

    Parameters
    ----------
    arguments : sequence of str

    Returns
    -------
    int, optional
        The exit status of the job. None if it did not start: there is no server, or its environment
        is another one.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    message = {
        "arguments": list(arguments),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [b"\0"], [0, 1, 2])
            connection.sendall(json.dumps(message).encode() + b"\n")
            stream = connection.makefile("rb")
            reply = stream.readline()
        except OSError:
            return None
        if reply != STARTED:
            return None
        status = int(stream.readline() or signal.SIGKILL)  # who should send it was killed
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) == signal.SIGINT:  # without a traceback of this process
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)
