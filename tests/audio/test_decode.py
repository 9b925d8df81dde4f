from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from auricle.audio import blocks, load, probe
from auricle.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Encode = Callable[..., bytes]
    Tone = Callable[..., NDArray[np.int16]]

CONTAINERS = [
    ("wav", "pcm_s16le"), ("wav", "adpcm_ms"), ("w64", "pcm_s16le"), ("aiff", "pcm_s16be"), ("au", "pcm_s16be"),
    ("caf", "pcm_s16le"), ("flac", "flac"), ("tta", "tta"), ("wv", "wavpack"), ("mp3", "libmp3lame"), ("mp2", "mp2"),
    ("adts", "aac"), ("latm", "aac"), ("ogg", "libopus"), ("ogg", "flac"), ("webm", "libopus"), ("matroska", "aac"),
    ("matroska", "flac"), ("mp4", "aac"), ("mp4", "alac"), ("mov", "pcm_s16le"), ("mpegts", "aac"), ("flv", "aac"),
    ("avi", "pcm_s16le"), ("avi", "libmp3lame"), ("asf", "libmp3lame"), ("nut", "pcm_s16le"), ("sox", "pcm_s32le"),
    ("vob", "mp2"), ("wtv", "mp2"),
]  # fmt: skip


@pytest.mark.parametrize(("muxer", "encoder"), CONTAINERS)
def test_a_tone_keeps_its_frequency_amplitude_and_length_in_every_container(
    muxer: str, encoder: str, encode: Encode, tone: Tone
) -> None:
    rate = 48_000 if encoder == "libopus" else 44_100
    audio = load(io.BytesIO(encode(muxer, encoder, tone(1000, 1.0, rate), rate)))
    assert audio.duration_s == pytest.approx(1.0, abs=0.08)
    assert audio.samples.dtype == np.float32
    frequency_hz, amplitude = loudest(audio.samples[4000:12_000], audio.rate)
    assert frequency_hz == pytest.approx(1000, abs=2)
    assert amplitude == pytest.approx(0.5, rel=0.06)


@pytest.mark.parametrize(("muxer", "encoder"), [("amr", "libopencore_amrnb"), ("3gp", "libopencore_amrnb")])
def test_narrow_band_speech_codecs_are_decoded(muxer: str, encoder: str, encode: Encode, tone: Tone) -> None:
    audio = load(io.BytesIO(encode(muxer, encoder, tone(400, 1.0, 8000), 8000)))
    assert audio.duration_s == pytest.approx(1.0, abs=0.05)
    assert loudest(audio.samples[4000:12_000], audio.rate)[0] == pytest.approx(400, abs=4)


@pytest.mark.parametrize("source_rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_resampling_keeps_a_tone_exactly(source_rate: int, rate: int, encode: Encode, tone: Tone) -> None:
    wav = encode("wav", "pcm_s16le", tone(1000, 1.0, source_rate), source_rate)
    audio = load(io.BytesIO(wav), rate)
    assert len(audio.samples) == rate
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    inside = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(audio.samples[inside], expected[inside], atol=1e-3)


def test_what_lies_above_half_the_rate_is_removed_by_resampling(encode: Encode, tone: Tone) -> None:
    audio = load(io.BytesIO(encode("wav", "pcm_s16le", tone(10_000, 1.0, 48_000), 48_000)))
    assert np.abs(audio.samples[2000:-2000]).max() < 1e-3


WIDTHS = [("pcm_u8", 2**-7), ("pcm_s16le", 0), ("pcm_s24le", 0), ("pcm_s32le", 0), ("pcm_f32le", 0), ("pcm_f64le", 0)]


@pytest.mark.parametrize(("encoder", "step"), WIDTHS)
def test_samples_of_every_width_keep_their_values(encoder: str, step: float, encode: Encode) -> None:
    values = np.arange(-32768, 32768, 7, dtype=np.int16)
    samples = load(io.BytesIO(encode("wav", encoder, values))).samples
    np.testing.assert_allclose(samples, values / 32768, rtol=0, atol=step)


def test_channels_are_averaged_before_anything_else(encode: Encode, tone: Tone) -> None:
    one = tone(500, 0.5)
    opposite = io.BytesIO(encode("wav", "pcm_s16le", np.stack([one, -one], axis=1)))
    np.testing.assert_array_equal(load(opposite).samples, np.zeros(8000))
    half = io.BytesIO(encode("flac", "flac", np.stack([one, np.zeros_like(one)], axis=1)))
    np.testing.assert_array_equal(load(half).samples, one / np.float32(65536))


@pytest.mark.parametrize(("muxer", "encoder"), [("wav", "pcm_s16le"), ("matroska", "pcm_s16le"), ("flac", "flac")])
@pytest.mark.parametrize("channels", [2, 6, 8])
def test_each_channel_can_be_chosen_by_its_number(muxer: str, encoder: str, channels: int, encode: Encode) -> None:
    values = np.repeat(np.arange(1, channels + 1, dtype=np.int16)[np.newaxis] * 1000, 4000, axis=0)
    file = io.BytesIO(encode(muxer, encoder, values))
    for channel in range(channels):
        np.testing.assert_array_equal(load(file, channel=channel).samples, np.full(4000, (channel + 1) * 1000 / 32768))
    np.testing.assert_allclose(load(file).samples, values.mean(axis=1) / 32768, rtol=1e-6)


def test_a_channel_that_is_not_there_is_refused_with_how_many_there_are(encode: Encode, tone: Tone) -> None:
    file = io.BytesIO(encode("wav", "pcm_s16le", tone(500, 0.1)))
    with pytest.raises(AudioError, match=r"no such channel: 1 in <stream> .*it has 1, numbered from 0"):
        load(file, channel=1)
    with pytest.raises(UsageError, match="no such channel: -1"):
        load(file, channel=-1)


@pytest.mark.parametrize("block_s", [0.01, 0.33, 1.0, 60.0])
def test_blocks_hold_exactly_what_load_returns(block_s: float, encode: Encode, tone: Tone) -> None:
    file = io.BytesIO(encode("mp3", "libmp3lame", tone(700, 3.3, 44_100), 44_100))
    pieces = list(blocks(file, block_s=block_s))
    sizes = {len(piece) for piece in pieces[:-1]}
    assert sizes <= {round(block_s * 16_000)}
    assert 0 < len(pieces[-1]) <= round(block_s * 16_000)
    np.testing.assert_array_equal(np.concatenate(pieces), load(file).samples)


def test_a_pipe_gives_what_the_file_gives(encode: Encode, tone: Tone, tmp_path: Path) -> None:
    for muxer, encoder in [("wav", "pcm_s16le"), ("flac", "flac"), ("ogg", "libopus"), ("adts", "aac")]:
        path = tmp_path / muxer
        path.write_bytes(encode(muxer, encoder, tone(700, 0.7, 48_000), 48_000))
        np.testing.assert_array_equal(load(pipe(path.read_bytes())).samples, load(path).samples)


def test_a_container_that_needs_its_end_says_so_of_a_pipe(encode: Encode) -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, 480_000).astype(np.int16)
    with pytest.raises(AudioError, match="read it from a file, not from a pipe"):
        load(pipe(encode("mp4", "aac", noise, 48_000)))


def test_an_open_file_is_read_from_its_start_and_stays_open(encode: Encode, tone: Tone) -> None:
    file = io.BytesIO(encode("flac", "flac", tone(700, 0.5)))
    file.seek(100)
    first = load(file).samples
    np.testing.assert_array_equal(load(file).samples, first)


def test_a_path_is_closed_when_the_iterator_is(encode: Encode, tone: Tone, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(encode("wav", "pcm_s16le", tone(700, 5.0)))
    iterator = blocks(path)
    next(iterator)
    iterator.close()  # a file left open would be a ResourceWarning, which is an error here
    path.unlink()
    with pytest.raises(StopIteration):
        next(iterator)


@pytest.mark.parametrize(
    ("muxer", "encoder"), [("adts", "aac"), ("ogg", "flac"), ("mp2", "mp2"), ("mp3", "libmp3lame")]
)
def test_a_stream_may_change_its_rate_and_channels_on_the_way(
    muxer: str, encoder: str, encode: Encode, tone: Tone
) -> None:
    low = encode(muxer, encoder, tone(1000, 1.0, 48_000), 48_000)
    high = encode(muxer, encoder, np.stack([tone(2000, 1.0, 44_100)] * 2, axis=1), 44_100)
    audio = load(io.BytesIO(low + high))
    assert audio.duration_s == pytest.approx(2.0, abs=0.2)
    assert loudest(audio.samples[4000:12_000], 16_000)[0] == pytest.approx(1000, abs=2)
    assert loudest(audio.samples[20_000:28_000], 16_000)[0] == pytest.approx(2000, abs=2)


def test_encoder_delay_is_removed(encode: Encode) -> None:
    click = np.zeros(48_000, np.int16)
    click[24_000:24_048] = 20_000
    for muxer, encoder in [("mp3", "libmp3lame"), ("mp4", "aac"), ("ogg", "libopus"), ("webm", "libopus")]:
        samples = load(io.BytesIO(encode(muxer, encoder, click, 48_000)), 48_000).samples
        assert int(np.argmax(np.abs(samples))) == pytest.approx(24_024, abs=40), muxer


def test_the_extension_does_not_matter(encode: Encode, tone: Tone, tmp_path: Path) -> None:
    path = tmp_path / "really-flac.mp3"
    path.write_bytes(encode("flac", "flac", tone(500, 0.5)))
    assert load(path).duration_s == 0.5
    assert probe(path).container == "flac"


@pytest.mark.parametrize(("muxer", "audio_encoder"), [("mp4", "aac"), ("matroska", "flac"), ("mpegts", "mp2")])
def test_video_is_passed_over(muxer: str, audio_encoder: str, tone: Tone) -> None:
    audio = load(io.BytesIO(with_pictures(muxer, audio_encoder, "mpeg4", tone(1000, 1.0), count=25)))
    assert audio.duration_s == pytest.approx(1.0, abs=0.1)
    assert loudest(audio.samples[4000:12_000], 16_000)[0] == pytest.approx(1000, abs=2)


def test_a_cover_picture_is_passed_over(tone: Tone) -> None:
    audio = load(io.BytesIO(with_pictures("mp3", "libmp3lame", "mjpeg", tone(1000, 1.0), count=1)))
    assert audio.duration_s == pytest.approx(1.0, abs=0.1)


def test_video_without_sound_is_refused_with_what_was_found(tone: Tone) -> None:
    with pytest.raises(AudioError, match=r"no audio stream in file: <stream> \(found video\)"):
        load(io.BytesIO(with_pictures("mp4", None, "mpeg4", tone(1000, 1.0), count=25)))


def test_audio_longer_than_the_limit_is_refused(encode: Encode, tone: Tone) -> None:
    file = io.BytesIO(encode("flac", "flac", tone(500, 2.0)))
    assert load(file, max_s=2.0).duration_s == 2.0
    with pytest.raises(AudioError, match=r"audio is longer than 1\.99 s: <stream>"):
        load(file, max_s=1.99)


@pytest.mark.parametrize("rate", [0, -16_000, 4_000_000_000])
def test_an_absurd_rate_cannot_be_asked_for(rate: int) -> None:
    with pytest.raises(UsageError, match="unusable sampling rate"):
        load("any.wav", rate)


def test_a_block_shorter_than_a_sample_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError, match="block is shorter than a sample"):
        blocks("any.wav", block_s=0.0)


def loudest(samples: NDArray[np.float32], rate: int) -> tuple[float, float]:
    """Return the frequency in Hz and the amplitude of the strongest tone, with a Hann window and interpolation."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window, 8 * len(samples)))
    peak = int(np.argmax(spectrum))
    return peak * rate / (8 * len(samples)), float(2 * spectrum[peak] / window.sum())


def pipe(data: bytes) -> io.BufferedReader:
    """Make a file that cannot be sought."""

    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return False

    return io.BufferedReader(Unseekable(data))


def with_pictures(
    muxer: str, audio_encoder: str | None, video_encoder: str, samples: NDArray[np.int16], count: int
) -> bytes:
    """Mux grey pictures with 16 kHz mono sound into one file."""
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as container:
        sound = container.add_stream(audio_encoder, rate=16_000, layout="mono") if audio_encoder else None
        video = container.add_stream(video_encoder, rate=25)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 64, "yuvj420p" if video_encoder == "mjpeg" else "yuv420p"
        if count == 1:
            video.disposition = av.stream.Disposition.attached_pic
        if isinstance(sound, av.AudioStream):
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
            frame.sample_rate, frame.pts = 16_000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        for _ in range(count):
            container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(video.encode(None))
    return file.getvalue()
