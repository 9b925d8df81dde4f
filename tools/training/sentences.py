"""What the memorised fixture knows: a part of the demo corpus, and Hindi sentences by eSpeak NG.

python -m tools.training.sentences --pool FILE

The folder `OUTPUT` gets the Hindi audio and a manifest of all of it, if it has none; the pool gets all of it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from auricle.audio import save as save_audio
from auricle.corpus import espeak
from auricle.corpus.manifest import read_manifest
from auricle.corpus.types import MANIFEST_NAME
from auricle.files import write_text
from tools.training.pool import Piece, save

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "tests" / "data" / "memorised"
DEMO = ROOT / "src" / "auricle" / "corpus" / "demo"
SENTENCES, DIGIT_STRINGS = 20, 8
HINDI = (
    "आज सुबह बाज़ार में बहुत भीड़ थी।",
    "कृपया मुझे अगले स्टेशन का नाम बताइए।",
    "बारिश के बाद बच्चों ने काग़ज़ की नाव पानी में छोड़ दी।",
    "उसने अपनी दादी के लिए नीले रंग का शॉल ख़रीदा।",
    "हमारी बैठक कल दोपहर तीन बजे शुरू होगी।",
    "गाँव के स्कूल में एक नई लाइब्रेरी खुली है।",
)


def speak(folder: Path) -> None:
    """Speak the Hindi sentences into `folder`, and write the manifest of all that is memorised."""
    voices, rows = espeak.voices("hi"), []
    demo = [json.loads(line) for line in (DEMO / MANIFEST_NAME).read_text(encoding="utf-8").splitlines()]
    wanted = {"demo-short", "demo-long"}
    wanted |= {f"demo-sentence-{number:02d}" for number in range(1, SENTENCES + 1)}
    wanted |= {f"demo-digits-{number:02d}" for number in range(1, DIGIT_STRINGS + 1)}
    for row in demo:
        if row["id"] in wanted:
            audio = Path(os.path.relpath(DEMO / row["audio"], folder)).as_posix()
            rows.append({key: row[key] for key in row if key != "words"} | {"audio": audio})
    for number, text in enumerate(HINDI, 1):
        voice, name = voices[number % len(voices)], f"memorised-hi-{number}"
        speech = espeak.speak(text, voice, 1.0)
        save_audio(speech, folder / f"{name}.opus")
        row = {"id": name, "audio": f"{name}.opus", "text": text, "language": "hi", "speaker": f"espeak-{voice}"}
        rows.append(row | {"duration_s": round(speech.duration_s, 4), "licence": "Apache-2.0"})
    write_text(folder / MANIFEST_NAME, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def pieces(manifest: Path) -> list[Piece]:
    """Return the recordings of a manifest, the shortest first."""
    found = sorted(read_manifest(manifest).corpus.utterances, key=lambda one: (one.duration_s, one.id))
    return [Piece(one.load().samples, one.text, one.id, "sentence") for one in found]


def main() -> None:
    """Speak what is missing and write the pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="the `.npz` file to write")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the fixture")
    arguments = parser.parse_args()
    manifest = arguments.output / MANIFEST_NAME
    if not manifest.is_file():
        speak(arguments.output)
    save(pieces(manifest), arguments.pool)


if __name__ == "__main__":
    main()
