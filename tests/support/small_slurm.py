"""A SLURM with two nodes on this machine, from the packages of Debian.

It needs no root, no systemd and no cgroups, and leaves no files.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

DAEMONS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
}
"""Required commands, and the packages that contain them."""
CLIENTS = ("sinfo", "squeue", "sbatch", "srun", "scancel", "scontrol", "sacct")

CONF = """
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
{communication}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
CompleteWait=0
KillWait=2
SlurmdTimeout=15
ReturnToService=2
EnforcePartLimits=ALL
MinJobAge=3600
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/none
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=4 RealMemory=16000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=4 RealMemory=16000
PartitionName=main Nodes=ALL Default=YES DefMemPerCPU=200 DefaultTime=10 MaxTime=INFINITE State=UP
"""


def with_daemons() -> str:
    """Return the PATH with the folders of Debian's daemons."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def missing_packages() -> list[str]:
    """Return the required packages that are not installed."""
    path = with_daemons()
    return [package for name, package in DAEMONS.items() if not shutil.which(name, path=path)]


def free_ports(count: int) -> list[int]:
    """Return free ports."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def configure(folder: Path, environment: dict[str, str]) -> None:
    """Write the configuration, the key, and commands that use this configuration."""
    host = socket.gethostname().split(".")[0]
    try:
        local = socket.gethostbyname(host) == "127.0.0.1"
    except OSError:
        local = False
    settings = dict(zip(("controller", "first", "second"), free_ports(3), strict=True))
    settings |= {"host": host, "user": getpass.getuser(), "folder": folder}
    settings["communication"] = (
        "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny" if local else ""
    )
    (folder / "slurm.conf").write_text(CONF.format(**settings))
    version = subprocess.run(
        ["sinfo", "-V"], env=environment, text=True, capture_output=True
    ).stdout
    plugin = (
        "disabled" if version.split()[1] >= "23.02" else "cgroup/v1"
    )  # either touches no cgroup
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    for name in ("state", "node1", "node2", "bin"):
        (folder / name).mkdir()
    for name in CLIENTS:  # the plugin removes all SLURM_* from the environment
        command = folder / "bin" / name
        call = f'SLURM_CONF={folder}/slurm.conf exec {shutil.which(name)} "$@"'
        command.write_text(f"#!/bin/sh\n{call}\n")
        command.chmod(0o755)


@contextmanager
def small_slurm():
    """Start a SLURM; yield the folder of its commands, for the PATH.

    Raises
    ------
    TimeoutError
        If its nodes are not idle within a minute; the message contains the logs of the daemons.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a short path, for the socket
    folder.chmod(0o711)  # munged requires that anyone can reach its socket
    environment = {**os.environ, "PATH": with_daemons(), "SLURM_CONF": f"{folder}/slurm.conf"}
    started = []

    def start(*command):
        with (folder / f"{len(started)}.log").open("w") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    try:
        configure(folder, environment)
        munge_files = {
            "--socket": "munge.sock",
            "--key-file": "munge.key",
            "--pid-file": "munged.pid",
            "--log-file": "munged.log",
            "--seed-file": "seed",
        }
        flags = [part for flag, name in munge_files.items() for part in (flag, f"{folder}/{name}")]
        start("munged", "-F", *flags)
        wait(folder, lambda: (folder / "munge.sock").exists())
        start("slurmctld", "-D")
        start("slurmd", "-D", "-N", "node1")
        start("slurmd", "-D", "-N", "node2")
        wait(folder, lambda: idle(folder) == ["idle", "idle"])
        yield folder / "bin"
    finally:
        if (folder / "bin/scancel").exists():
            subprocess.run([folder / "bin/scancel", "--me"], capture_output=True, timeout=60)
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        end_jobs(folder)
        shutil.rmtree(folder, ignore_errors=True)


def end_jobs(folder: Path) -> None:
    """End processes that jobs left on a lost node: those with this SLURM's commands on the PATH."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if bytes(folder / "bin") in environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)
        except OSError:  # it has ended, or belongs to another user
            continue


def idle(folder: Path) -> list[str]:
    """Return the states of the nodes."""
    command = [folder / "bin/sinfo", "-h", "-N", "-o", "%t"]
    return subprocess.run(command, text=True, capture_output=True, timeout=30).stdout.split()


def wait(folder: Path, condition, seconds: float = 60) -> None:
    """Wait until ``done()`` is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(log.read_text()[-2000:] for log in sorted(folder.glob("*.log")))
            raise TimeoutError(f"SLURM did not start: {logs}")
        time.sleep(0.2)
