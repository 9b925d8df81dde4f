"""`auricle models`: what is known, what is here, and fetching the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli.console import AsJson, dash, make_table, megabytes, print_json, print_table, progress_bar, say
from auricle.cli.models_check import check_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.models.catalogue import CatalogueEntry

models_app = typer.Typer(help="Models: list, inspect, check, pull.", no_args_is_help=True, rich_markup_mode=None)
MILLION = 1_000_000

models_app.command("check")(check_model)


@models_app.command("list")
def list_models(
    engine: Annotated[str | None, typer.Option(help="Only models of this engine.")] = None,
    as_json: AsJson = False,
) -> int:
    """Show the models that are known by name, and which of them are on this machine."""
    from auricle.models.catalogue import catalogue
    from auricle.models.store import is_built_in, list_pulled

    pulled = {model.name: model.bytes for model in list_pulled()}
    entries = [entry for _, entry in sorted(catalogue().items()) if engine is None or engine in entry.engines]
    if as_json:
        for entry in entries:
            here = entry.name in pulled or is_built_in(entry)
            print_json(entry.model_dump(mode="json") | {"here": here, "bytes_on_disk": pulled.get(entry.name)})
        return 0
    right = ("M parameters", "MB")
    table = make_table("name", "engine", *right, "precision", "languages", "live ms", "licence", "here", right=right)
    for entry in entries:
        shown = "built in" if is_built_in(entry) else "yes" if entry.name in pulled else "-"
        table.add_row(*_row(entry), shown)
    print_table(table)
    return 0


@models_app.command("inspect")
def inspect_model(
    model: Annotated[str, typer.Argument(help="Name from `auricle models list`, or a path.")],
    as_json: AsJson = False,
) -> int:
    """Show what is known of a model and what its files hold; of a FastConformer what it is and what it costs."""
    from auricle.cli.archives import print_archive
    from auricle.fastconformer.describe import describe
    from auricle.models.summary import inspect

    facts = inspect(model)
    archives = [describe(path) for path in _archives(facts)]
    if as_json:
        print_json(facts | {"archives": archives})
        return 0
    if archives and facts["catalogue"] is None:
        for archive in archives:
            print_archive(archive)
        return 0
    table = make_table("what", "value")
    for name, value in _flat(facts, ""):
        table.add_row(name, value)
    print_table(table)
    for archive in archives:
        print()
        print_archive(archive)
    return 0


@models_app.command("pull")
def pull_models(
    names: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Names from `auricle models list`.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for one model, not the store.")] = None,
    as_json: AsJson = False,
) -> int:
    """Fetch models, go on where an earlier pull stopped, and verify them."""
    from auricle.errors import UsageError
    from auricle.models.catalogue import get
    from auricle.models.download import pull

    if output is not None and len(names) > 1:
        raise UsageError("one folder for several models", output, "pull one model at a time with --output")
    entries = [get(name) for name in names]
    with progress_bar("MB") as show:
        for entry in entries:
            folder = pull(
                entry,
                output,
                lambda progress: show(
                    progress.done_bytes / MILLION,
                    None if progress.total_bytes is None else progress.total_bytes / MILLION,
                    f"{progress.stage} {progress.name}",
                ),
            )
            if as_json:
                print_json({"model": entry.name, "path": str(folder)})
            else:
                say(f"{entry.name} is in {folder}")
    return 0


def _row(entry: CatalogueEntry) -> tuple[str, ...]:
    languages = entry.languages or ()
    return (
        entry.name,
        ", ".join(entry.engines),
        dash(entry.parameters and f"{entry.parameters / MILLION:,.0f}"),
        megabytes(entry.download_bytes),
        dash(", ".join(entry.precisions or ())),
        f"{len(languages)} languages" if len(languages) > 3 else dash(", ".join(languages)),  # noqa: PLR2004
        dash(" ".join(map(str, entry.lookahead_ms))),
        dash(entry.licence),
    )


def _archives(facts: dict[str, Any]) -> list[Path]:
    """Return the `.nemo` files among those that were found, or the folder if it is a model of transformers' kind."""
    from auricle.fastconformer.huggingface.folder import holds_model

    root = Path(facts["path"] or "")
    if facts["path"] and holds_model(root):
        return [root]
    names = [Path(file["path"]) for file in facts["files"]]
    return [root if root.is_file() else root / name for name in names if name.suffix == ".nemo"]


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield every leaf of nested facts under a dotted name; what is unknown is left out."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and not isinstance(value[0], dict):
        yield name, ", ".join(map(str, value))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _flat(part, f"{name}[{index}]")
    elif value is not None:
        yield name, str(value)
