"""`auricle export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from auricle.cli.console import BYTES_PER_MB, AsJson, make_table, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from auricle.bench.gate.exports import Report
    from auricle.fastconformer.export.manifest import ExportPrecision

EXIT_STATUS = {"passed": 0, "failed": 1, "not enough evidence": 3}
DIGITS = "auricle-digits-en"


def export_model(
    model: Annotated[str | None, typer.Argument(help="Name or path of a FastConformer model; otherwise ours.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write, which must not be there.")] = None,
    layout: Annotated[
        str, typer.Option("--to", help="Who loads it: onnx (Auricle), sherpa-onnx or onnx-asr.")
    ] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32 or int8.")] = "fp32",
    keep: Annotated[
        list[str] | None, typer.Option(help="Layer that stays in fp32, such as layers.0 or layers.3.conv.")
    ] = None,
    chunk_ms: Annotated[
        int | None, typer.Option(help="For sherpa-onnx: live, in chunks of so many ms; otherwise files.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Name, manifest or folder; otherwise demo, or demo-digits for the digits model.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first utterances.")] = None,
    copies: Annotated[
        int | None, typer.Option(min=0, help="Copies of each utterance in noise; otherwise as many as it takes.")
    ] = None,
    margin: Annotated[float, typer.Option(help="Points of WER that the export may be worse by.")] = 0.5,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    as_json: AsJson = False,
) -> int:
    """Write a model as ONNX, if it computes and hears what it does in torch; else leave only the report of why not.

    Exit with 0 written, 1 refused, 3 not enough evidence.
    """
    from auricle.bench.gate.exports import Settings, export
    from auricle.corpus import open_corpus
    from auricle.errors import UsageError
    from auricle.fastconformer.export.manifest import LAYOUTS
    from auricle.fastconformer.export.writing import Plan

    if out is None:
        raise UsageError("where is it to be written", None, "say it, such as -o digits-onnx")
    if layout not in LAYOUTS:
        raise UsageError("there is no such layout", layout, f"choose one of {', '.join(LAYOUTS)}")
    if precision not in {"fp32", "int8"}:
        raise UsageError("models are not exported in", precision, "choose fp32 or int8")
    plan = Plan(layout, cast("ExportPrecision", precision), chunk_ms, tuple(keep or ()))
    is_digits = model is None or DIGITS in model
    chosen = open_corpus(corpus or ("demo-digits" if is_digits else "demo")).select(limit=limit)
    with progress_bar("") as show:
        report = export(
            model, plan, out, chosen, Settings(margin, copies, threads=threads), lambda doing: show(0, None, doing)
        )
    if as_json:
        print_json(asdict(report))
    else:
        _print(report, out)
    return EXIT_STATUS[report.outcome]


def _print(report: Report, out: Path) -> None:
    wrote = (
        f"wrote {out}, {report.bytes / BYTES_PER_MB:.1f} MB" if report.outcome == "passed" else "nothing was written"
    )
    print(f"{report.outcome}: {wrote}")
    for reason in report.reasons:
        print(f"  {reason}")
    table = make_table("check", "outcome", "what was found")
    for one in report.checks:
        table.add_row(one.name, one.outcome, one.told)
    print()
    print_table(table)
