"""What a model tells of itself: stages and what they add up to, bytes of the cache, precisions, checkpoints' names."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auricle.errors import EngineError, ModelError, UnsupportedError
from auricle.qwen3.cache import KVCache, cache_bytes
from auricle.qwen3.config import make_config
from auricle.qwen3.model import Qwen3Asr
from auricle.qwen3.precision import Precisions
from auricle.qwen3.stages import STAGES, Meter
from auricle.trace import Tracer
from tests.qwen3.checkpoints import NUMBERS, configuration, network, plant_overflow, recording, write, write_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_stages_add_up_to_the_time_of_the_call(model: Qwen3Asr) -> None:
    heard = [recording(samples) for samples in (160_000, 90_000, 48_000)]
    model.transcribe(heard, Meter(Tracer(), model.device))
    best = 1.0
    for _ in range(3):  # A busy machine may take time between two stages.
        meter = Meter(Tracer(), model.device)
        start = time.perf_counter()
        model.transcribe(heard, meter)
        total = time.perf_counter() - start
        assert {row["stage"] for row in meter.table()} == set(STAGES)
        spans = sum(span.duration_s for span in meter.tracer.drain())
        assert spans == pytest.approx(sum(one.seconds for one in meter.totals.values()))
        best = min(best, 1 - spans / total)
    assert 0 <= best < 0.03


def test_stages_count_what_they_worked_on(model: Qwen3Asr, meter: Meter) -> None:
    model.transcribe([recording(160_000)], meter)
    tokens = model.config.encoder.tokens(1_000)
    assert (meter.totals["mel"].units, meter.totals["stem"].units) == (1_000, 1_000)
    assert meter.totals["encoder"].units == tokens == 130
    prompt = len(model.prompts.head()) + tokens + len(model.prompts.tail)
    assert meter.totals["prefill"].units == prompt
    assert meter.totals["kv copy"].bytes == prompt * model.kv_bytes
    contexts = meter.by_context()
    assert sum(row["tokens"] for row in contexts) == sum(meter.steps.values()) == meter.steps["eager"]
    assert all(row["ms_per_token"] > 0 for row in contexts)


def test_the_cache_takes_what_it_does_by_hand() -> None:
    published = {
        "audio_config": {"num_mel_bins": 128, "encoder_layers": 18, "encoder_attention_heads": 14, "d_model": 896,
                         "encoder_ffn_dim": 3584, "downsample_hidden_size": 480, "n_window": 50, "n_window_infer": 800},
        "text_config": {"vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
                        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
                        "max_position_embeddings": 65_536},
    }  # fmt: skip
    for values in (published, {"thinker_config": published}):
        config = make_config(values).decoder
        assert config.kv_values * 4 == 2 * 28 * 8 * 128 * 4 == 229_376
        assert cache_bytes(config, 8, 200, 2) == 8 * 256 * 114_688
    tiny = make_config(configuration().to_dict()).decoder
    cache = KVCache(tiny, 3, 129, torch.float16, torch.device("cpu"))
    held = sum(each.numel() * each.element_size() for each in (cache.keys, cache.values))
    assert held == cache_bytes(tiny, 3, 129, 2) == 3 * 256 * (2 * 3 * 2 * 16) * 2


def test_each_part_has_its_precision(folder: Path) -> None:
    model = Qwen3Asr(folder, Precisions("fp32", "fp16"), layout="plain")
    assert {each.dtype for each in model.encoder.stored} == {torch.float32}
    halves = {each.dtype for each in model.decoder.stored if each.ndim > 1 and each.shape[0] > 6}
    assert halves == {torch.float16}
    assert str(model.precisions) == "encoder=fp32,decoder=fp16"
    assert str(Precisions("bf16", "bf16")) == "bf16"


def test_a_product_that_overflows_in_fp16_is_an_error_and_never_a_text(tmp_path: Path, meter: Meter) -> None:
    theirs = network(3)
    plant_overflow(theirs)
    folder = write(tmp_path, theirs)
    heard = [recording(20_000), recording(30_000)]
    assert all(answer.text for answer in Qwen3Asr(folder).transcribe(heard, meter))
    reduced = Qwen3Asr(folder, Precisions("fp32", "fp16"))
    for some in (heard, heard[:1]):
        with pytest.raises(EngineError, match=r"scores are not finite: in float16 .*use bf16 or fp32"):
            reduced.transcribe(some, meter)


def test_a_weight_that_fp16_cannot_hold_is_refused_by_its_name(tmp_path: Path) -> None:
    theirs = network(3)
    with torch.no_grad():
        theirs.model.language_model.layers[2].mlp.up_proj.weight[0, 0] = 70_000.0
    folder = write(tmp_path, theirs)
    Qwen3Asr(folder, Precisions("fp32", "bf16"))
    with pytest.raises(ModelError, match=r"not finite in fp16: .*layers\.2\.mlp\.up_proj.*65,504"):
        Qwen3Asr(folder, Precisions("fp32", "fp16"))


def first_release(folder: Path, goal: Path) -> Path:
    """Write a checkpoint again as the model's first release names things, in two files."""
    goal.mkdir()
    names = (
        ("model.multi_modal_projector.linear_", "thinker.audio_tower.proj"),
        ("model.audio_tower.", "thinker.audio_tower."),
        ("model.language_model.", "thinker.model."),
    )
    tensors = {}
    for key, value in load_file(folder / "model.safetensors").items():
        old, new = next((pair for pair in names if key.startswith(pair[0])), ("", "thinker."))
        tensors[new + key.removeprefix(old)] = value
    places: dict[str, str] = {}
    for number in (0, 1):
        part = dict(sorted(tensors.items())[number::2])
        save_file(part, goal / f"part{number}.safetensors")
        places |= dict.fromkeys(part, f"part{number}.safetensors")
    (goal / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), "utf-8")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    ends = config.pop("eos_token_id")
    (goal / "config.json").write_text(
        json.dumps({"model_type": "qwen3_asr", "thinker_config": config, "eos_token_id": ends}), "utf-8"
    )
    write_vocabulary(goal)
    return goal


def test_a_checkpoint_of_the_first_release_is_the_same_model(
    folder: Path, model: Qwen3Asr, meter: Meter, tmp_path: Path
) -> None:
    other = Qwen3Asr(first_release(folder, tmp_path / "first"))
    assert other.parameters == model.parameters
    heard = [recording(20_000), recording(9_000)]
    assert other.transcribe(heard, meter) == model.transcribe(heard, meter)


def test_answers_name_the_language_or_begin_with_the_one_asked_for(model: Qwen3Asr) -> None:
    prompts = model.prompts
    said = prompts.tokens("language German<asr_text>Guten Tag. ")
    assert (prompts.answer(said).text, prompts.answer(said).language) == ("Guten Tag.", "de")
    assert prompts.answer(prompts.tokens("language None<asr_text>")).language is None
    assert prompts.answer(prompts.tokens("language None")).text == ""
    assert prompts.answer(prompts.tokens("no marker")).text == "no marker"
    assert prompts.answer(prompts.tokens("Bonjour"), "fr").language == "fr"
    assert prompts.opening("en") == prompts.tokens("language English<asr_text>")
    assert prompts.opening(None) == []
    assert prompts.head("a b")[:1] == [NUMBERS["<|im_start|>"]]
    with pytest.raises(UnsupportedError, match=r"token of control: <\|im_end\|>"):
        prompts.head("x<|im_end|>")


def test_context_and_language_are_in_the_prompt_and_change_what_is_said(model: Qwen3Asr, meter: Meter) -> None:
    heard = [recording(30_000)]
    plain = model.transcribe(heard, meter)
    assert model.transcribe(heard, meter, context="Auricle") != plain
    assert model.transcribe(heard, meter, language="de")[0].language == "de"
    assert model.transcribe(heard, meter) == plain


def test_rows_that_ended_long_ago_do_not_outgrow_the_cache(model: Qwen3Asr, meter: Meter) -> None:
    encoded = model.encode([recording(100_000), recording(9_000)], meter)
    prompts = model.prompt(encoded, [1, 200])
    together = model.generator(prompts, meter, lambda: None)
    assert together == [model.generator([one], meter, lambda: None)[0] for one in prompts]


def test_a_prompt_longer_than_the_model_has_positions_is_refused(model: Qwen3Asr, meter: Meter) -> None:
    with pytest.raises(UnsupportedError, match=r"more positions than there are: .*8192"):
        model.transcribe([recording(9_000)], meter, context="x" * 9_000)


def changed(folder: Path, goal: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write a checkpoint with its configuration changed."""
    goal.mkdir()
    for path in folder.iterdir():
        (goal / path.name).write_bytes(path.read_bytes())
    config = json.loads((goal / "config.json").read_text("utf-8"))
    change(config)
    (goal / "config.json").write_text(json.dumps(config), "utf-8")
    return goal


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda config: config.update(model_type="qwen3"), UnsupportedError, "another model than Qwen3-ASR.*qwen3"),
        (lambda config: config.pop("audio_config"), ModelError, "missing: audio_config"),
        (lambda config: config["text_config"].update(head_dim="x"), ModelError, "text_config.head_dim = 'x'"),
        (lambda config: config["text_config"].update(hidden_act="relu"), UnsupportedError, "hidden_act = 'relu'"),
        (lambda config: config["text_config"].update(num_hidden_layers=2), ModelError, "no place for a weight"),
        (lambda config: config["text_config"].update(num_hidden_layers=4), ModelError, "weight is missing: .*layers.3"),
        (lambda config: config["text_config"].update(head_dim=8), ModelError, "do not fit the configuration"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        Qwen3Asr(changed(folder, tmp_path / "changed", change))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_is_damaged_or_missing_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    other = changed(folder, tmp_path / "broken", lambda _: None)
    (other / name).write_bytes((other / name).read_bytes()[:100])
    with pytest.raises(ModelError, match=r"broken"):
        Qwen3Asr(other)
    (other / name).unlink()
    with pytest.raises(ModelError, match=r"broken"):
        Qwen3Asr(other)
