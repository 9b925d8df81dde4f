"""`auricle doctor`: what can be used on this machine, and what is missing for the rest."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import Any

from auricle.cli.console import AsJson, dash, make_table, print_json, print_table, say


def doctor(as_json: AsJson = False) -> int:
    """Show each engine, device and precision: usable, or why not and what to install."""
    from auricle.bench import environment

    captured = environment.capture()
    rows = [row | {"engine": name} for name in _engines() for row in _support(name)]
    tools = _tools()
    if as_json:
        print_json({"environment": captured, "engines": rows, "tools": tools})
        return 0
    say(environment.summary(captured))
    table = make_table("engine", "device", "precision", "usable", "why not", "what to do")
    for row in rows:
        usable = "[green]yes[/]" if row["usable"] else "[red]no[/]"
        table.add_row(row["engine"], row["device"], row["precision"], usable, dash(row["reason"]), dash(row["remedy"]))
    print_table(table)
    table = make_table("beside the engines", "there", "for", "what to do")
    for tool in tools:
        table.add_row(
            tool["name"], "yes" if tool["there"] else "no", tool["for"], "-" if tool["there"] else tool["remedy"]
        )
    print_table(table)
    return 0


def _engines() -> tuple[str, ...]:
    from auricle.engines.registry import engine_names

    return engine_names()


def _support(name: str) -> list[dict[str, Any]]:
    from auricle.engines.registry import get_engine

    return [asdict(row) for row in get_engine(name).support()]


def _tools() -> list[dict[str, Any]]:
    from auricle.bench import gpu
    from auricle.bench.environment import package_version

    reason = gpu.unavailable_reason()
    return [
        {
            "name": "NVIDIA management library",
            "there": reason is None,
            "for": "GPU memory, power and clocks",
            "remedy": reason or "",
        },
        {
            "name": "flite",
            "there": shutil.which("flite") is not None,
            "for": "auricle corpus synth --backend flite",
            "remedy": "apt install flite",
        },
        {
            "name": "espeak-ng",
            "there": package_version("espeakng-loader") is not None,
            "for": "auricle corpus synth --backend espeak-ng",
            "remedy": 'pip install "auricle[synth]"',
        },
    ]
