from __future__ import annotations

import bz2
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from auricle.errors import ModelError
from auricle.models.archive import unpack

if TYPE_CHECKING:
    from pathlib import Path

MODES = {"plain.tar": "w", "model.tar.gz": "w:gz", "model.tar.bz2": "w:bz2", "model.tar.xz": "w:xz"}


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]  # the mode is one of tarfile's
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def outside(folder: Path) -> list[str]:
    """What lies beside the folder that was unpacked to."""
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


@pytest.mark.parametrize(("name", "mode"), MODES.items())
def test_a_tar_of_any_compression_is_unpacked(tmp_path: Path, name: str, mode: str) -> None:
    members = [(member("model", tarfile.DIRTYPE), b""), (member("model/a/tokens.txt"), b"one 1\n")]
    unpack(tar_of(tmp_path / name, members, mode), tmp_path / "out")
    assert (tmp_path / "out/model/a/tokens.txt").read_bytes() == b"one 1\n"


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/", b"")
        archive.writestr("model/tokens.txt", b"one 1\n")
    unpack(tmp_path / "model.zip", tmp_path / "out")
    assert (tmp_path / "out/model/tokens.txt").read_bytes() == b"one 1\n"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "a:stream", ".."])
def test_a_member_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    tar = tar_of(tmp_path / "a.tar", [(member(name), b"x")])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    for file in (tar, tmp_path / "a.zip"):
        folder = tmp_path / file.suffix / "out"
        with pytest.raises(ModelError, match="outside its folder"):
            unpack(file, folder)
        assert outside(folder) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_a_tar_is_refused(tmp_path: Path, kind: bytes) -> None:
    file = tar_of(tmp_path / "a.tar", [(member("evil", kind, "/etc/passwd"), b""), (member("evil"), b"x")])
    with pytest.raises(ModelError, match="link or device"):
        unpack(file, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("evil")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ModelError, match="link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(80 << 20))
    tar = tar_of(tmp_path / "a.tar.bz2", [(member("bomb"), bytes(80 << 20))], "w:bz2")
    for file in (tmp_path / "a.zip", tar):
        folder = tmp_path / f"{file.suffix}-out"
        with pytest.raises(ModelError, match="more than a model can be"):
            unpack(file, folder)
        assert not any(folder.iterdir())


def test_a_bomb_of_headers_is_refused(tmp_path: Path) -> None:
    info = member("x")
    info.pax_headers = {"comment": "a" * (130 << 20)}
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT, compresslevel=1) as tar:
        tar.addfile(info)
    with pytest.raises(ModelError, match="more than a model can be"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "a.tar", [(member(f"{number}"), b"") for number in range(2_001)])
    with pytest.raises(ModelError, match="more than a model can be"):
        unpack(file, tmp_path / "out")


def test_a_member_named_twice_is_refused(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "a.tar", [(member("a"), b"1"), (member("a"), b"2")])
    with pytest.raises(ModelError, match="twice"):
        unpack(file, tmp_path / "out")


@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage", "empty", "only a magic"])
@pytest.mark.parametrize("name", [*MODES, "model.zip"])
def test_a_damaged_archive_is_refused_in_one_line(tmp_path: Path, name: str, damage: str) -> None:
    content = bytes(range(256)) * 400
    if name == "model.zip":
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.bin", content)
    else:
        tar_of(tmp_path / name, [(member("model.bin"), content)], MODES[name])
    data = (tmp_path / name).read_bytes()
    middle = len(data) // 2
    flipped = (
        data[: 30 if name == "plain.tar" else middle]
        + b"\xff\x00\xff"
        + data[33 if name == "plain.tar" else middle + 3 :]
    )
    damaged = {
        "cut": data[:middle],
        "flipped": flipped,
        "garbage": b"no archive" * 100,
        "empty": b"",
        "only a magic": data[:6],
    }
    (tmp_path / name).write_bytes(damaged[damage])
    if (name, damage) == ("plain.tar", "flipped"):
        assert damaged[damage] != data
    with pytest.raises(ModelError, match="damaged"):
        unpack(tmp_path / name, tmp_path / "out")


def test_an_archive_within_an_archive_stays_one(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "a.tar", [(member("inner.bz2"), bz2.compress(bytes(1 << 20)))])
    unpack(file, tmp_path / "out")
    assert (tmp_path / "out/inner.bz2").stat().st_size < 1000
