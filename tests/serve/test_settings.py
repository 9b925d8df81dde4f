"""Settings come from four places in a known order, and what cannot be honoured is refused by name."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from auricle.errors import UnsupportedError, UsageError
from auricle.serve.settings import BARE_NAMES, Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*BARE_NAMES.values(), *(f"AURICLE_{field.upper()}" for field in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def test_without_anything_it_listens_on_loopback() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.is_loopback) == ("127.0.0.1", 8000, True)


def test_flags_win_over_environment_over_bare_names_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('engine = "of-file"\ndevice = "cuda:3"\nport = 1\nmax_files = 7\nthreads = 3\n')
    monkeypatch.setenv("ENGINE", "of-bare-name")
    monkeypatch.setenv("ASR_PROVIDER", "cuda")
    monkeypatch.setenv("AURICLE_ENGINE", "of-environment")
    monkeypatch.setenv("AURICLE_PORT", "2")
    settings = load_settings({"config": file, "port": 3, "threads": None})
    assert settings.port == 3
    assert settings.engine == "of-environment"
    assert settings.device == "cuda"
    assert settings.max_files == 7
    assert settings.threads == 3


def test_the_environment_can_name_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('alias = ["whisper-1"]\n')
    monkeypatch.setenv("AURICLE_CONFIG", str(file))
    assert load_settings({}).alias == ("whisper-1",)


def test_the_bare_names_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "sherpa")
    monkeypatch.setenv("ASR_PROVIDER", "TensorRT")
    monkeypatch.setenv("CHUNK_DURATION", "500")
    settings = load_settings({})
    assert (settings.engine, settings.device, settings.piece_s) == ("sherpa-onnx", "trt", 500)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "")
    monkeypatch.setenv("AURICLE_PORT", "")
    settings = load_settings({})
    assert (settings.engine, settings.port) == (None, 8000)


def test_the_items_of_a_list_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURICLE_TRUSTED_NETWORKS", "10.0.0.0/8, fd00::/8")
    assert load_settings({"alias": "a,b"}).alias == ("a", "b")
    assert load_settings({}).trusted_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"port": "many"}, "setting port is not usable: 'many'"),
        ({"port": 65536}, "setting port is not usable: 65536"),
        ({"max_files": 0}, "setting max_files is not usable: 0"),
        ({"max_duty": 1.5}, "setting max_duty is not usable: 1.5"),
        ({"admission": "perhaps"}, "setting admission is not usable: 'perhaps'"),
        ({"prot": 1}, "unknown setting: prot (hint: choose from config, engine"),
        ({"trusted_networks": ["10.0.0.1/8"]}, "setting trusted_networks.0"),
        ({"host": "0.0.0.0"}, "an address that others can reach needs keys: 0.0.0.0"),  # noqa: S104  it is refused
        ({"host": "::"}, "needs keys: ::"),
        ({"host": "example.org"}, "needs keys: example.org"),
    ],
)
def test_what_is_wrong_is_named(flags: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(flags)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_addresses_need_no_keys(host: str) -> None:
    assert load_settings({"host": host}).is_loopback


def test_several_workers_are_taken_where_there_are_unix_sockets_and_else_refused_by_name() -> None:
    if hasattr(socket, "AF_UNIX"):
        assert load_settings({"workers": 2}).workers == 2
    else:
        with pytest.raises(UnsupportedError, match="several processes need Unix sockets: --workers 2"):
            load_settings({"workers": 2})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "settings file cannot be read"),
        (b"port = ", "settings file is not TOML"),
        (b"\xff\xfe", "settings file is not TOML"),
        (b"prot = 1", "unknown setting: prot"),
        (b"config = 'another.toml'", "a settings file cannot name another"),
        (b'port = "many"', "setting port is not usable"),
    ],
)
def test_an_unusable_file_is_told(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "serve.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_settings({"config": file})
    assert says in str(caught.value)


def test_every_setting_is_documented() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
