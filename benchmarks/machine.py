"""What every benchmark says and keeps: the machine, the versions, the date, the memory of a process, the result."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def cpu_name() -> str:
    """Name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine(*packages: str) -> dict[str, Any]:
    """What the numbers were measured on; packages that are not installed have no version.

    Args:
        packages: those whose versions matter.
    """
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    git = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit.stdout.strip() or None,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def machine_with_torch(threads: int, device: str, *packages: str) -> dict[str, Any]:
    """The same, with the number of threads that torch uses (0: its own choice) and the device."""
    import torch

    return {
        **machine("torch", *packages),
        "threads": threads or torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
    }


def footer(result: dict[str, Any]) -> str:
    """The line below a table that says on what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    threads = f", {result['threads']} threads" if "threads" in result else ""
    return f"{result['cpu']}, {result['cores']} cores{threads}, load {result['load'][0]}, {versions}, {result['date']}"


def memory_mib(what: str = "VmRSS") -> float:
    """Return the memory of this process in MiB; pages of mapped files count while they are resident.

    Args:
        what: `VmRSS` now, `VmHWM` the most so far, `RssAnon` now and without files.
    """
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(rf"^{what}:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise OSError(f"the system does not tell {what}")
    return int(found[1]) / 1024


def in_fresh_process(script: str, *words: object) -> Any:
    """Run a script of this folder with some words in a new process; return the JSON that it prints."""
    command = [sys.executable, script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def finish(result: dict[str, Any], text: str, name: str, as_json: bool, save: bool) -> None:
    """Print a result, and keep it.

    Args:
        result: the numbers.
        text: the same as a table.
        name: of the file in `benchmarks/results`, without `.json`.
        as_json: print the numbers instead of the table.
        save: whether it is kept.
    """
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2) if as_json else text)
