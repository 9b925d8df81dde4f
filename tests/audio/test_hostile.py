"""Files made to reach what lies outside them, or to break the process that reads them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from auricle.audio import load
from auricle.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Encode = Callable[..., bytes]

PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile '{secret}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
    ' mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet'
    ' mimeType="audio/wav"><Representation id="1" bandwidth="1"><BaseURL>{secret}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("extension", ["wav", "m3u8", "mpd", "sdp", "txt"])
def test_a_playlist_reads_no_other_file(kind: str, extension: str, tmp_path: Path, encode: Encode) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode("wav", "pcm_s16le", np.full(16_000, 12_345, np.int16)))
    playlist = tmp_path / f"playlist.{extension}"
    for name in ("secret.wav", str(secret), secret.as_uri()):
        playlist.write_text(PLAYLISTS[kind].format(secret=name), encoding="utf-8")
        with pytest.raises(AudioError, match="file is not audio that can be read"):
            load(playlist)
        with playlist.open("rb") as file, pytest.raises(AudioError, match="file is not audio that can be read"):
            load(file)


def test_the_playlists_of_these_tests_would_work_for_ffmpeg_left_alone(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "secret.wav").write_bytes(encode("wav", "pcm_s16le", np.zeros(16_000, np.int16)))
    playlist = tmp_path / "playlist.txt"
    playlist.write_text(PLAYLISTS["concat"].format_map({"secret": "secret.wav"}), encoding="utf-8")
    with av.open(str(playlist)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 16_000


@pytest.mark.parametrize("labels", [(1, 2), (2, 1), (2, 1, 1, 2), (2, 1, 5, 6, 9), (77, 77), (0xFFFFFFFF, 1)])
def test_channels_listed_in_an_unusual_order_do_not_corrupt_memory(labels: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "order.caf"
    path.write_bytes(caf(labels))
    code = f"from auricle.audio import load, probe\nfor _ in range(20): probe({str(path)!r}); a = load({str(path)!r})"
    result = in_a_child(f"{code}\nprint(len(a.samples), probe({str(path)!r}).channels)")
    assert (result.returncode, result.stdout.split()) == (0, ["4000", str(len(labels))]), result.stderr


def test_eight_planar_channels_do_not_break_the_process(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "7.1.opus"
    path.write_bytes(encode("ogg", "libopus", np.zeros((48_000, 8), np.int16), 48_000))
    result = in_a_child(f"from auricle.audio import load; print(load({str(path)!r}).duration_s)")
    assert (result.returncode, result.stdout.strip()) == (0, "1.0"), result.stderr


def test_ffmpeg_prints_nothing(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "cut.mp3"
    noise = np.random.default_rng(0).integers(-9000, 9000, 160_000).astype(np.int16)
    path.write_bytes(encode("mp3", "libmp3lame", noise)[3000:-100])
    code = f"from auricle.audio import load; load({str(path)!r})"
    quiet, loud = in_a_child(code), in_a_child(f"import av; av.logging.restore_default_callback(); {code}")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert "mp3" in loud.stderr


def test_metadata_that_is_not_text_does_not_matter(encode: Encode) -> None:
    mp3 = encode("mp3", "libmp3lame", np.zeros(16_000, np.int16))
    frame = b"TXXX" + struct.pack(">I", 12) + b"\0\0" + b"\0\xff\xfe\x80\0\xc3(\xa0\xa1\xe2(\xa1"
    tagged = b"ID3\x04\0\0\0\0\0\x16" + frame + mp3
    riff = bytearray(encode("wav", "pcm_s16le", np.zeros(16_000, np.int16), 16_000, {"fflags": "+bitexact"}))
    riff[36:36] = b"LIST\x0e\0\0\0INFOINAM\x02\0\0\0\xff\xfe"
    assert load(io.BytesIO(tagged)).duration_s == pytest.approx(1.0, abs=0.1)
    assert load(io.BytesIO(riff)).duration_s == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the resident memory is read as Linux tells it")
def test_a_header_that_claims_a_gigabyte_does_not_get_it(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "greedy.wav"
    wav = bytearray(encode("wav", "pcm_s16le", np.zeros(16_000, np.int16), 16_000, {"fflags": "+bitexact"}))
    wav[36:36] = b"LIST\0\0\0\x40INFOISFT\xf0\xff\xff\x3f"
    path.write_bytes(wav)
    result = in_a_child(
        f"from auricle.audio import load\ntry: load({str(path)!r})\nexcept ValueError: pass\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    assert int(result.stdout.split()[1]) < 150_000, result.stderr


def test_importing_the_package_does_not_import_pyav() -> None:
    result = in_a_child("import sys, auricle, auricle.audio; print('av' in sys.modules, 'soxr' in sys.modules)")
    assert result.stdout.split() == ["False", "False"], result.stderr


def caf(labels: tuple[int, ...], samples: int = 4000) -> bytes:
    """Make a Core Audio file that names its channels by `labels`."""
    count = len(labels)
    description = struct.pack(">d4sIIIII", 16_000.0, b"lpcm", 2, 2 * count, 1, count, 16)
    order = struct.pack(">III", 0, 0, count) + b"".join(struct.pack(">II12x", label, 0) for label in labels)
    data = bytes(4 + 2 * count * samples)
    chunks = [(b"desc", description), (b"chan", order), (b"data", data)]
    return b"caff\0\1\0\0" + b"".join(name + struct.pack(">q", len(body)) + body for name, body in chunks)


def in_a_child(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
