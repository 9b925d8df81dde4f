"""The child-process side of the PocketSphinx engine: decoders, one per utterance or live stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.errors import EngineError, ModelError
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.engines.pocketsphinx_models import SphinxModel
    from auricle.trace import Tracer

FILLER_MARKS = ("<", "[", "+")


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """One chunk of a stream as 16-bit PCM."""

    stream: int
    pcm: bytes
    is_last: bool


class DecoderService:
    """Recognises whole utterances and advances live streams with decoders of one model.

    A decoder keeps the mean cepstrum of what it heard before, so its features are initialised anew for each utterance.
    """

    def __init__(self, tracer: Tracer, model: SphinxModel) -> None:
        self._tracer = tracer
        self._model = model
        self._idle: list[Any] = []
        self._streams: dict[int, Any] = {}
        self._idle.append(self._new_decoder())

    def sample_rate(self) -> int:
        """Samples per second that the model wants."""
        return int(self._idle[0].config["samprate"])

    def recognise(self, pcm: bytes) -> list[Word]:
        """Return the words of one utterance, normalised by the mean cepstrum of the whole of it."""
        decoder = self._idle.pop() if self._idle else self._new_decoder()
        with self._tracer.span("decode"):
            decoder.reinit_feat()
            decoder.start_utt()
            decoder.process_raw(pcm, full_utt=True)
        words = self._finish(decoder)
        self._idle.append(decoder)
        return words

    def open(self, stream: int) -> None:
        """Give a stream a decoder of its own, at the start of an utterance."""
        decoder = self._idle.pop() if self._idle else self._new_decoder()
        self._start_live(decoder)
        self._streams[stream] = decoder

    def step(self, feeds: Sequence[LiveFeed]) -> list[list[Word]]:
        """Advance every stream by its chunk; word times count from the start of the utterance."""
        return [self._advance(feed) for feed in feeds]

    def close(self, stream: int) -> None:
        """Take the decoder back."""
        decoder = self._streams.pop(stream)
        decoder.end_utt()
        self._idle.append(decoder)

    def _advance(self, feed: LiveFeed) -> list[Word]:
        decoder = self._streams[feed.stream]
        with self._tracer.span("decode"):
            if feed.pcm:
                decoder.process_raw(feed.pcm)
            if not feed.is_last:
                hypothesis = decoder.hyp()
                spoken = hypothesis.hypstr.split() if hypothesis else []
                return [Word(text, 0.0, 0.0) for text in spoken]
        words = self._finish(decoder)
        self._start_live(decoder)
        return words

    def _start_live(self, decoder: Any) -> None:
        decoder.reinit_feat()
        if self._model.live_mean is not None:
            decoder.set_cmn(self._model.live_mean)
        decoder.start_utt()

    def _finish(self, decoder: Any) -> list[Word]:
        with self._tracer.span("final-pass"):
            decoder.end_utt()
        with self._tracer.span("detokenise"):
            return _words(decoder)

    def _new_decoder(self) -> Any:
        from pocketsphinx import Decoder

        model = self._model
        options = {"hmm": model.acoustic, "dict": model.dictionary, model.grammar_option: model.grammar, "lm": None}
        if model.grammar_option == "lm":
            options["lm"] = model.grammar
        try:
            decoder = Decoder(loglevel="FATAL", dither=False, **options)
        except (RuntimeError, ValueError) as error:
            raise ModelError("PocketSphinx cannot load this model", f"{model.acoustic}: {error}") from error
        return decoder


def _words(decoder: Any) -> list[Word]:
    frames_per_s = float(decoder.config["frate"])
    try:
        segments = list(decoder.seg() or ())
    except RuntimeError as error:
        raise EngineError("PocketSphinx lost the result of an utterance", error) from error
    return [
        Word(
            text=segment.word.split("(")[0],
            start=segment.start_frame / frames_per_s,
            end=(segment.end_frame + 1) / frames_per_s,
            confidence=min(max(float(segment.prob), 0.0), 1.0),
        )
        for segment in segments
        if not segment.word.startswith(FILLER_MARKS)
    ]
