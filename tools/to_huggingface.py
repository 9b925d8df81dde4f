"""Write a `.nemo` archive as a folder that transformers 5 reads: `python tools/to_huggingface.py MODEL.nemo FOLDER`.

The weights go through the key map by which the runtime reads such folders. A model of a kind that transformers does
not have is refused, with the options that it lacks; of a hybrid one, `--head ctc` writes the CTC half.
"""

from __future__ import annotations

import argparse
import base64
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.errors import UnsupportedError
from auricle.fastconformer.archive import Archive, read_archive
from auricle.fastconformer.filters import filterbank
from auricle.fastconformer.huggingface.folder import CONFIG_FILE, PROCESSOR_FILE, WEIGHTS_FILE
from auricle.fastconformer.huggingface.names import JOINT_OUTPUT, pairs, renamed
from auricle.fastconformer.huggingface.reading import KINDS, TOKENIZER_FILE, parse_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from auricle.fastconformer.config import ModelConfig

FILTERS_TOLERANCE = 1e-6
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_NORMALISER, _CHARACTERS, _WITH_LENGTH = 3, 2, 2
_DTYPES = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16", "torch.int64": "I64"}


def write_folder(archive: Archive, folder: Path, *, ctc: bool = False) -> None:
    """Write the model of an archive, or its CTC part, into `folder`; raises UnsupportedError naming what is lost."""
    archive = _part(archive, ctc=ctc)
    config = archive.config
    values, processor = _config(config), _processor(config)
    lost = [*_differences(asdict(config), asdict(parse_config(values, processor)), ""), *_filters(archive)]
    if lost:
        raise UnsupportedError("transformers has no model with", "; ".join(lost), "run the `.nemo` archive itself")
    key_map = pairs(streaming=config.encoder.pre_encode_causal)
    weights = {key: value for key, value in archive.weights.items() if not key.startswith("preprocessor.")}
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / WEIGHTS_FILE, renamed(weights, key_map))
    blank = "<pad>" if config.transducer is None else "<blank>"
    files = {
        CONFIG_FILE: values,
        PROCESSOR_FILE: processor,
        TOKENIZER_FILE: tokenizer_table(archive.tokenizer, config.vocabulary, blank),
        "tokenizer_config.json": {"tokenizer_class": "ParakeetTokenizer", "unk_token": "<unk>", "pad_token": blank},
        "generation_config.json": _generation(config),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in the safetensors format."""
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for key, value in tensors.items():
        offsets = [place, place := place + value.numel() * value.element_size()]
        header[key] = {"dtype": _DTYPES[str(value.dtype)], "shape": list(value.shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in tensors.values():
            file.write(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _part(archive: Archive, *, ctc: bool) -> Archive:
    """Return the part of an archive that one class of transformers holds, its output layer where the key map has it."""
    config, weights = replace(archive.config, tokenizer=TOKENIZER_FILE), archive.weights
    transducer = config.transducer
    if transducer is not None and not ctc:
        ours, theirs = (f"joint.joint_net.{index}." for index in (transducer.joint_output, JOINT_OUTPUT))
        kept = {
            key.replace(ours, theirs): value for key, value in weights.items() if not key.startswith("ctc_decoder.")
        }
        config = replace(config, family="transducer", transducer=replace(transducer, joint_output=JOINT_OUTPUT))
        return Archive(config, kept, archive.tokenizer)
    if config.family == "transducer":
        raise UnsupportedError("this model has no CTC head", config.family, "write its transducer")
    head = "decoder." if transducer is None else "ctc_decoder."
    kept = {
        key.replace(head, "decoder.", 1): value
        for key, value in weights.items()
        if key.startswith(("encoder.", "preprocessor.", head))
    }
    return Archive(replace(config, family="ctc", transducer=None), kept, archive.tokenizer)


def _config(config: ModelConfig) -> dict[str, Any]:
    """Return `config.json` of the class of transformers that comes nearest to a model."""
    encoder, transducer = config.encoder, config.transducer
    streaming = encoder.pre_encode_causal
    if transducer is None:
        name = "parakeet_ctc"
    elif streaming:
        name = "nemotron_asr_streaming" if config.prompts is None else "nemotron3_5_asr"
    else:
        name = "parakeet_tdt" if transducer.durations else "parakeet_rnnt"
    layers: dict[str, Any] = {
        "model_type": "nemotron_asr_streaming_encoder" if streaming else "parakeet_encoder",
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.feed_forward,
        "attention_bias": encoder.biases,
        "convolution_bias": encoder.biases,
        "conv_kernel_size": encoder.conv_left + encoder.conv_right + 1,
        "subsampling_conv_channels": encoder.pre_encode_channels,
        "num_mel_bins": encoder.mels,
        "scale_input": encoder.scale_input,
    }
    if streaming:
        first = encoder.contexts[0]
        layers |= {"sliding_window": (first.left or 0) + 1, "default_num_lookahead_tokens": first.right or 0}
    values: dict[str, Any] = {
        "model_type": name,
        "architectures": [KINDS[name].architecture],
        "dtype": "float32",
        "vocab_size": config.vocabulary + 1,
        "pad_token_id": config.vocabulary,
        "encoder_config": layers,
    }
    if transducer is None:
        return values
    if transducer.durations:
        values["durations"] = list(transducer.durations)
    if config.prompts is not None:
        values["num_prompts"] = config.prompts.count
        values["prompt_intermediate_size"] = config.prompts.hidden
        values["default_prompt_id"] = config.prompts.default or 0
    return values | {
        "blank_token_id": config.vocabulary,
        "decoder_hidden_size": transducer.hidden,
        "num_decoder_layers": transducer.rnn_layers,
        "hidden_act": transducer.activation,
        "max_symbols_per_step": transducer.max_symbols,
        "is_encoder_decoder": True,
    }  # fmt: skip


def _generation(config: ModelConfig) -> dict[str, Any]:
    """Return how transformers begins, and that it must not take the scores of durations for tokens."""
    durations = () if config.transducer is None else config.transducer.durations
    beyond = list(range(config.vocabulary + 1, config.vocabulary + 1 + len(durations)))
    values = {"decoder_start_token_id": config.vocabulary, "pad_token_id": config.vocabulary}
    return values | ({"suppress_tokens": beyond} if beyond else {})


def _processor(config: ModelConfig) -> dict[str, Any]:
    features, streaming = config.features, config.encoder.pre_encode_causal
    family = "NemotronAsrStreaming" if streaming else "Parakeet"
    extractor: dict[str, Any] = {
        "feature_extractor_type": f"{family}FeatureExtractor",
        "feature_size": features.mels,
        "sampling_rate": features.sample_rate,
        "win_length": features.window_samples,
        "hop_length": features.hop_samples,
        "n_fft": features.n_fft,
        "preemphasis": features.preemphasis or 0.0,
    }
    values: dict[str, Any] = {"processor_class": f"{family}Processor", "feature_extractor": extractor}
    if config.prompts is not None:
        values["processor_class"] = "Nemotron3_5AsrProcessor"
        values |= {"num_prompts": config.prompts.count, "prompt_dictionary": dict(config.prompts.languages)}
    if streaming:
        rights = [context.right or 0 for context in config.encoder.contexts]
        return values | {"supported_num_lookahead_tokens": rights, "default_num_lookahead_tokens": rights[0]}
    if config.transducer is None:
        return values | {"decoder_type": "ctc"}
    return values | {"decoder_type": "tdt" if config.transducer.durations else "rnnt"}


def _differences(wanted: Any, found: Any, name: str) -> Iterator[str]:
    """Yield what a folder would not tell of a model, as `option = value`."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            yield from _differences(value, found.get(key), f"{name}.{key}" if name else key)
    elif wanted != found:
        yield f"{name} = {wanted}"


def _filters(archive: Archive) -> Iterator[str]:
    for name, value in filterbank(archive.config.features).items():
        if float((archive.weights[name] - value).abs().max()) > FILTERS_TOLERANCE:
            yield f"its own {name}"


def tokenizer_table(model: bytes, vocabulary: int, blank: str) -> dict[str, Any]:
    """Return `tokenizer.json` of a SentencePiece BPE model, whose pieces the blank follows."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [str(processor.id_to_piece(index)) for index in range(vocabulary)]
    special = [index for index in range(vocabulary) if processor.is_unknown(index) or processor.is_control(index)]
    names = {index: pieces[index] for index in special} | {vocabulary: blank}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    metaspace = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": name, **added} for index, name in names.items()],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                *_character_map(model),
                {"type": "Strip", "strip_left": False, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": _SPACE},
            ],
        },
        "pre_tokenizer": metaspace,
        "post_processor": None,
        "decoder": metaspace,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": pieces[int(processor.unk_id())],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: index for index, piece in enumerate(pieces)},
            "merges": _merges(pieces),
        },
    }


def _character_map(model: bytes) -> Iterator[dict[str, str]]:
    """Yield the map of characters that a SentencePiece model normalises with: field 2 of its field 3."""
    for number, normaliser in _fields(model):
        for inner, content in _fields(normaliser) if number == _NORMALISER else ():
            if inner == _CHARACTERS and content:
                yield {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and contents of a protobuf message's fields; numbers have no content."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while place < len(message):
        tag = varint()
        size = {1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 == 0:
            varint()
        elif tag & 7 == _WITH_LENGTH:
            size = varint()
        yield tag >> 3, message[place : place + size]
        place += size


def _merges(pieces: list[str]) -> list[list[str]]:
    """Return the pairs that make each piece, in the order of the pieces, which is that in which they were learnt."""
    known = set(pieces)
    return [
        [piece[:cut], piece[cut:]]
        for piece in pieces
        for cut in reversed(range(1, len(piece)))
        if piece[:cut] in known and piece[cut:] in known
    ]


def main() -> None:
    """Write one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--head", choices=("transducer", "ctc"), default="transducer")
    options = parser.parse_args()
    write_folder(read_archive(options.archive), options.folder, ctc=options.head == "ctc")
    print(options.folder)


if __name__ == "__main__":
    main()
