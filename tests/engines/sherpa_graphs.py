"""Toy graphs that hear tones: real ONNX files, with the metadata of real exports, that sherpa-onnx runs.

Four tones stand for four pieces: `▁one`, `▁two`, and `▁th` + `ree`. Each graph takes the loudest mel of a quarter of
the bands and says that quarter's piece when it is loud enough, so that a text follows from the audio alone.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

from auricle.audio import Audio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RATE = 16_000
TONES_HZ = (300, 1000, 2300, 5200)
PIECES = ("▁one", "▁two", "▁th", "ree")
NEMO_TOKENS = (*PIECES, "<blk>")
ICEFALL_TOKENS = ("<blk>", *PIECES)
WORDS = {"one": (0,), "two": (1,), "three": (2, 3)}
TONE_S = 0.24

CONSTANTS = """
    int64[1] at_0 = {0}, int64[1] at_1 = {1}, int64[1] at_2 = {2}, int64[1] at_3 = {3}, int64[1] minus_1 = {-1},
    int64[1] the_end = {1000000}, int64 by_8 = {8}, int64 by_4 = {4}
"""
BLANK_LAST = "float[5] bias = {0,0,0,0,-5}"
BLANK_FIRST = "float[5] bias = {-5,0,0,0,0}"
PICK_LAST = "{1,0,0,0,0, 0,1,0,0,0, 0,0,1,0,0, 0,0,0,1,0}"
PICK_FIRST = "{0,1,0,0,0, 0,0,1,0,0, 0,0,0,1,0, 0,0,0,0,1}"
NOT_AGAIN_LAST = "float[5,5] table = {-99,0,0,0,0, 0,-99,0,0,0, 0,0,-99,0,0, 0,0,-99,-99,0, 0,0,0,0,0}"
NOT_AGAIN_FIRST = "float[5,5] table = {0,0,0,0,0, 0,-99,0,0,0, 0,0,-99,0,0, 0,0,0,-99,0, 0,0,0,-99,-99}"
"""What the last token forbids: itself, and `th` after `ree`; a blank forbids nothing."""

FLOAT16_ONE = "15360"

SCORES = {
    "fp32": ("float[4,5]", "scores = MatMul(frames, pick)"),
    "fp16": (
        "float16[4,5]",
        "half = Cast<to=10>(frames) half_scores = MatMul(half, pick) scores = Cast<to=1>(half_scores)",
    ),
    "int8": (
        "int8[4,5]",
        """q, scale, zero = DynamicQuantizeLinear(frames) whole = MatMulInteger(q, pick, zero)
           rough = Cast<to=1>(whole) scores = Mul(rough, scale)""",
    ),
}


def tone(*pieces: int, seconds: float = TONE_S, level: float = 0.5) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The tones of the pieces one after the other."""
    time = np.arange(round(seconds * RATE)) / RATE
    waves = [level * np.sin(2 * np.pi * TONES_HZ[piece] * time) for piece in pieces]
    return np.concatenate(waves).astype(np.float32)


def say(text: str, *, before_s: float = 0.2, gap_s: float = 0.24) -> Audio:
    """The tones of some words, with silence before, between and after them."""
    gap = np.zeros(round(gap_s * RATE), np.float32)
    parts = [np.zeros(round(before_s * RATE), np.float32)]
    for word in text.split():
        parts += [tone(*WORDS[word]), gap]
    return Audio(np.concatenate(parts), RATE, text)


def write_tokens(path: Path, tokens: Sequence[str]) -> None:
    path.write_text("".join(f"{token} {number}\n" for number, token in enumerate(tokens)), encoding="utf-8")


def save(path: Path, graph: str, props: Mapping[str, str] | None = None) -> None:
    """Write the graph, given in the text syntax of ONNX, with its metadata."""
    import onnx
    import onnx.parser

    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]>\n{graph}')
    onnx.helper.set_model_props(model, dict(props or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def metadata(text: str) -> dict[str, str]:
    """Read metadata written as `key=value` with spaces between."""
    return dict(item.split("=", 1) for item in text.split())


NEMO_CTC = metadata("model_type=EncDecCTCModelBPE vocab_size=4 subsampling_factor=8 normalize_type=")
NEMO_TRANSDUCER = NEMO_CTC | metadata("model_type=EncDecRNNTBPEModel pred_rnn_layers=1 pred_hidden=1 url=x")
NEMO_LIVE = metadata("""window_size=25 chunk_shift=16
    cache_last_channel_dim1=1 cache_last_channel_dim2=1 cache_last_channel_dim3=1
    cache_last_time_dim1=1 cache_last_time_dim2=4 cache_last_time_dim3=1""")
ZIPFORMER_LIVE = metadata("""model_type=zipformer2 T=21 decode_chunk_len=8 encoder_dims=4 query_head_dims=1
    value_head_dims=1 num_heads=1 num_encoder_layers=1 left_context_len=1 cnn_module_kernels=3""")
NEMO_IMAGE = "image = Unsqueeze(audio_signal, at_1) bands = MaxPool<kernel_shape=[20,1], strides=[20,1]>(image)"
NEMO_SLOW = f"""{NEMO_IMAGE} slow = AveragePool<kernel_shape=[1,8], strides=[1,8]>(bands)
    flat = Squeeze(slow, at_1) frames = Transpose<perm=[0,2,1]>(flat)"""
NEMO_STATE_IN = "float[N,1,1,1] cache_last_channel, float[N,1,4,1] cache_last_time, int64[N] cache_last_channel_len"
NEMO_STATE_OUT = "float[N,1,1,1] channel_next, float[N,1,4,1] time_next, int64[N] channel_len_next"
NEMO_LIVE_FRAMES = f"""{NEMO_IMAGE}
    nine = Constant<value_ints=[9]>() new = Slice(bands, nine, the_end, at_3)
    slow = AveragePool<kernel_shape=[1,8], strides=[1,8]>(new)
    joined = Concat<axis=3>(cache_last_time, slow)
    smooth = AveragePool<kernel_shape=[1,2], strides=[1,1]>(joined)
    time_next = Slice(slow, minus_1, the_end, at_3)
    channel_next = Identity(cache_last_channel) channel_len_next = Identity(cache_last_channel_len)
    flat = Squeeze(smooth, at_1) frames = Transpose<perm=[0,2,1]>(flat)
    lengths = Div(length, by_8)"""


def nemo_ctc(
    folder: Path, name: str = "model.onnx", precision: str = "fp32", props: Mapping[str, str] = NEMO_CTC
) -> Path:
    """An offline CTC model in the manner of NeMo: one frame of 80 ms for eight feature frames."""
    dtype, scores = SCORES[precision]
    pick = PICK_LAST.replace("1", FLOAT16_ONE) if precision == "fp16" else PICK_LAST
    graph = f"""ctc (float[N,80,T] audio_signal, int64[N] length) => (float[N,F,5] logprobs)
        <{CONSTANTS}, {BLANK_LAST}, {dtype} pick = {pick}>
        {{ {NEMO_SLOW} {scores} logprobs = Add(scores, bias) }}"""
    save(folder / name, graph, props)
    write_tokens(folder / "tokens.txt", NEMO_TOKENS)
    return folder


def _nemo_joint(folder: Path, durations: str = "") -> None:
    decoder = f"""decoder (int32[N,U] targets, int32[N] target_length, float[1,N,1] h, float[1,N,1] c)
        => (float[N,5,U] outputs, int32[N] lengths, float[1,N,1] h_next, float[1,N,1] c_next)
        <{NOT_AGAIN_LAST}>
        {{ rows = Gather(table, targets) outputs = Transpose<perm=[0,2,1]>(rows) lengths = Identity(target_length)
           h_next = Identity(h) c_next = Identity(c) }}"""
    count = durations.count(",") + 1 if durations else 0
    ends = "logits = Concat<axis=-1>(tokens, durations)" if durations else "logits = Identity(tokens)"
    joiner = f"""joiner (float[N,5,E] encoder_outputs, float[N,5,U] decoder_outputs)
        => (float[N,E,U,{5 + count}] logits)
        <{CONSTANTS}, float[1,1,1,{count or 1}] durations = {{{durations or 0}}}>
        {{ sum = Add(encoder_outputs, decoder_outputs) turned = Transpose<perm=[0,2,1]>(sum)
           tokens = Unsqueeze(turned, at_1) {ends} }}"""
    save(folder / "decoder.onnx", decoder)
    save(folder / "joiner.onnx", joiner)
    write_tokens(folder / "tokens.txt", NEMO_TOKENS)


def nemo_transducer(folder: Path, props: Mapping[str, str] = NEMO_TRANSDUCER, durations: str = "") -> Path:
    """An offline transducer; `durations` are the joiner's constant scores of a TDT model: "0,0,1" skips two frames."""
    graph = f"""encoder (float[N,80,T] audio_signal, int64[N] length) => (float[N,5,F] outputs, int64[N] lengths)
        <{CONSTANTS}, {BLANK_LAST}, float[4,5] pick = {PICK_LAST}>
        {{ {NEMO_SLOW} scores = MatMul(frames, pick) logits = Add(scores, bias)
           outputs = Transpose<perm=[0,2,1]>(logits) lengths = Div(length, by_8) }}"""
    save(folder / "encoder.onnx", graph, props)
    _nemo_joint(folder, durations)
    return folder


def nemo_live_ctc(folder: Path) -> Path:
    """A cache-aware CTC model with chunks of 160 ms; each frame is averaged with the one before, which is cached."""
    graph = f"""live_ctc (float[N,80,T] audio_signal, int64[N] length, {NEMO_STATE_IN})
        => (float[N,F,5] logprobs, int64[N] lengths, {NEMO_STATE_OUT})
        <{CONSTANTS}, {BLANK_LAST}, float[4,5] pick = {PICK_LAST}>
        {{ {NEMO_LIVE_FRAMES} scores = MatMul(frames, pick) logprobs = Add(scores, bias) }}"""
    save(folder / "model.onnx", graph, NEMO_CTC | NEMO_LIVE)
    write_tokens(folder / "tokens.txt", NEMO_TOKENS)
    return folder


def nemo_live_transducer(folder: Path, *, deadly: bool = False) -> Path:
    """A cache-aware transducer; a `deadly` one gives loud audio an output of the wrong size, which ends the process."""
    outputs = "outputs = Transpose<perm=[0,2,1]>(logits)"
    if deadly:
        outputs = """turned = Transpose<perm=[0,2,1]>(logits) peak = ReduceMax<keepdims=0>(bands)
            limit = Constant<value_float=5.0>() loud = Greater(peak, limit) once_more = Cast<to=7>(loud)
            one = Constant<value_ints=[1]>() times = Add(one, once_more) repeats = Concat<axis=0>(times, one, one)
            outputs = Tile(turned, repeats)"""
    graph = f"""encoder (float[N,80,T] audio_signal, int64[N] length, {NEMO_STATE_IN})
        => (float[M,5,F] outputs, int64[N] lengths, {NEMO_STATE_OUT})
        <{CONSTANTS}, {BLANK_LAST}, float[4,5] pick = {PICK_LAST}>
        {{ {NEMO_LIVE_FRAMES} scores = MatMul(frames, pick) logits = Add(scores, bias) {outputs} }}"""
    save(folder / "encoder.onnx", graph, NEMO_TRANSDUCER | NEMO_LIVE)
    _nemo_joint(folder)
    return folder


ZIPFORMER_SLOW = """image = Unsqueeze(x, at_1) bands = MaxPool<kernel_shape=[1,20], strides=[1,20]>(image)
    slow = AveragePool<kernel_shape=[4,1], strides=[4,1]>(bands) frames = Squeeze(slow, at_1)"""
ZIPFORMER_STATE = (
    *(("key", "float[1,N,1]"), ("nonlin", "float[1,N,1,3]"), ("value_1", "float[1,N,1]"), ("value_2", "float[1,N,1]")),
    *(("conv_1", "float[N,4,1]"), ("conv_2", "float[N,4,1]"), ("embed", "float[N,128,3,19]"), ("count", "int64[N]")),
)
ZIPFORMER_STATE_IN = ", ".join(f"{dtype} cached_{name}" for name, dtype in ZIPFORMER_STATE)
ZIPFORMER_STATE_OUT = ", ".join(f"{dtype} new_{name}" for name, dtype in ZIPFORMER_STATE)
ZIPFORMER_LIVE_FRAMES = """image = Unsqueeze(x, at_1) bands = MaxPool<kernel_shape=[1,20], strides=[1,20]>(image)
    chunk = Constant<value_ints=[8]>() new = Slice(bands, at_0, chunk, at_2)
    slow = AveragePool<kernel_shape=[4,1], strides=[4,1]>(new) flat = Squeeze(slow, at_1)
    turned = Transpose<perm=[0,2,1]>(flat) joined = Concat<axis=2>(cached_conv_1, turned)
    smooth = AveragePool<kernel_shape=[2], strides=[1]>(joined) frames = Transpose<perm=[0,2,1]>(smooth)
    new_conv_1 = Slice(turned, minus_1, the_end, at_2) """ + " ".join(
    f"new_{name} = Identity(cached_{name})" for name, _ in ZIPFORMER_STATE if name != "conv_1"
)
ICEFALL_LOGITS = "scores = MatMul(frames, pick) logits = Add(scores, bias)"


def zipformer_ctc(folder: Path) -> Path:
    """An offline CTC model in the manner of icefall: one frame of 40 ms for four feature frames."""
    graph = f"""ctc (float[N,T,80] x, int64[N] x_lens) => (float[N,F,5] logits, int64[N] lens)
        <{CONSTANTS}, {BLANK_FIRST}, float[4,5] pick = {PICK_FIRST}>
        {{ {ZIPFORMER_SLOW} {ICEFALL_LOGITS} lens = Div(x_lens, by_4) }}"""
    save(folder / "model.onnx", graph, {"model_type": "zipformer2_ctc"})
    write_tokens(folder / "tokens.txt", ICEFALL_TOKENS)
    return folder


def zipformer_live_ctc(folder: Path) -> Path:
    """A streaming zipformer2 CTC model with chunks of 80 ms and 130 ms of audio behind them."""
    graph = f"""live_ctc (float[N,T,80] x, {ZIPFORMER_STATE_IN}) => (float[N,F,5] logits, {ZIPFORMER_STATE_OUT})
        <{CONSTANTS}, {BLANK_FIRST}, float[4,5] pick = {PICK_FIRST}>
        {{ {ZIPFORMER_LIVE_FRAMES} {ICEFALL_LOGITS} }}"""
    save(folder / "model.onnx", graph, ZIPFORMER_LIVE)
    write_tokens(folder / "tokens.txt", ICEFALL_TOKENS)
    return folder


def _icefall_joint(folder: Path, suffix: str) -> None:
    decoder = f"""decoder (int64[N,2] y) => (float[N,5] decoder_out)
        <{NOT_AGAIN_FIRST}, int64 last = {{1}}>
        {{ newest = Gather<axis=1>(y, last) decoder_out = Gather(table, newest) }}"""
    joiner = """joiner (float[N,5] encoder_out, float[N,5] decoder_out) => (float[N,5] logit)
        { logit = Add(encoder_out, decoder_out) }"""
    save(folder / f"decoder{suffix}.onnx", decoder, metadata("vocab_size=5 context_size=2"))
    save(folder / f"joiner{suffix}.onnx", joiner, metadata("joiner_dim=5"))
    write_tokens(folder / "tokens.txt", ICEFALL_TOKENS)


def zipformer_transducer(folder: Path, suffix: str = "-epoch-9-avg-1") -> Path:
    """An offline icefall transducer with a stateless decoder."""
    graph = f"""encoder (float[N,T,80] x, int64[N] x_lens) => (float[N,F,5] logits, int64[N] lens)
        <{CONSTANTS}, {BLANK_FIRST}, float[4,5] pick = {PICK_FIRST}>
        {{ {ZIPFORMER_SLOW} {ICEFALL_LOGITS} lens = Div(x_lens, by_4) }}"""
    save(folder / f"encoder{suffix}.onnx", graph, {"model_type": "zipformer2"})
    _icefall_joint(folder, suffix)
    return folder


def zipformer_live_transducer(folder: Path, suffix: str = "-epoch-9-avg-1-chunk-8-left-8") -> Path:
    """A streaming zipformer2 transducer."""
    graph = f"""encoder (float[N,T,80] x, {ZIPFORMER_STATE_IN}) => (float[N,F,5] logits, {ZIPFORMER_STATE_OUT})
        <{CONSTANTS}, {BLANK_FIRST}, float[4,5] pick = {PICK_FIRST}>
        {{ {ZIPFORMER_LIVE_FRAMES} {ICEFALL_LOGITS} }}"""
    save(folder / f"encoder{suffix}.onnx", graph, ZIPFORMER_LIVE)
    _icefall_joint(folder, suffix)
    return folder


WHISPER = metadata("""model_type=whisper-toy n_mels=80 n_text_layer=1 n_text_ctx=64 n_text_state=1 n_vocab=12
    blank_id=4 sot=4 eot=5 transcribe=6 translate=7 no_timestamps=8 no_speech=9 is_multilingual=1 sot_sequence=4,10,6
    all_language_tokens=10,11 all_language_codes=en,de""")
SENSE_VOICE = metadata("""model_type=sense_voice_ctc vocab_size=11 lfr_window_size=7 lfr_window_shift=6
    normalize_samples=0 with_itn=14 without_itn=15
    lang_auto=0 lang_zh=1 lang_en=2 lang_ja=0 lang_ko=0 lang_yue=0""") | {
    "neg_mean": ",".join(["0"] * 560),
    "inv_stddev": ",".join(["1"] * 560),
}
SENSE_VOICE_TOKENS = ("<blk>", *PIECES, "<|en|>", "<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>", "<unk>")


WHISPER_ATTENTION = """
    size = Constant<value_ints=[150]>() one = Constant<value_ints=[1]>() area = Concat<axis=0>(one, one, width, size)
    weights = ConstantOfShape(area)"""


def whisper(
    folder: Path, prefix: str = "toy.en-", *, multilingual: bool = True, attention: bool = False, frames: str = "T"
) -> Path:
    """A Whisper that says one piece for every half second of tone; German says `▁two` where English says `▁one`."""
    encoder = f"""encoder (float[1,80,{frames}] mel) => (float[1,1,F,4] cross_k, float[1,1,F,4] cross_v)
        <{CONSTANTS}>
        {{ image = Unsqueeze(mel, at_1) bands = MaxPool<kernel_shape=[20,1], strides=[20,1]>(image)
           slow = AveragePool<kernel_shape=[1,50], strides=[1,50]>(bands)
           cross_k = Transpose<perm=[0,1,3,2]>(slow) cross_v = Identity(cross_k) }}"""
    weights = ", float[1,1,K,150] weights" if attention else ""
    decoder = f"""decoder (int64[1,K] tokens, float[1,1,64,1] self_k, float[1,1,64,1] self_v,
        float[1,1,F,4] cross_k, float[1,1,F,4] cross_v, int64[1] offset)
        => (float[1,1,12] logits, float[1,1,64,1] next_k, float[1,1,64,1] next_v{weights})
        <{CONSTANTS}, int64 german = {{11}}, int64[1] prompt = {{{4 if multilingual else 2}}}, int64[1] zero = {{0}},
         float[4,12] english = {{1,0,0,0,0,0,0,0,0,0,0,0, 0,1,0,0,0,0,0,0,0,0,0,0,
                                 0,0,1,0,0,0,0,0,0,0,0,0, 0,0,0,1,0,0,0,0,0,0,0,0}},
         float[4,12] other = {{0,1,0,0,0,0,0,0,0,0,0,0, 1,0,0,0,0,0,0,0,0,0,0,0,
                               0,0,1,0,0,0,0,0,0,0,0,0, 0,0,0,1,0,0,0,0,0,0,0,0}},
         float[12] bias = {{0,0,0,0,-9,0.6,-9,-9,-9,-9,0.5,-9}}>
        {{ is_german = Equal(tokens, german) mark = Cast<to=1>(is_german) any = ReduceMax<keepdims=0>(mark)
           next_k = Add(self_k, any) next_v = Identity(self_v) known = ReduceMax<keepdims=0>(next_k)
           half = Constant<value_float=0.5>() speaks_german = Greater(known, half)
           picks = Where(speaks_german, other, english)
           shape = Shape(tokens) width = Gather(shape, at_1) end = Add(offset, width) raw = Sub(end, prompt)
           place = Max(raw, zero) frame = Gather<axis=2>(cross_k, place) flat = Squeeze(frame, at_1)
           scores = MatMul(flat, picks) logits = Add(scores, bias){"" if not attention else WHISPER_ATTENTION} }}"""
    props = WHISPER if multilingual else WHISPER | metadata("is_multilingual=0 sot_sequence=4")
    save(folder / f"{prefix}encoder.onnx", encoder, props)
    save(folder / f"{prefix}decoder.onnx", decoder)
    words = [base64.b64encode(piece.replace("▁", " ").encode()).decode() for piece in PIECES]
    write_tokens(folder / f"{prefix}tokens.txt", words)
    return folder


def sense_voice(folder: Path) -> Path:
    """A SenseVoice whose first four frames name language, emotion, event and normalisation; asked for zh it says so."""
    graph = f"""sense_voice (float[N,T,560] x, int32[N] x_length, int32[N] language, int32[N] text_norm)
        => (float[N,F,11] logits)
        <{CONSTANTS}, int64[4] split = {{0,0,7,80}}, float[11] bias = {{5,0,0,0,0,-99,-99,-99,-99,-99,-99}},
         float[4,11] pick = {{0,1,0,0,0,0,0,0,0,0,0, 0,0,1,0,0,0,0,0,0,0,0,
                              0,0,0,1,0,0,0,0,0,0,0, 0,0,0,0,1,0,0,0,0,0,0}},
         float[3,11] tongues = {{0,0,0,0,0,9,0,0,0,0,0, 0,0,0,0,0,0,9,0,0,0,0, 0,0,0,0,0,9,0,0,0,0,0}},
         float[1,3,11] rest = {{0,0,0,0,0,0,0,9,0,0,0, 0,0,0,0,0,0,0,0,9,0,0, 0,0,0,0,0,0,0,0,0,9,0}}>
        {{ image = Reshape(x, split) bands = MaxPool<kernel_shape=[1,20], strides=[1,20]>(image)
           frames = ReduceMean<axes=[2], keepdims=0>(bands) scores = MatMul(frames, pick) speech = Add(scores, bias)
           tongue = Gather(tongues, language) first = Unsqueeze(tongue, at_1) zeros = Sub(first, first)
           others = Add(zeros, rest) logits = Concat<axis=1>(first, others, speech) }}"""
    save(folder / "model.onnx", graph, SENSE_VOICE)
    write_tokens(folder / "tokens.txt", SENSE_VOICE_TOKENS)
    return folder
