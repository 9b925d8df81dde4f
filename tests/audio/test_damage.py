"""Files that are cut, damaged, empty or absurd: decoded as players decode them, or refused in one clear line."""

from __future__ import annotations

import io
import logging
import os
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import PcmFormat, blocks, load, probe
from auricle.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Encode = Callable[..., bytes]

RATE = 48_000


@pytest.fixture(scope="module")
def noise() -> NDArray[np.int16]:
    """Four seconds that compress badly, so that bytes and time go together."""
    return np.random.default_rng(0).integers(-9000, 9000, 4 * RATE).astype(np.int16)


@pytest.mark.parametrize(
    ("muxer", "encoder", "lost_s"),
    [("wav", "pcm_s16le", 0.001), ("wav", "pcm_s24le", 0.001), ("mp3", "libmp3lame", 0.15), ("flac", "flac", 0.2),
     ("adts", "aac", 0.1), ("ogg", "libopus", 1.1), ("webm", "libopus", 0.25), ("mpegts", "aac", 0.1)],
)  # fmt: skip
@pytest.mark.parametrize("kept", [0.31, 0.5, 0.77])
def test_a_cut_file_gives_what_was_there(
    muxer: str, encoder: str, lost_s: float, kept: float, encode: Encode, noise: NDArray[np.int16]
) -> None:
    data = encode(muxer, encoder, noise, RATE)
    whole, cut = load(io.BytesIO(data)), load(io.BytesIO(data[: int(kept * len(data))]))
    assert 4.0 * kept - lost_s < cut.duration_s < 4.0 * kept + 0.1
    inside = len(cut.samples) - 200
    np.testing.assert_allclose(cut.samples[:inside], whole.samples[:inside], atol=1e-3)


def test_leaving_out_a_cut_off_packet_is_logged(
    encode: Encode, noise: NDArray[np.int16], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "auricle"):
        load(io.BytesIO(encode("flac", "flac", noise, RATE)[:-3000]))
    assert "<stream>: the last packet is cut off and left out, at 3." in caplog.text


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_that_was_streamed_or_cut_is_read_to_its_end_whatever_size_it_declares(
    size: int, encode: Encode, noise: NDArray[np.int16]
) -> None:
    data = bytearray(encode("wav", "pcm_s16le", noise, RATE, {"fflags": "+bitexact"}))
    assert data[36:40] == b"data"
    data[4:8] = data[40:44] = struct.pack("<I", size)
    assert load(io.BytesIO(data), RATE).samples.tolist() == (noise / 32768).tolist()


@pytest.mark.parametrize(("muxer", "encoder"), [("flac", "flac"), ("adts", "aac"), ("mp4", "aac"), ("tta", "tta")])
def test_damage_in_the_middle_is_refused_with_its_place(
    muxer: str, encoder: str, encode: Encode, noise: NDArray[np.int16]
) -> None:
    data = bytearray(encode(muxer, encoder, noise, RATE))
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    with pytest.raises(
        AudioError, match=r"audio cannot be decoded: <stream> \(at [12]\.\d\d s: .*\) \(hint: repair it"
    ):
        load(io.BytesIO(data))


def test_a_single_changed_byte_in_flac_is_noticed(encode: Encode, noise: NDArray[np.int16]) -> None:
    data = bytearray(encode("flac", "flac", noise, RATE))
    data[len(data) // 2] ^= 0x40
    with pytest.raises(AudioError, match="audio cannot be decoded"):
        load(io.BytesIO(data))


def test_tags_between_and_after_mp3_frames_are_passed_over(encode: Encode, noise: NDArray[np.int16]) -> None:
    mp3 = encode("mp3", "libmp3lame", noise, RATE)
    junk = np.random.default_rng(2).bytes(20_000).replace(b"\xff", b"\0")
    tag = b"APETAGEX" + struct.pack("<4I8x", 2000, len(junk) + 32, 1, 0x80000000) + junk
    for data in (mp3 + b"TAG" + bytes(125), mp3 + tag, mp3 + tag + b"TAG" + bytes(125), mp3 + bytes(5000)):
        assert load(io.BytesIO(data)).duration_s == pytest.approx(4.0, abs=0.05)
    assert load(io.BytesIO(mp3 + tag + mp3)).duration_s == pytest.approx(8.0, abs=0.15)


def test_a_hole_in_the_timestamps_is_logged_and_not_filled(
    encode: Encode, noise: NDArray[np.int16], caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(encode("ogg", "libopus", noise, RATE))
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    del data[pages[3] : pages[4]]
    with caplog.at_level(logging.WARNING, "auricle"):
        audio = load(io.BytesIO(data))
    assert audio.duration_s == pytest.approx(3.0, abs=0.1)
    assert "<stream>: holes of 1.0 s in all were not filled" in caplog.text


@pytest.mark.parametrize(
    ("value", "width"), [(np.nan, 4), (np.inf, 4), (1e30, 4), (np.nan, 8), (-np.inf, 8), (1e300, 8)]
)
def test_float_files_with_values_that_are_not_audio_are_refused(value: float, width: int) -> None:
    samples = np.zeros(1000, f"<f{width}")
    samples[500] = value
    with pytest.raises(AudioError, match=r"samples are not audio: <stream> \(found .*\) \(hint: float samples"):
        load(io.BytesIO(wav(samples.tobytes(), kind=3, bits=8 * width)))


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 4_000_000_000])
def test_absurd_rates_are_refused(rate: int) -> None:
    with pytest.raises(AudioError, match="<stream>"):
        load(io.BytesIO(wav(bytes(4000), rate=rate)))


@pytest.mark.parametrize("channels", [0, 65, 1000, 65_535])
def test_absurd_channel_counts_are_refused(channels: int) -> None:
    with pytest.raises(AudioError, match="<stream>"):
        load(io.BytesIO(wav(bytes(400_000), channels=channels)))


def test_a_declared_length_of_years_costs_nothing(encode: Encode, noise: NDArray[np.int16]) -> None:
    flac = bytearray(encode("flac", "flac", noise[:RATE], RATE))
    flac[21] |= 0x0F
    flac[22:26] = b"\xff\xff\xff\xff"
    assert probe(io.BytesIO(flac)).duration_s == pytest.approx(2**36 / RATE, rel=0.01)
    assert load(io.BytesIO(flac)).duration_s == pytest.approx(1.0, abs=0.01)
    assert load(io.BytesIO(wav(bytes(32_000), size=0xFFFFFFF0))).duration_s == 1.0


@pytest.mark.parametrize("header_bytes", [0, 1, 4, 12, 36, 44])
def test_nothing_or_a_header_alone_is_refused(header_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(wav(b"")[:header_bytes])
    with pytest.raises(AudioError, match=r"empty|no audio|not audio"):
        load(path)
    with pytest.raises(AudioError, match=r"short\.wav"):
        list(blocks(path))


def test_an_empty_headerless_file_is_refused() -> None:
    with pytest.raises(AudioError, match="no audio samples in file: <stream>"):
        load(io.BytesIO(b""), pcm=PcmFormat("s16le", 16_000))


@pytest.mark.parametrize(
    "content", [b"hello", b"{}" * 500, b"<html><body>404</body></html>", bytes(100_000), b"\x89PNG\r\n"]
)
def test_what_is_not_audio_is_refused_with_a_remedy(content: bytes) -> None:
    with pytest.raises(AudioError, match=r"<stream>.*\(hint: "):
        load(io.BytesIO(content))


def test_paths_that_are_not_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"no such audio file: .*absent\.wav"):
        load(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match=r"not a file: .*\(found a folder\)"):
        load(tmp_path)
    with pytest.raises(AudioError, match="cannot be opened"):
        load("nul\0byte.wav")
    with pytest.raises(AudioError, match="no such audio file: https:/example"):
        load("https://example.org/speech.wav")


@pytest.mark.skipif(os.name != "posix", reason="device files and pipes have names only on Unix")
def test_devices_and_named_pipes_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", "/dev/zero", tmp_path / "pipe"):
        with pytest.raises(AudioError, match=r"not a file: .*\(found a device or pipe\)"):
            load(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything is readable to root and on Windows")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(bytes(1000)))
    path.chmod(0)
    with pytest.raises(AudioError, match=r"cannot be opened: .*secret\.wav.*Permission denied"):
        load(path)


def test_a_failing_disk_is_an_error_of_the_file(encode: Encode, noise: NDArray[np.int16]) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(AudioError, match=r"audio file cannot be read: <stream> \(found: .*Input/output error\)"):
        load(Failing(encode("wav", "pcm_s16le", noise, RATE)))


def test_a_file_opened_as_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("RIFF", encoding="utf-8")
    with path.open(encoding="utf-8") as file, pytest.raises(UsageError, match="open it in mode 'rb'"):
        load(file)  # type: ignore[arg-type]  # the mistake under test


def wav(
    data: bytes, rate: int = 16_000, channels: int = 1, kind: int = 1, bits: int = 16, size: int | None = None
) -> bytes:
    """Write a WAV header as told, however absurd, before `data`."""
    align = channels * bits // 8 & 0xFFFF
    chunk = struct.pack("<HHIIHH", kind, channels, rate, rate * align & 0xFFFFFFFF, align, bits)
    size = len(data) if size is None else size
    return (
        b"RIFF"
        + struct.pack("<I", size + 36 & 0xFFFFFFFF)
        + b"WAVEfmt \x10\0\0\0"
        + chunk
        + b"data"
        + struct.pack("<I", size)
        + data
    )
