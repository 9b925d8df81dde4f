from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.audio import PcmDecoder, PcmFormat, load
from auricle.audio.types import Encoding
from auricle.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SAMPLE_BYTES: dict[Encoding, int] = {"s16le": 2, "f32le": 4, "mulaw": 1, "alaw": 1}
ALL_CODES = bytes(range(256))


def decoded(data: bytes, pcm: PcmFormat, rate: int = 16_000, channel: int | None = None) -> NDArray[np.float32]:
    decoder = PcmDecoder(pcm, rate, channel)
    return np.concatenate([decoder.feed(data), decoder.finish()])


def mulaw_by_the_book(code: int) -> float:
    """ITU-T G.711 table 2: the middle of an interval of the 14-bit law, negative when the first bit is 0."""
    chord, step = (255 - code) >> 4 & 7, (255 - code) & 15
    magnitude: int = 2**chord * (2 * step + 33) - 33
    return (magnitude if code >= 128 else -magnitude) / 2**13


def alaw_by_the_book(code: int) -> float:
    """ITU-T G.711 table 1: as above for the 13-bit law, even bits inverted, the first two chords linear."""
    code ^= 0x55
    chord, step = code >> 4 & 7, code & 15
    magnitude = 2 * step + 1 if chord == 0 else 2 ** (chord - 1) * (2 * step + 33)
    return (magnitude if code >= 128 else -magnitude) / 2**12


def test_every_mulaw_code_has_the_value_of_the_standard() -> None:
    expected = np.array([mulaw_by_the_book(code) for code in range(256)], np.float32)
    np.testing.assert_array_equal(decoded(ALL_CODES, PcmFormat("mulaw", 16_000)), expected)


def test_every_alaw_code_has_the_value_of_the_standard() -> None:
    expected = np.array([alaw_by_the_book(code) for code in range(256)], np.float32)
    np.testing.assert_array_equal(decoded(ALL_CODES, PcmFormat("alaw", 16_000)), expected)


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_companded_codes_mean_the_same_with_and_without_a_header(
    encoding: Encoding, encode: Callable[..., bytes]
) -> None:
    header = encode("wav", f"pcm_{encoding}", np.zeros(256, np.int16))[:-256]
    audio = load(io.BytesIO(header + ALL_CODES))
    np.testing.assert_array_equal(audio.samples, decoded(ALL_CODES, PcmFormat(encoding, 16_000)))


def test_every_16_bit_value_is_divided_by_two_to_the_fifteenth() -> None:
    values = np.arange(-32768, 32768, dtype="<i2")
    np.testing.assert_array_equal(decoded(values.tobytes(), PcmFormat("s16le", 16_000)), values / np.float32(32768))


def test_float_values_pass_unchanged_and_clip_at_full_scale() -> None:
    values = np.array([0.0, -0.0, 1e-9, 0.123456789, -1.0, 1.0, 1.5, -3.0], "<f4")
    np.testing.assert_array_equal(decoded(values.tobytes(), PcmFormat("f32le", 16_000)), np.clip(values, -1, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 32767.0])
def test_float_values_that_are_not_audio_are_refused(value: float) -> None:
    data = np.array([0.0, value, 0.0], "<f4").tobytes()
    with pytest.raises(AudioError, match=r"samples are not audio: f32le .*hint: .*\[-1, 1\]"):
        PcmDecoder(PcmFormat("f32le", 16_000), 16_000).feed(data)


def test_channels_are_averaged_or_one_is_chosen() -> None:
    frames = np.array([[1000, 3000], [-500, 500], [32767, 32767]], "<i2")
    pcm = PcmFormat("s16le", 16_000, channels=2)
    np.testing.assert_array_equal(decoded(frames.tobytes(), pcm), frames.mean(axis=1) / 32768)
    np.testing.assert_array_equal(decoded(frames.tobytes(), pcm, channel=1), frames[:, 1] / np.float32(32768))


@pytest.mark.parametrize("channel", [-1, 2])
def test_a_channel_that_the_format_does_not_have_is_refused(channel: int) -> None:
    with pytest.raises(UsageError, match=rf"no such channel: {channel} .*the PCM has 2"):
        PcmDecoder(PcmFormat("s16le", 16_000, channels=2), 16_000, channel)


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (-8000, 1), (4_000_000_000, 1), (8000, 0), (8000, 65_535)])
def test_an_absurd_format_is_refused(rate: int, channels: int) -> None:
    with pytest.raises(UsageError, match="unusable"):
        PcmFormat("s16le", rate, channels)


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"unknown PCM encoding: s24be .*s16le, f32le, mulaw, alaw"):
        PcmFormat(cast("Encoding", "s24be"), 16_000)


@settings(deadline=None)
@given(
    encoding=st.sampled_from(get_args(Encoding)),
    source_rate=st.sampled_from([8_000, 16_000, 22_050, 44_100]),
    channels=st.integers(1, 3),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
    seed=st.integers(0, 9),
)
def test_the_result_does_not_depend_on_how_the_bytes_were_cut(
    encoding: Encoding, source_rate: int, channels: int, cuts: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.uniform(-0.9, 0.9, 900 * channels)
    data = values.astype("<f4").tobytes() if encoding == "f32le" else random.bytes(1801 * channels)
    pcm = PcmFormat(encoding, source_rate, channels)
    decoder = PcmDecoder(pcm, 16_000)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [decoder.feed(data[begin:end]) for begin, end in pairwise(edges)]
    whole = decoded(data, pcm)
    exact = len(data) // (SAMPLE_BYTES[encoding] * channels) * 16_000 / source_rate
    assert abs(len(whole) - exact) <= 1
    np.testing.assert_array_equal(np.concatenate([*pieces, decoder.finish()]), whole)


def test_bytes_that_do_not_fill_a_sample_are_dropped_at_the_end() -> None:
    data = np.array([100, 200, 300], "<i2").tobytes()[:5]
    np.testing.assert_array_equal(decoded(data, PcmFormat("s16le", 16_000)), np.array([100, 200]) / np.float32(32768))


def test_a_headerless_file_is_loaded_when_its_format_is_stated() -> None:
    values = np.arange(-2000, 2000, dtype="<i2")
    audio = load(io.BytesIO(values.tobytes()), 16_000, pcm=PcmFormat("s16le", 16_000))
    np.testing.assert_array_equal(audio.samples, values / np.float32(32768))
