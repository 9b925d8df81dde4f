"""Record what transformers 5.23.0 makes of folders that `tools/to_huggingface.py` writes: `transformers.npz`.

Run it in an environment of its own that has `transformers==5.23.0`, torch, protobuf, sentencepiece and what
`auricle.audio` needs, with this repository on the path:
`PYTHONPATH=src:. python -m tests.fastconformer.record_transformers DATA`, DATA being the folder of evaluation data.
Beside recording it stops if the folder that transformers writes of the same model, loaded by Auricle, differs from what
the tool wrote, or if the tokenizer does from that of transformers' own converter.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.huggingface.folder import read_folder
from tests.fastconformer.golden import sampled
from tests.fastconformer.transformers_cases import CASES, GOLDEN, SEEDED, Case, archive_of, audio_of, fingerprint
from tools.to_huggingface import write_folder

transformers: Any = import_module("transformers")
converters: Any = import_module("transformers.convert_slow_tokenizer")


def record(case: Case, model: Any, processor: Any, audio: list[Any]) -> dict[str, Any]:
    """Return what transformers makes of each recording of a case, computed alone."""
    looks = {}
    if hasattr(processor, "supported_num_lookahead_tokens"):
        looks = {"num_lookahead_tokens": processor.supported_num_lookahead_tokens[case.lookahead]}
    language = {} if case.language is None else {"language": case.language}
    encoded, tokens, frames, texts = [], [], [], []
    for samples in audio:
        inputs = processor(samples, sampling_rate=16_000, **language)
        features = {key: inputs[key] for key in ("input_features", "attention_mask")}
        with torch.inference_mode():
            output = model.encoder(**features, **looks)
            length = int(output.attention_mask.sum())
            # By itself it makes room for ten labels a frame, and none for the blank between two frames.
            room = {} if case.head == "ctc" else {"max_new_tokens": 20 * length}
            told = {"prompt_ids": inputs["prompt_ids"]} if language else {}
            made = model.generate(**features, **looks, **room, **told, return_dict_in_generate=True)
        encoded.append(output.last_hidden_state[0, :length].numpy())
        said, places = (_joined if case.head == "ctc" else _emitted)(made, model, length)
        tokens.append(said)
        frames.append(places)
        texts.append(processor.decode(made.sequences, skip_special_tokens=True)[0])
    kept = [sampled(one) if case.model in SEEDED else one[:0] for one in encoded]
    return {
        "encoded": np.concatenate(kept),
        "kept": np.array([len(one) for one in kept]),
        "lengths": np.array([len(one) for one in encoded]),
        "tokens": np.concatenate(tokens).astype(np.int16),
        "frames": np.concatenate(frames).astype(np.int16),
        "counts": np.array([len(one) for one in tokens]),
        "texts": np.array(texts),
    }


def _emitted(made: Any, model: Any, length: int) -> tuple[list[int], list[int]]:
    """Return the tokens of a transducer and their frames: each stands where the durations before it have led."""
    places = (made.durations.cumsum(-1) - made.durations)[0]
    found = [
        (label, place)
        for label, place in zip(made.sequences[0].tolist(), places.tolist(), strict=True)
        if label != model.config.blank_token_id and place < length
    ]
    return [label for label, _ in found], [place for _, place in found]


def _joined(made: Any, model: Any, length: int) -> tuple[list[int], list[int]]:
    labels = [-1, *made.sequences[0, :length].tolist()]
    starts = [place for place in range(length) if labels[place + 1] not in {labels[place], model.config.pad_token_id}]
    return [labels[place + 1] for place in starts], starts


def _compare(folder: Path, model: Any, processor: Any, archive: Path) -> None:
    """Stop if transformers writes another folder, or converts the tokenizer to another, than the tool did."""
    theirs = folder / "theirs"
    model.save_pretrained(theirs)
    processor.save_pretrained(theirs)
    ours, read = read_folder(folder), read_folder(theirs)
    assert read.config == ours.config
    assert read.tokenizer == ours.tokenizer
    assert read.weights.keys() == ours.weights.keys()
    assert all(torch.equal(value, ours.weights[key]) for key, value in read.weights.items())
    spm = folder / "tokenizer.model"
    spm.write_bytes(read_archive(archive).tokenizer)
    converted = json.loads(converters.ParakeetConverter(str(spm)).converted().to_str())
    written = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert all(written[part] == converted[part] for part in ("normalizer", "decoder", "pre_tokenizer", "model"))


def main() -> None:
    """Record every case."""
    torch.set_num_threads(1)
    data = Path(sys.argv[1])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            folder = Path(temporary) / case.model / case.head
            archive = archive_of(case.model, Path(temporary), data)
            fresh = not folder.exists()
            if fresh:
                write_folder(read_archive(archive), folder, ctc=case.head == "ctc")
            values = transformers.AutoConfig.from_pretrained(folder)
            model = getattr(transformers, values.architectures[0]).from_pretrained(folder, dtype=torch.float32).eval()
            processor = transformers.AutoProcessor.from_pretrained(folder)
            if fresh:
                _compare(folder, model, processor, archive)
            recorded = record(case, model, processor, audio_of(case.model, data))
            recorded["archive"] = np.array(fingerprint(archive))
            results |= {f"{case}/{key}": value for key, value in recorded.items()}
            print(case, *(f"{key} {recorded[key]}" for key in ("lengths", "counts", "texts")))  # noqa: T201  # a script
    np.savez_compressed(GOLDEN, **results)


if __name__ == "__main__":
    main()
