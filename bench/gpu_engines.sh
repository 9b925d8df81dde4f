#!/usr/bin/env bash
# Measure Qwen3-ASR on the CUDA card of this machine: bash bench/gpu_engines.sh [FOLDER] [SIZE...]; sizes are 0.6b (the
# default), 1.7b and tiny. Results are JSON in FOLDER (./gpu-engines). Needs Python 3.11 or newer with torch (CUDA),
# transformers and numpy; PYTHON names the interpreter. DEVICE=cpu tries the suite without a card, best with size tiny.
set -euo pipefail
out=$(realpath -m "${1:-gpu-engines}")
shift || true
cd "$(dirname "$0")/.."
mkdir -p "$out"
export PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}"
status=0
for size in "${@:-0.6b}"; do
    "${PYTHON:-python3}" -m bench.gpu_engines --size "$size" --device "${DEVICE:-cuda}" --out "$out/qwen3-asr-$size.json" || status=$?
done
exit "$status"
