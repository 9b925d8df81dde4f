"""The machine that a measurement ran on: processor, clocks, memory and limits, as far as the operating system tells.

Functions that read Linux's `/proc` and `/sys` take the folder they lie in, so that the trees of other machines can be
tested; what is not told is None.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/")
# Instructions that decide how fast matrix work is, as Linux spells them on x86-64 and on Arm.
INSTRUCTION_SETS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8", "amx_tile",
    "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes "no limit" as the largest multiple of the page size


def operating_system() -> dict[str, Any]:
    """Name, distribution, kernel and C library; no host name."""
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "version": platform.version(),
        "distribution": _distribution(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "virtual_machine": virtual_machine(ROOT),
        "container": container(ROOT),
    }


def cpu(root: Path = ROOT) -> dict[str, Any]:
    """Model, cores and clocks; `usable_cores` is the affinity of this process, `quota_cores` the cgroup's CPU limit."""
    return {
        "model": cpu_model(root),
        "architecture": platform.machine(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(logical=True),
        "usable_cores": _usable_cores(),
        "quota_cores": quota_cores(root),
        "instruction_sets": instruction_sets(root),
        "governor": governor(root),
        "turbo": turbo(root),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def memory(root: Path = ROOT) -> dict[str, Any]:
    """Memory of the machine, what of it was free to take, and the cgroup's limit, all in bytes."""
    facts = psutil.virtual_memory()
    return {"total_bytes": facts.total, "available_bytes": facts.available, "limit_bytes": memory_limit_bytes(root)}


def cpu_model(root: Path = ROOT) -> str | None:
    """The processor's marketing name; on an Arm board without one, the board's."""
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    elif sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    else:
        return _cpuinfo(root, "model name") or (_read(root / "proc/device-tree/model") or "").strip("\0\n") or None


def instruction_sets(root: Path = ROOT) -> list[str] | None:
    """Those of INSTRUCTION_SETS that the processor has."""
    flags = (_cpuinfo(root, "flags") or _cpuinfo(root, "Features") or "").split()
    return [name for name in INSTRUCTION_SETS if name in flags] if flags else None


def virtual_machine(root: Path = ROOT) -> bool | None:
    """Whether an x86 processor says that a hypervisor runs it."""
    flags = _cpuinfo(root, "flags")
    return None if flags is None else "hypervisor" in flags.split()


def governor(root: Path = ROOT) -> str | None:
    """The CPU frequency governor; several are joined by commas."""
    files = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    return ",".join(sorted({text.strip() for file in files if (text := _read(file))})) or None


def turbo(root: Path = ROOT) -> bool | None:
    """Whether the processor may exceed its nominal clock."""
    if (forbidden := _read(root / "sys/devices/system/cpu/intel_pstate/no_turbo")) is not None:
        return forbidden.strip() == "0"
    allowed = _read(root / "sys/devices/system/cpu/cpufreq/boost")
    return None if allowed is None else allowed.strip() == "1"


def quota_cores(root: Path = ROOT) -> float | None:
    """CPU time per time that the tightest enclosing cgroup (v1 or v2) allows; None without a limit."""
    limits = [
        int(quota) / int(period)
        for text in _cgroup_files(root, "", "cpu.max")
        for quota, period in [text.split()]
        if quota != "max"
    ]
    quotas = _cgroup_files(root, "cpu", "cpu.cfs_quota_us")
    periods = _cgroup_files(root, "cpu", "cpu.cfs_period_us")
    limits += [int(quota) / int(period) for quota, period in zip(quotas, periods, strict=False) if int(quota) > 0]
    return min(limits, default=None)


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """Memory that the tightest enclosing cgroup (v1 or v2) allows; None without a limit."""
    texts = [*_cgroup_files(root, "", "memory.max"), *_cgroup_files(root, "memory", "memory.limit_in_bytes")]
    limits = [int(text) for text in texts if text.strip() != "max"]
    return min((limit for limit in limits if limit < UNLIMITED_BYTES), default=None)


def container(root: Path = ROOT) -> bool | None:
    """Whether a sign of a container was found; None where no such sign is known."""
    groups = _read(root / "proc/1/cgroup")
    if groups is None:
        return None
    return (
        any((root / file).exists() for file in (".dockerenv", "run/.containerenv"))
        or any(name in os.environ for name in ("container", "KUBERNETES_SERVICE_HOST"))
        or any(mark in groups for mark in ("docker", "containerd", "kubepods", "libpod", "lxc"))
    )


def _usable_cores() -> int | None:
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else None


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return platform.mac_ver()[0] or None


def _cpuinfo(root: Path, key: str) -> str | None:
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip() or None
    return None


def _cgroup_files(root: Path, controller: str, name: str) -> Iterator[str]:
    """Give the texts of a cgroup file from this process's group up to the root; controller "" means cgroup v2.

    Inside a container the path may be the host's, which is not mounted: the files at the root of the mount then count.
    """
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controllers
            group = mount / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(mount) and (text := _read(folder / name)):
                    yield text


def _read(path: Path) -> str | None:
    """Return the text of a file of the kernel's, None where there is none or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
