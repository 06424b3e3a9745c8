# SPDX-License-Identifier: Apache-2.0
"""What there is to know of the machine that was measured, as far as Linux says it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# Where the kernel does not say: sizes below which every current server core stays.
UNKNOWN_CACHES = {"L2": 512 * 1024, "L3": 32 * 1024**2}


def caches() -> dict[str, int]:
    """Bytes of the data caches that cpu0 sees, by level: "L1", "L2", "L3"."""
    found: dict[str, int] = {}
    for index in sorted(CACHES.glob("index*")):
        try:
            kind, level = (index / "type").read_text().strip(), (index / "level").read_text().strip()
            size = re.fullmatch(r"(\d+)([KM]?)", (index / "size").read_text().strip())
        except OSError:
            continue
        if kind != "Instruction" and size:
            found[f"L{level}"] = int(size[1]) * {"": 1, "K": 1024, "M": 1024**2}[size[2]]
    return found or dict(UNKNOWN_CACHES)


def describe() -> dict[str, Any]:
    """CPU, cores this process may use, caches, memory, system and Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
        cpu = found[1].strip()
    model = [re.search(rf"^{key}\s*:\s*(\d+)$", text, re.MULTILINE) for key in ("cpu family", "model", "stepping")]
    return {
        "cpu": cpu,
        "family_model_stepping": [int(m[1]) for m in model if m],
        "cores": len(os.sched_getaffinity(0)),
        "caches": caches(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def gpu() -> dict[str, str] | None:
    """Name, driver and memory of the first GPU, or None, as nvidia-smi says."""
    names = ("name", "driver_version", "memory.total", "clocks.max.sm")
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = [cell.strip() for cell in answer.strip().split(",")]
    return dict(zip(("name", "driver", "memory", "clock"), found, strict=True)) if len(found) == len(names) else None


def slug(about: dict[str, Any], threads: int) -> str:
    """Name of a results file without its suffix."""
    return re.sub(r"[^a-z0-9]+", "-", f"{about['cpu']} {threads} threads".lower()).strip("-")
