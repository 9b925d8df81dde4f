#!/usr/bin/env bash
# Measure the CUDA card of this machine: bash bench/gpu.sh [FOLDER]; about seven minutes. Results are JSON in FOLDER (./gpu).
# Needs Python 3.11 or newer with torch (CUDA, Triton), numpy, sentencepiece and pyyaml; PYTHON names the interpreter.
# Where NeMo can be imported too, its own streaming is measured beside ours: four minutes more.
set -euo pipefail
out=$(realpath -m "${1:-gpu}")
cd "$(dirname "$0")/.."
mkdir -p "$out"
export PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python3}
status=0
"$python" -m bench.gpu --out "$out/gpu.json" || status=$?
if "$python" -c "import nemo.collections.asr" 2>/dev/null; then
    "$python" -m bench.gpu_nemo --seconds 240 >"$out/nemo.jsonl" || status=$?
fi
exit "$status"
