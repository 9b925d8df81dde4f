"""The environment of a run: what a reader needs to repeat a measurement, or to see why it came out differently.

`capture()` gives one JSON object:

    captured                  date and time, UTC, ISO 8601
    auricle                   version; commit, dirty (whether its source differs from the commit) in a git checkout
    python                    version, implementation, compiler
    os                        system, kernel, version, distribution, libc, virtual_machine, container
    cpu                       model, architecture, physical_cores, logical_cores, usable_cores (affinity), quota_cores
                              (cgroup), instruction_sets, governor, turbo, load_average (1, 5 and 15 minutes)
    memory                    total_bytes, available_bytes, limit_bytes (cgroup)
    variables                 those of VARIABLES that are set: thread counts, CUDA and allocator settings
    packages                  version of each installed package of PACKAGES
    cuda                      torch_cuda (what torch was built for), cudnn and runtime (wheels), toolkit (the system's)
    gpu                       driver_version, cuda_driver_version, unavailable (why NVML is), devices (gpu.GpuFacts)

What is unknown is null. Nothing in it names the user, the host, or a folder, and no other variable is read. Packages
are not imported: their versions come from their metadata.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import auricle
from auricle.bench import gpu, machine

VARIABLES = (
    "OMP_NUM_THREADS", "OMP_DYNAMIC", "OMP_PLACES", "OMP_PROC_BIND", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA", "MALLOC_ARENA_MAX", "PYTHON_GIL", "PYTHONOPTIMIZE",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING",
    "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
)  # fmt: skip
PACKAGES = (
    "av", "ctranslate2", "faster-whisper", "huggingface_hub", "jiwer", "kaldi-native-fbank", "nemo-toolkit",
    "num2words", "numpy", "nvidia-ml-py", "onnx", "onnxruntime", "onnxruntime-directml", "onnxruntime-gpu",
    "onnxruntime-openvino", "openai-whisper", "pocketsphinx", "psutil", "pyannote.audio", "rapidfuzz", "scipy",
    "sentencepiece", "sherpa-onnx", "sherpa-onnx-core", "soxr", "tensorrt", "tokenizers", "torch", "torchaudio",
    "transformers", "triton", "vllm", "whisper-normalizer",
)  # fmt: skip
CUDNN_WHEELS = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cudnn-cu11")
CUDA_RUNTIME_WHEELS = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")
CUDA_TOOLKIT = Path("/usr/local/cuda/version.json")
GIT_TIMEOUT_S = 10
GIBIBYTE = 1 << 30


def capture() -> dict[str, Any]:
    """Describe this process's surroundings now, as in the module's docstring."""
    return {
        "captured": datetime.now(UTC).isoformat(timespec="seconds"),
        "auricle": {"version": auricle.__version__, **commit_of(Path(auricle.__file__).parent)},
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "compiler": platform.python_compiler(),
        },
        "os": machine.operating_system(),
        "cpu": machine.cpu(),
        "memory": machine.memory(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "cuda": {
            "torch_cuda": _torch_cuda(),
            "cudnn": next(filter(None, map(package_version, CUDNN_WHEELS)), None),
            "runtime": next(filter(None, map(package_version, CUDA_RUNTIME_WHEELS)), None),
            "toolkit": _toolkit(),
        },
        "gpu": _gpu(),
    }


def summary(environment: dict[str, Any]) -> str:
    """Put what a capture says of the machine on one line: processor, cores, memory, GPUs."""
    cpu, memory = environment["cpu"], environment["memory"]
    cores = min(filter(None, (cpu["quota_cores"], cpu["usable_cores"], cpu["logical_cores"])))
    total_bytes = min(filter(None, (memory["limit_bytes"], memory["total_bytes"])))
    parts = [cpu["model"] or cpu["architecture"], f"{cores:g} cores", f"{total_bytes / GIBIBYTE:.0f} GiB"]
    names = [device["name"] or "unnamed GPU" for device in environment["gpu"]["devices"]]
    parts += [f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
    return ", ".join(parts)


def commit_of(package: Path) -> dict[str, Any]:
    """Return the git `commit` that the folder's files are part of and whether they differ from it (`dirty`).

    Both are None without git, outside a checkout, and for files that the surrounding checkout does not track, such as
    those in an environment's site-packages.
    """
    unknown: dict[str, Any] = {"commit": None, "dirty": None}
    if not _git(package, "ls-files", "--", "__init__.py"):
        return unknown
    commit = _git(package, "rev-parse", "HEAD")
    if not commit:
        return unknown
    changes = _git(package, "--no-optional-locks", "status", "--porcelain", "--", ".")
    return {"commit": commit.strip(), "dirty": None if changes is None else bool(changes)}


def package_version(name: str) -> str | None:
    """Return the version of an installed distribution, None when there is none of that name."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git in a folder; None where it is absent, refuses or is not done in time."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", os.fspath(folder), *arguments],
            capture_output=True,
            check=True,
            encoding="utf-8",
            errors="replace",
            env=surroundings,
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _torch_cuda() -> str | None:
    """Return the CUDA version in torch's own version file, read without importing torch."""
    try:
        text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text(encoding="utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return None
    found = re.search(r"""^cuda\b[^=]*=\s*['"]([^'"]+)""", text, flags=re.MULTILINE)
    return found[1] if found else None


def _toolkit() -> str | None:
    try:
        return str(json.loads(CUDA_TOOLKIT.read_text(encoding="utf-8"))["cuda"]["version"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _gpu() -> dict[str, Any]:
    with gpu.session() as nvml:
        return {
            "driver_version": nvml.driver_version(),
            "cuda_driver_version": nvml.cuda_driver_version(),
            "unavailable": nvml.unavailable,
            "devices": [asdict(device) for device in nvml.facts()],
        }
