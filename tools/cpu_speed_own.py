"""Write an archive as `auricle export` does, without its validation, for the arms of `cpu_speed.py`.

python -m tools.cpu_speed_own model.nemo LAYOUT PRECISION RIGHT FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from auricle.fastconformer.export.writing import Plan, write
from auricle.fastconformer.loading import read


def main(archive: Path, layout: str, precision: str, right: int, folder: Path) -> None:
    """Write one folder; `right` chooses the chunk of sherpa-onnx's layout."""
    model = read(archive)
    folder.mkdir(parents=True)
    ms = round((right + 1) * 1000 * model.config.frame_s) if layout == "sherpa-onnx" else None
    write(model, archive, folder, Plan(layout, precision, ms))  # type: ignore[arg-type]  # from the command line
    (folder / "mels").write_text(str(model.config.features.mels), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
