"""`auricle models check`: the precision gate."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.console import AsJson, make_table, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from auricle.bench.gate.gate import Judgement

EXIT_STATUS = {"passed": 0, "failed": 1, "not enough evidence": 3}
DIGITS = "auricle-digits-en"


def check_model(
    model: Annotated[str | None, typer.Argument(help="Name or path; otherwise the engine's own.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="What to check: bf16, fp16, int8, or encoder=P,decoder=P.")
    ] = None,
    against: Annotated[str, typer.Option(help="Precision of the reference.")] = "fp32",
    engine: Annotated[str | None, typer.Option(help="Engine; otherwise the one that the model belongs to.")] = None,
    device: Annotated[str, typer.Option(help="Device of both.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of both.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Name, manifest or folder; otherwise demo, or demo-digits for the digits model.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first utterances.")] = None,
    copies: Annotated[
        int | None, typer.Option(min=0, help="Copies of each utterance in noise; otherwise as many as it takes.")
    ] = None,
    margin: Annotated[float, typer.Option(help="Points of WER that the candidate may be worse by.")] = 0.5,
    batch: Annotated[int, typer.Option(min=1, help="Recordings in a batch.")] = 16,
    as_json: AsJson = False,
) -> int:
    """Check a reduced precision against fp32 on the same audio; exit with 0 passed, 1 failed, 3 not enough evidence.

    The verdict is kept; what has not passed is not loaded unless it is asked for as, say, bf16-unchecked.
    """
    from auricle.bench.gate.gate import Settings, check
    from auricle.corpus import open_corpus
    from auricle.engines.loading import LoadRequest
    from auricle.errors import UsageError

    if precision is None:
        raise UsageError("which precision is to be checked", None, "say it, such as --precision bf16")
    if model is None and engine is None:
        raise UsageError("which model is to be checked", None, "name it, or an engine that carries one with --engine")
    is_digits = DIGITS in (model or "") or (model is None and engine == "fastconformer")
    chosen = open_corpus(corpus or ("demo-digits" if is_digits else "demo")).select(limit=limit)
    with progress_bar("") as show:
        judgement = check(
            LoadRequest(engine, model, device, precision, threads),
            LoadRequest(engine, model, device, against, threads),
            chosen,
            Settings(margin, copies, batch),
            lambda doing: show(0, None, doing),
        )
    if as_json:
        print_json(asdict(judgement) | {"verdict": judgement.verdict and judgement.verdict.model_dump(mode="json")})
    else:
        _print(judgement, precision, against)
    return EXIT_STATUS[judgement.outcome]


def _print(judgement: Judgement, precision: str, against: str) -> None:
    held = f" (held as {judgement.candidate['precision']})" if judgement.verdict else ""
    print(f"{precision}{held} against {against}: {judgement.outcome}")
    for reason in judgement.reasons:
        print(f"  {reason}")
    table = make_table("check", "outcome", "what was found")
    for one in judgement.checks:
        table.add_row(one.name, one.outcome, one.told)
    print()
    print_table(table)
    if judgement.outcome == "not enough evidence":
        say("hint: give a larger corpus with --corpus, or a wider margin with --margin")
