import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import auricle
from auricle.bench import environment, machine
from auricle.bench.records import strict_json

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def captured_elsewhere(variables: dict[str, str], then: str = "") -> dict[str, Any]:
    """Capture in another process, with other variables set."""
    code = f"import json, sys; from auricle.bench import environment; found = environment.capture()\n{then}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(json.dumps(found))"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def before_others(folder: Path) -> dict[str, str]:
    """Put a folder before the others that Python imports from."""
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout that holds a package."""
    tree(tmp_path, {"src/package/__init__.py": "", "README.md": "", ".gitignore": "ignored/\n"})
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


def test_a_capture_is_strict_json_that_describes_this_process() -> None:
    found = environment.capture()
    assert json.loads(strict_json(found)) == found
    assert found["auricle"]["version"] == auricle.__version__
    assert found["python"]["version"] == platform.python_version()
    assert found["cpu"]["logical_cores"] == os.cpu_count()
    assert found["memory"]["total_bytes"] >= found["memory"]["available_bytes"] > 0
    assert found["packages"]["numpy"] == metadata.version("numpy")


def test_a_capture_names_neither_user_nor_home_nor_host_nor_secret() -> None:
    private = {"HOME": "/homes/zq-home", "USER": "zq-user", "LOGNAME": "zq-user", "HF_TOKEN": "zq-token"}
    found = captured_elsewhere(private)
    assert "zq-" not in json.dumps(found)
    assert platform.node() not in set(leaves(found))
    assert str(Path(__file__).parents[2]) not in json.dumps(found)


def test_a_capture_holds_the_thread_settings() -> None:
    found = captured_elsewhere({"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": ""})
    assert found["variables"]["OMP_NUM_THREADS"] == "3"
    assert found["variables"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_capture_imports_no_engine() -> None:
    found = captured_elsewhere({}, "found = sorted(sys.modules)")
    assert not {"torch", "onnxruntime", "av", "sherpa_onnx", "pocketsphinx", "numpy"} & set(found)


def test_the_versions_of_torch_and_its_cuda_are_read_without_importing_it(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "torch/__init__.py": "raise SystemExit('torch was imported')",
            "torch/version.py": "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n",
            "torch-2.13.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n",
            "nvidia_cudnn_cu13-9.20.0.dist-info/METADATA": "Name: nvidia-cudnn-cu13\nVersion: 9.20.0.1\n",
        },
    )
    found = captured_elsewhere(before_others(tmp_path))
    assert found["packages"]["torch"] == "2.13.0"
    assert found["cuda"]["torch_cuda"] == "13.0"
    assert found["cuda"]["cudnn"] == "9.20.0.1"


def test_the_cuda_of_a_torch_for_the_cpu_is_unknown(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "torch/version.py": "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip = '7.0'\n",
            "torch-2.13.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n",
        },
    )
    assert captured_elsewhere(before_others(tmp_path))["cuda"]["torch_cuda"] is None


@needs_git
def test_the_commit_of_a_clean_checkout_is_known(checkout: Path) -> None:
    expected = {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}
    assert environment.commit_of(checkout / "src/package") == expected


@needs_git
@pytest.mark.parametrize("changed", ["src/package/__init__.py", "src/package/untracked.py"])
def test_a_checkout_whose_source_differs_is_dirty(checkout: Path, changed: str) -> None:
    (checkout / changed).write_text("x = 1\n")
    assert environment.commit_of(checkout / "src/package")["dirty"] is True


@needs_git
def test_files_that_the_surrounding_checkout_does_not_track_have_no_commit(checkout: Path) -> None:
    installed = tree(checkout, {"ignored/site-packages/package/__init__.py": ""}) / "ignored/site-packages/package"
    assert environment.commit_of(installed) == {"commit": None, "dirty": None}


@needs_git
def test_the_commit_is_that_of_the_folder_whatever_git_variables_say(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    found = environment.commit_of(checkout / "src/package")
    monkeypatch.delenv("GIT_DIR")
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit_of(Path(auricle.__file__).parent) == {"commit": None, "dirty": None}


def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path) -> None:
    package = tree(tmp_path, {"package/__init__.py": ""}) / "package"
    assert environment.commit_of(package) == {"commit": None, "dirty": None}


@pytest.mark.parametrize(
    ("files", "cores", "limit_bytes"),
    [
        pytest.param({}, None, None, id="no cgroups"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/memory.max": "4294967296\n",
            },
            1.5,
            1 << 32,
            id="v2 in a container",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/user.slice/job\n",
                "sys/fs/cgroup/user.slice/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/user.slice/memory.max": "max\n",
                "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
                "sys/fs/cgroup/user.slice/job/memory.max": "max\n",
            },
            2.0,
            None,
            id="v2, limited by the parent",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            },
            0.5,
            1 << 30,
            id="v1 with the host's path",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "3:cpu:/\n2:memory:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            None,
            None,
            id="v1 without limits",
        ),
    ],
)
def test_the_limits_of_the_cgroup_are_found(
    tmp_path: Path, files: dict[str, str], cores: float | None, limit_bytes: int | None
) -> None:
    tree(tmp_path, files)
    assert machine.quota_cores(tmp_path) == cores
    assert machine.memory_limit_bytes(tmp_path) == limit_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the tree is Linux's")
def test_the_processor_is_described_from_the_system_s_files(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\nflags\t\t: fpu avx2 avx512_vnni xsave\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
            "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
        },
    )
    found = machine.cpu(tmp_path)
    assert found["model"] == "Fast CPU @ 3 GHz"
    assert found["instruction_sets"] == ["avx2", "avx512_vnni"]
    assert found["governor"] == "performance,powersave"
    assert found["turbo"] is True


@pytest.mark.skipif(sys.platform != "linux", reason="the tree is Linux's")
def test_an_arm_board_is_described_by_its_own_name(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\n",
            "proc/device-tree/model": "Small Board Rev 1\0",
            "sys/devices/system/cpu/cpufreq/boost": "0\n",
        },
    )
    found = machine.cpu(tmp_path)
    assert (found["model"], found["instruction_sets"], found["turbo"]) == (
        "Small Board Rev 1",
        ["asimd", "asimddp"],
        False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the tree is Linux's")
def test_what_the_system_does_not_tell_is_none(tmp_path: Path) -> None:
    found = machine.cpu(tmp_path)
    unknown = ("model", "governor", "turbo", "quota_cores", "instruction_sets")
    assert {name: found[name] for name in unknown} == dict.fromkeys(unknown)
    assert machine.container(tmp_path) is None
    assert machine.virtual_machine(tmp_path) is None


@pytest.mark.parametrize(("flags", "expected"), [("fpu hypervisor", True), ("fpu avx2", False)])
def test_a_virtual_machine_is_known_by_its_processor(tmp_path: Path, flags: str, expected: bool) -> None:
    tree(tmp_path, {"proc/cpuinfo": f"flags\t\t: {flags}\n"})
    assert machine.virtual_machine(tmp_path) is expected


def test_a_container_is_known_by_its_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("container", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    tree(tmp_path, {"proc/1/cgroup": "0::/init.scope\n"})
    assert machine.container(tmp_path) is False
    tree(tmp_path, {"proc/1/cgroup": "3:cpu:/kubepods/pod1\n"})
    assert machine.container(tmp_path) is True


def test_a_machine_is_summed_up_on_one_line() -> None:
    found = environment.capture()
    found["cpu"] |= {"model": "Fast CPU", "quota_cores": 1.5}
    found["memory"] |= {"limit_bytes": 8 << 30}
    found["gpu"]["devices"] = [{"name": "Big GPU"}, {"name": "Big GPU"}, {"name": None}]
    assert environment.summary(found) == "Fast CPU, 1.5 cores, 8 GiB, 2 x Big GPU, unnamed GPU"
