"""What a product was made from: versions, commit, machine, times, and a digest of a stage's source files."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import rdpipe

PACKAGES = ("torch", "compressai", "imagecodecs", "numpy", "pillow", "xarray", "zarr")
ROOT = Path(__file__).parent
DATA = (".safetensors", ".j2", ".css", ".js")
"""What else than source makes a result."""
PEAK = "peak memory: {} MiB"
"""What a job that comes to its end writes to its log."""


def versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    packages = {f"version_{name}": version(name) for name in PACKAGES}
    return {"version_rdpipe": rdpipe.__version__, **packages}


def commit() -> str:
    """The commit of the source, with ``-dirty`` where it was changed since; unknown outside a clone."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a clone)"


def machine() -> str:
    """What this runs on, in words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def stage_times(benchmarks: Path, logs: Path) -> list[dict]:
    """How long each stage took and what it had of memory, from Snakemake's benchmarks and the logs beside them.

    Snakemake looks at the memory of a job's processes now and then, and misses a short peak; a job
    writes what its own was. Both are no more than the job had, so the larger counts.

    Parameters
    ----------
    benchmarks, logs : Path
        Folders of ``STAGE/**/*.jsonl`` and of logs of the same names.

    Returns
    -------
    list of dict
        ``stage``, ``jobs``, ``seconds`` in all, ``longest`` of a job and most ``memory``, MiB.
    """
    jobs: dict[str, list[dict]] = {}
    for file in sorted(benchmarks.rglob("*.jsonl")):
        name = file.relative_to(benchmarks).with_suffix("")
        for line in file.read_text().splitlines()[-1:]:
            job = {key: _number(value) for key, value in json.loads(line).items()}
            memory = max(job.get("max_rss", 0), _peak(logs / f"{name}.log"))
            jobs.setdefault(name.parts[0], []).append({"s": job.get("s", 0), "memory": memory})
    return [
        {"stage": stage, "jobs": len(done), "seconds": sum(one["s"] for one in done),
         "longest": max(one["s"] for one in done), "memory": max(one["memory"] for one in done)}
        for stage, done in jobs.items()
    ]  # fmt: skip


def _number(value) -> float:
    """A benchmark's number; 0 where a short job left none."""
    return float(value) if isinstance(value, (int, float)) else 0.0


def _peak(log: Path) -> float:
    """The peak that a job wrote to its log, MiB; 0 where it wrote none."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    said = re.findall(f"^{PEAK.format('([0-9]+)')}$", text, re.MULTILINE)
    return float(said[-1]) if said else 0.0


def source_digest(*modules: str) -> str:
    """Digest of the source of modules and of every rdpipe module that they import.

    Imports are read from the source, not executed, so this is cheap enough for a Snakefile. Weights
    and templates count with the modules that they lie beside, or below.

    Parameters
    ----------
    *modules : str
        Dotted names. Modules outside rdpipe (plugins) count with their own file only.

    Returns
    -------
    str
        Hexadecimal; the same whenever the content is the same.
    """
    seen: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and (file := _source(module)):
            seen[module] = file.read_bytes()
            if module.split(".")[0] == "rdpipe":
                waiting.extend(_imports(seen[module]))
    ours = {_source(module).parent for module in seen if module.split(".")[0] == "rdpipe"}
    for folder in ours - {ROOT}:
        for file in folder.rglob("*"):
            if file.suffix in DATA:
                seen[str(file.relative_to(ROOT))] = file.read_bytes()
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(f"{module}\0{len(seen[module])}\0".encode() + seen[module])
    return digest.hexdigest()[:16]


def _source(module: str) -> Path | None:
    if module.split(".")[0] == "rdpipe":
        path = ROOT.parent.joinpath(*module.split("."))
        candidates = (path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in candidates if file.is_file()), None)
    spec = find_spec(module)
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def _imports(source: bytes) -> list[str]:
    """Names that may be rdpipe modules: ``from rdpipe.a import b`` gives both a and a.b."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == "rdpipe"]
