"""The table of docs/engines.md: what each engine says of itself and of a small model, from the contract alone.

    python tools/engine_table.py            print the table
    python tools/engine_table.py --write    put it into docs/engines.md

An engine is asked which precisions it has on a CPU (`support`), and a small model of it is loaded and asked what it is
(`ModelInfo`): the models are those on which tests/engines holds the engines to the contract.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.engines.contract import LoadOptions
from auricle.engines.registry import get_engine
from auricle.models.store import shipped_path
from auricle.trace import Tracer
from tests.engines import onnx_asr_graphs, sherpa_graphs
from tests.engines.whisper_toys import ctranslate2_whisper, whisper
from tools.to_huggingface import write_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auricle.engines.contract import ModelInfo, Support

DOCS = Path(__file__).parents[1] / "docs" / "engines.md"
BEGIN, END = "<!-- engine table: tools/engine_table.py -->", "<!-- end of engine table -->"
HEAD = (
    "engine",
    "model asked",
    "word times",
    "language",
    "prompt",
    "keywords",
    "live chunks (ms)",
    "longest",
    "precisions",
)
FEATURES = ("word_times", "language", "prompt", "keywords")


def _digits(folder: Path) -> Path:
    from auricle.fastconformer.archive import read_archive

    write_folder(read_archive(shipped_path("auricle-digits-en.nemo")), folder)
    return folder


def _converted(folder: Path) -> Path:
    return ctranslate2_whisper(folder / "converted", whisper(folder / "source"))


MODELS: Sequence[tuple[str, str, Callable[[Path], Path] | None]] = (
    ("fastconformer", "auricle-digits-en", None),
    ("faster-whisper", "Whisper", _converted),
    ("null", "none", None),
    ("onnx-asr", "NeMo's TDT", onnx_asr_graphs.tdt),
    ("pocketsphinx", "pocketsphinx-en-us", None),
    ("sherpa-onnx", "NeMo's transducer", sherpa_graphs.nemo_transducer),
    ("sherpa-onnx", "NeMo's streaming transducer", sherpa_graphs.nemo_live_transducer),
    ("transformers", "Nemotron streaming", _digits),
    ("transformers", "Whisper", whisper),
)


def table() -> str:
    """Return the table in Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD)]
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, what, build) in enumerate(MODELS):
            engine = get_engine(name)
            model = None if build is None else build(Path(folder) / str(number))
            recognizer = engine.load(LoadOptions(model=model, threads=None if name == "null" else 1), Tracer())
            recognizer.unload()
            rows.append(_row(name, what, recognizer.info, engine.support()))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, what: str, info: ModelInfo, support: Sequence[Support]) -> tuple[str, ...]:
    live = "-" if info.streaming is None else ", ".join(map(str, info.streaming.chunk_ms))
    longest = "any" if info.max_audio_s is None else f"{info.max_audio_s:.0f} s"
    cpu = ", ".join(row.precision for row in support if row.device == "cpu")
    return (name, what, *("yes" if one in info.features else "no" for one in FEATURES), live, longest, cpu)


def table_in(text: str) -> str:
    """Return the table that stands in the document."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    """Print the table or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    made = table()
    if parser.parse_args().write:
        text = DOCS.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    else:
        print(made)


if __name__ == "__main__":
    main()
