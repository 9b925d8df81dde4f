"""Normalisers keep what is said and drop how it is written."""

import ast
import inspect
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.errors import UsageError
from auricle.score import normalise
from auricle.score.normalise import NAMES, for_language, get

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
INDIC_TEXT = st.text("कखगमय़ािीुूंँ्ऽ।०१२३ \u200c\u200d-.,'5a", max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,   World!", "hello world"),
        ("l\u2019homme s'en-va", "l homme s en va"),
        ("Über-cool Straße", "über cool straße"),
        ("\ufb01ve \uff21\uff22\uff23", "five abc"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zero width"),
        ("हिन्दी में, क्या?", "हिन्दी में क्या"),
        ("one ❤️ love 1️⃣", "one love 1"),
        ("  ", ""),
        ("…!", ""),
    ],
)
def test_basic_keeps_letters_marks_and_digits_alone(text: str, expected: str) -> None:
    assert get("basic")(text) == expected


def test_none_leaves_the_text_as_it_is() -> None:
    assert get("none")(" Hello,  World! ") == " Hello,  World! "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's 20 dollars", "it is $20"),
        ("it\u2019s twenty dollars", "it is $20"),
        ("I won't, you can't", "i will not you can not"),
        ("the colour of two and a half", "the color of 2.5"),
        ("nineteen ninety nine", "1999"),
        ("Mr. Smith paid 5 per cent", "mister smith paid 5%"),
        ("um, yes (laughs) [noise]", "yes"),
        ("naïve café", "naive cafe"),
    ],
)
def test_english_follows_whisper(text: str, expected: str) -> None:
    assert get("english")(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three", "123"),
        ("ten o'clock", "100 clock"),
        ("oh my", "0 my"),
        ("1 dollar", "one"),
        ("one pound of butter", "one of butter"),
        ("John's car", "john is car"),
    ],
)
def test_english_has_the_known_oddities_of_whisper(text: str, expected: str) -> None:
    assert get("english")(text) == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("hi", "उसने १२ आम खरीदे।", "उसने बारह आम खरीदे"),
        ("hi", "कीमत 1,00,000 रुपये; 1,234,567", "कीमत एक लाख रुपये बारह लाख चौंतीस हज़ार पाँच सौ सरसठ"),
        ("hi", "5वीं कक्षा, 10km, कोविड-19", "पाँचवीं कक्षा दस km कोविड उन्नीस"),
        ("hi", "007", "शून्य शून्य सात"),
        ("hi", "9876543210", "नौ आठ सात छः पाँच चार तीन दो एक शून्य"),
        ("hi_in", "अम्‍मा\u200c जी", "अम्मा जी"),
        ("bn", "২১", "একুশ"),
        ("ta", "105", "நூற்று ஐந்து"),
        ("ar", "عـــربي ٢١", "عربي واحد و عشرون"),
        ("fa", "\u0645\u06cc\u200c\u0631\u0648\u0645", "\u0645\u06cc\u0631\u0648\u0645"),
        ("ml", "അവന\u0d4d\u200d", "അവൻ"),
        ("bn", "উত\u09cd\u200dসব", "উৎসব"),
        ("ja", "２１個 の リンゴ です。", "二十一個のリンゴです"),
        ("hi", "1,234 और 2010,201", "एक हज़ार दो सौ चौंतीस और दो हज़ार दस दो सौ एक"),
        ("zh", "我 有 三个。Hello 世界", "我有三个 hello 世界"),
        ("my", "၁၂ 3", "12 3"),
        ("th", "มี 5 ตัว", "มีห้าตัว"),
    ],
)
def test_nonlatin_speaks_the_language(language: str, text: str, expected: str) -> None:
    assert get("nonlatin", language)(text) == expected


def test_the_two_spellings_of_a_nukta_letter_are_one() -> None:
    assert get("nonlatin", "hi")("\u0958लम") == get("nonlatin", "hi")("\u0915\u093cलम")


def test_nonlatin_keeps_every_hindi_mark() -> None:
    text = "ज़िंदगी में हँसना अंतःकरण क्षेत्र"
    assert get("nonlatin", "hi")(text) == text


def test_digits_that_have_no_words_are_kept_and_the_name_says_so() -> None:
    normaliser = get("nonlatin", "zh")
    assert normaliser("有 3 个") == "有 3 个"
    assert "digits kept" in normaliser.name
    assert "zh" in normaliser.note


@pytest.mark.parametrize("name", ["basic", "nonlatin"])
@given(text=ANY_TEXT | INDIC_TEXT)
@settings(deadline=None)
def test_a_second_pass_changes_nothing(name: str, text: str) -> None:
    normaliser = get(name, "hi")
    assert normaliser(normaliser(text)) == normaliser(text)


@pytest.mark.parametrize("name", NAMES)
@given(text=ANY_TEXT)
@settings(deadline=None)
def test_any_text_can_be_normalised(name: str, text: str) -> None:
    assert isinstance(get(name, "hi")(text), str)


@pytest.mark.parametrize("language", sorted(one for known in normalise._SPELLED_BY.values() for one in known))
@given(numbers=st.lists(st.integers(0, 999_999_999), min_size=2, max_size=2, unique=True))
@settings(max_examples=20, deadline=None)
def test_two_numbers_have_different_words_without_digits(language: str, numbers: list[int]) -> None:
    first, second = (get("nonlatin", language)(str(number)) for number in numbers)
    assert first != second
    assert not any(character.isdigit() for character in first + second)


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("en", "english"),
        ("en-US", "english"),
        ("de", "basic"),
        ("ko", "basic"),
        ("hi", "nonlatin (hi)"),
        ("hi_in", "nonlatin (hi)"),
        ("cmn_hans_cn", "nonlatin (digits kept)"),
        (None, "basic"),
    ],
)
def test_a_language_has_its_normaliser(language: str | None, name: str) -> None:
    assert for_language(language).name == name


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"whisper.*none, basic, english, nonlatin"):
        get("whisper")


def test_each_normaliser_has_a_hash_of_its_own_that_lasts() -> None:
    script = "from auricle.score.normalise import get; print(get('nonlatin', 'hi').hash)"
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    hashes = [get(name).hash for name in NAMES] + [get("nonlatin", language).hash for language in ("hi", "mr", "ar")]
    assert len(set(hashes)) == len(hashes)
    assert elsewhere.stdout.strip() == get("nonlatin", "hi").hash


def test_the_hash_reads_the_rules_and_not_the_prose() -> None:
    code = normalise._rules()
    assert all(ast.dump(ast.Constant(value)) in code for value in ("NFKC", normalise._UNSPACED, "whisper-normalizer"))
    assert "Return what suits a language" in inspect.getsource(for_language)
    assert "Return what suits a language" not in code


def test_importing_the_scorer_loads_no_normaliser_library() -> None:
    script = (
        "import sys, auricle.score.normalise, auricle.score.compare, auricle.score.timing;"
        "heavy = {'whisper_normalizer', 'num2words', 'indic_numtowords', 'rapidfuzz', 'rich', 'scipy'};"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
