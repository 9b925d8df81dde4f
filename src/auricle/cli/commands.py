"""All commands; importing this module registers them."""

from __future__ import annotations

from auricle.cli import app
from auricle.cli.bench import bench_app
from auricle.cli.compare import compare
from auricle.cli.corpus import corpus_app
from auricle.cli.doctor import doctor
from auricle.cli.export import export_model
from auricle.cli.listen import listen
from auricle.cli.log import log_app
from auricle.cli.models import models_app
from auricle.cli.plan import plan
from auricle.cli.report import report
from auricle.cli.runs import runs_app
from auricle.cli.serve import serve
from auricle.cli.transcribe import transcribe

app.command()(transcribe)
app.command()(listen)
app.add_typer(models_app, name="models")
app.command()(doctor)
app.command("export")(export_model)
app.command()(serve)
app.add_typer(corpus_app, name="corpus")
app.add_typer(bench_app, name="bench")
app.add_typer(runs_app, name="runs")
app.command()(compare)
app.add_typer(log_app, name="log")
app.command()(plan)
app.command()(report)
