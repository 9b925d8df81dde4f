"""Exports that may be trusted: written beside their place, held to torch and to the gate, and only then moved there."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.bench.gate.checks import Check, judge, overall
from auricle.bench.gate.gate import MARGIN_POINTS, make_samples
from auricle.bench.gate.hearing import Heard, hear
from auricle.engines.loading import LoadRequest, load
from auricle.errors import AuricleError, ModelError, UsageError
from auricle.files import write_text
from auricle.models.store import resolve, shipped_path
from auricle.tensors.telemetry import keep_telemetry_off
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from auricle.bench.gate.hearing import Sample
    from auricle.corpus import Corpus
    from auricle.fastconformer.export.writing import Plan
    from auricle.models.verdicts import Outcome

REPORT = "report.json"
_COMPARED = 8
"""Recordings whose every output is compared: all of them are heard."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an export; `errors` are the largest of each output against torch, as numbers."""

    outcome: Outcome
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    errors: dict[str, float] = field(default_factory=dict)
    bytes: int = 0

    def write(self, path: Path) -> None:
        """Keep the report as JSON."""
        write_text(path, json.dumps(asdict(self), indent=1, default=str) + "\n")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to validate: points of WER that may be lost, copies of each sample in noise (None: enough), and so on."""

    margin_points: float = MARGIN_POINTS
    copies: int | None = None
    batch: int = 16
    threads: int | None = None


def export(
    model: str | None,
    plan: Plan,
    out: Path,
    corpus: Corpus,
    settings: Settings,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Write a model to the folder `out` if it proves itself on the corpus; else nothing but `out`.report.json.

    Raises UsageError where something is there already, and what reading and writing a model raise.
    """
    from auricle.fastconformer.export.writing import write
    from auricle.fastconformer.loading import check_installed, find_archive, read

    if out.exists():
        raise UsageError("something is there already", out, "give another folder with -o")
    check_installed()
    path = find_archive(_path_of(model))
    with _beside(out) as folder:
        tell("writing")
        write(read(path), path, folder, plan)
        return accept(path, folder, out, plan, corpus, settings, tell)


def accept(
    path: Path,
    folder: Path,
    out: Path,
    plan: Plan,
    corpus: Corpus,
    settings: Settings,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Validate a folder of graphs against the model at `path`; move it to `out` if it passed, else only report."""
    report = validate(path, folder, plan, corpus, settings, tell)
    if report.outcome != "passed":
        report.write(out.with_name(f"{out.name}.{REPORT}"))
        return report
    from auricle.fastconformer.export.manifest import read_manifest

    report.write(folder / REPORT)
    read_manifest(folder).seal(folder)
    folder.rename(out)
    return report


def validate(
    path: Path,
    folder: Path,
    plan: Plan,
    corpus: Corpus,
    settings: Settings,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Compare what a folder of graphs computes and hears with what the model at `path` does in torch."""
    samples = make_samples(corpus, settings.copies)
    size = sum(file.stat().st_size for file in folder.iterdir())
    checks: list[Check] = []
    errors: dict[str, float] = {}
    try:
        if plan.layout == "onnx":
            checks, errors = _numbers(path, folder, plan, samples, settings, tell)
        if all(one.outcome == "passed" for one in checks):
            checks += _heard(path, folder, plan, samples, settings, tell)
    except ModelError as error:
        checks.append(Check("loads", "failed", f"the graphs cannot be loaded: {error}", {}))
    outcome, reasons = overall(checks)
    return Report(outcome, reasons, tuple(checks), errors, size)


def _numbers(
    path: Path,
    folder: Path,
    plan: Plan,
    samples: Sequence[Sample],
    settings: Settings,
    tell: Callable[[str], None],
) -> tuple[list[Check], dict[str, float]]:
    from auricle.engines.torch_threads import THREADS
    from auricle.fastconformer import loading
    from auricle.fastconformer.export.validation import compare, tokens_differ
    from auricle.fastconformer.ort.session import Settings as SessionSettings
    from auricle.fastconformer.ort.whole import OrtFastConformer

    threads = THREADS.hold(settings.threads)
    try:
        tell("comparing numbers")
        candidate = OrtFastConformer(folder, SessionSettings(threads=threads))
        reference = loading.load(path)
        audio = [one.audio.samples for one in samples if not one.copy]
        errors = compare(reference, candidate, audio[:_COMPARED])
        exact = plan.precision == "fp32"
        worst = max(errors.share, key=lambda name: errors.share[name])
        told = f"{errors.steps} outputs of steps compared, largest error {errors.largest[worst]:.3g} ({worst})"
        told = told if errors.broken is None or not exact else errors.broken
        failed = exact and errors.broken is not None
        checks = [Check("numbers", "failed" if failed else "passed", told, {"broken": errors.broken})]
        if failed:
            return checks, errors.largest
        tell("comparing tokens")
        differ = tokens_differ(reference, candidate, audio)
        told = ", ".join(f"{kind}: {count} of {len(audio)}" for kind, count in differ.items())
        failed = exact and any(differ.values())
        checks.append(
            Check("tokens", "failed" if failed else "passed", f"recordings that differ: {told}", dict(differ))
        )
    except AuricleError as error:
        # What a graph cannot compute is a finding, not an accident.
        return [Check("computes", "failed", f"the graphs cannot compute: {error}", {})], {}
    finally:
        THREADS.give_back()
    return checks, errors.largest


def _heard(
    path: Path,
    folder: Path,
    plan: Plan,
    samples: Sequence[Sample],
    settings: Settings,
    tell: Callable[[str], None],
) -> list[Check]:
    tell("hearing, in torch")
    expected = _recognised(LoadRequest("fastconformer", str(path), threads=settings.threads), samples, settings)
    tell("hearing, as exported")
    if plan.layout == "onnx-asr":
        texts = {one.id: text for one, text in zip(samples, _in_onnx_asr(folder, samples), strict=True)}
        originals = {one.id: texts[one.id] for one in samples if not one.copy}
        found = Heard(expected.info, {"together": texts, "alone": originals})
    else:
        found = _recognised(LoadRequest(plan.layout, str(folder), threads=settings.threads), samples, settings)
    return judge(expected, found, samples, settings.margin_points)


def _recognised(request: LoadRequest, samples: Sequence[Sample], settings: Settings) -> Heard:
    recognizer = load(request, Tracer())
    try:
        return hear(recognizer, samples, settings.batch, lambda _: None)
    finally:
        recognizer.unload()


def _in_onnx_asr(folder: Path, samples: Sequence[Sample]) -> list[str]:
    """Return what onnx-asr hears in samples; raises NotInstalledError without it."""
    from auricle.errors import NotInstalledError

    try:
        keep_telemetry_off()
        import onnx_asr
    except ImportError as error:
        raise NotInstalledError("this layout is proved in", "onnx-asr", "pip install onnx-asr") from error
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    model: Any = onnx_asr.load_model(kind, folder, providers=["CPUExecutionProvider"])
    return [str(model.recognize(one.audio.samples, sample_rate=one.audio.rate)) for one in samples]


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give an empty folder on the same disk, which is gone afterwards unless it was moved."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _path_of(model: str | None) -> Path:
    """Return where a model is, the one that comes with Auricle for None."""
    from auricle.engines.fastconformer import DEFAULT_MODEL

    path = shipped_path(f"{DEFAULT_MODEL}.nemo") if model is None else resolve(model).path
    return shipped_path(f"{DEFAULT_MODEL}.nemo") if path is None else path
