#!/usr/bin/env bash
# A small file benchmark against a kept baseline, through bench/gate.toml, with a report: about a minute. The first run
# becomes the baseline; `auricle compare --keep RUN --runs-folder FOLDER` keeps another.
#
#   bash bench/gate.sh [FOLDER]        FOLDER of runs, runs/gate if not given; AURICLE is the command, auricle if not set
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs/gate}
auricle=${AURICLE:-auricle}
"$auricle" bench offline --corpus demo-digits --limit 20 --normaliser basic --engine fastconformer --threads 1 \
    --runs 8 --warmup 2 --runs-folder "$runs" > /dev/null
run=$("$auricle" runs list --limit 1 --json --runs-folder "$runs" | sed 's/.*"id": "\([^"]*\)".*/\1/')
if [ ! -s "$runs/baseline.txt" ]; then
    "$auricle" compare --keep "$run" --runs-folder "$runs"
    echo "$run is the baseline now: change something and run this again"
    exit 0
fi
status=0
"$auricle" compare "$run" --against baseline --gate bench/gate.toml --runs-folder "$runs" || status=$?
baseline=$(tail -n 1 "$runs/baseline.txt")
"$auricle" report "$baseline" "$run" --output "$runs/report.html" --runs-folder "$runs"
exit "$status"
