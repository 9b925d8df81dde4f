"""The GPU module against a stand-in for NVIDIA's driver library, because most machines that run the tests have none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from auricle.bench import gpu
from auricle.errors import UsageError

DRIVER = r"""
#include <string.h>
enum { SUCCESS = 0, NOT_SUPPORTED = 3, GPU_IS_LOST = 15 };
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilisation;
static int opened = 0, readings = 0;
int nvmlInitWithFlags(unsigned int flags) { opened++; return SUCCESS; }
int nvmlShutdown(void) { opened--; return SUCCESS; }
int opened_sessions(void) { return opened; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { strcpy(text, "580.95.05"); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13010; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) { *handle = &opened; return SUCCESS; }
int nvmlDeviceGetName(void *gpu, char *text, unsigned int size) { strcpy(text, "Stand-in GPU"); return SUCCESS; }
int nvmlDeviceGetCudaComputeCapability(void *gpu, int *major, int *minor) { *major = 9; *minor = 0; return SUCCESS; }
int nvmlDeviceGetMemoryInfo(void *gpu, Memory *memory) {
    memory->total = 1ULL << 40; memory->used = 3ULL << 30; return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(void *gpu, unsigned int *milliwatts) { *milliwatts = 700500; return SUCCESS; }
int nvmlDeviceGetMaxClockInfo(void *gpu, int clock, unsigned int *mhz) { *mhz = clock == 1 ? 1980 : 1; return SUCCESS; }
int nvmlDeviceGetPersistenceMode(void *gpu, int *mode) { return NOT_SUPPORTED; }
/* nvmlDeviceGetMigMode is missing, as in the driver of an older GPU */
int nvmlDeviceGetUtilizationRates(void *gpu, Utilisation *rates) { rates->gpu = 10 * ++readings; return SUCCESS; }
int nvmlDeviceGetPowerUsage(void *gpu, unsigned int *milliwatts) { *milliwatts = 250250; return SUCCESS; }
int nvmlDeviceGetClockInfo(void *gpu, int clock, unsigned int *mhz) { *mhz = clock == 1 ? 1500 : 1; return SUCCESS; }
int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned int *celsius) { return GPU_IS_LOST; }
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of NVML's name and functions."""
    compiler = shutil.which("cc")
    if compiler is None or not psutil.LINUX:
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    source = folder / "nvml.c"
    source.write_text(DRIVER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def run_with(driver: Path, code: str) -> Any:
    """Run code that sets `found` in a process that sees the library."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json\nfrom dataclasses import asdict\n{code}\nprint(json.dumps(found))"],
        env=os.environ | {"LD_LIBRARY_PATH": str(driver)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_facts_of_a_gpu_are_told_and_what_it_does_not_support_is_none(driver: Path) -> None:
    found = run_with(driver, "from auricle.bench import gpu\nfound = [asdict(facts) for facts in gpu.gpus()]")
    assert found == [
        {
            "index": 0,
            "name": "Stand-in GPU",
            "compute_capability": "9.0",
            "vram_bytes": 1 << 40,
            "power_limit_w": 700.5,
            "max_sm_clock_mhz": 1980,
            "persistence_mode": None,
            "mig_mode": None,
        }
    ]


def test_a_reading_tells_utilisation_memory_power_and_clock(driver: Path) -> None:
    found = run_with(driver, "from auricle.bench import gpu\nfound = asdict(gpu.read(0))")
    assert found == {
        "index": 0,
        "utilisation_percent": 10,
        "memory_used_bytes": 3 << 30,
        "power_w": 250.25,
        "sm_clock_mhz": 1500,
        "temperature_c": None,
    }


def test_every_session_is_closed(driver: Path) -> None:
    code = "import pynvml\nfrom auricle.bench import gpu\ngpu.gpus(); gpu.read(0); gpu.unavailable_reason()\n"
    assert run_with(driver, f"{code}found = pynvml.nvmlLib.opened_sessions()") == 0


def test_a_capture_names_the_driver_and_the_gpus(driver: Path) -> None:
    found = run_with(driver, "from auricle.bench import environment\nfound = environment.capture()['gpu']")
    assert (found["driver_version"], found["cuda_driver_version"], found["unavailable"]) == ("580.95.05", "13.1", None)
    assert [device["name"] for device in found["devices"]] == ["Stand-in GPU"]


def test_a_sampler_sums_up_the_gpu_s_readings(driver: Path) -> None:
    code = "with Sampler() as sampler:\n    start_s, end_s = sampler.mark(), sampler.mark()\n"
    code += "found = [asdict(sampler.window(start_s, end_s)), [each.fields() for each in sampler.samples]]"
    usage, samples = run_with(driver, f"from auricle.bench.sampler import Sampler\n{code}")
    readings = [sample["gpus"][0]["utilisation_percent"] for sample in samples]
    assert readings == [10 * (number + 1) for number in range(len(samples))]
    assert readings[0] < usage["gpus"][0].pop("mean_utilisation_percent") < readings[-1]
    assert usage["gpus"] == [
        {
            "index": 0,
            "peak_memory_used_bytes": 3 << 30,
            "mean_power_w": 250.25,
            "peak_power_w": 250.25,
            "mean_sm_clock_mhz": 1500,
            "min_sm_clock_mhz": 1500,
            "peak_temperature_c": None,
        }
    ]


def test_a_gpu_that_is_not_there_is_refused(driver: Path) -> None:
    code = "from auricle.bench import gpu\ntry:\n    gpu.read(1)\nexcept ValueError as error:\n    found = str(error)"
    assert run_with(driver, code) == "no such GPU: 1 (hint: NVML knows 1 GPUs, numbered from 0)"


@pytest.mark.skipif(gpu.unavailable_reason() is None, reason="this machine has a driver")
def test_without_a_driver_there_are_no_gpus_and_the_reason_is_told() -> None:
    assert gpu.gpus() == []
    assert gpu.unavailable_reason()
    with pytest.raises(UsageError, match="no such GPU"):
        gpu.read(0)


@pytest.mark.gpu
@pytest.mark.skipif(gpu.unavailable_reason() is not None, reason="this machine has no NVIDIA driver")
def test_this_machine_s_gpus_are_told() -> None:
    facts = gpu.gpus()
    assert facts
    for each in facts:
        reading = gpu.read(each.index)
        assert each.name
        assert each.vram_bytes is not None
        assert reading.memory_used_bytes is not None
        assert 0 <= reading.memory_used_bytes <= each.vram_bytes
