"""Every text of the interface has its words in every language that can be chosen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from gettext import GNUTranslations
from pathlib import Path

import pytest

from tests.house import words
from workstation.catalogues import compile_catalogues

PLACES = re.compile(r"%\((\w+)\)s|\{(\w+)\}")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SAME = {
    " and ", "MIP · {layer}", "SUVmax {suv_max}", "SUVpeak {suv_peak}", "MIP",
    "%(files)s of %(expected_files)s", "%(name)s = %(share)s × SUVbw", "%(peak_memory_mb)s MiB",
    "%(steps_done)s of %(steps_total)s", "AE title", "API", "SUV", "SUVbw", "of", "of %(expected)s",
    "of %(expected_instances)s",
}  # fmt: skip
"""Names, units and counts that are written alike in Chinese."""
NEVER_SHOWN = {"reporting/document.html"}
"""The signed document is the record, in one language whoever asks for it."""


def first(message: words.Message) -> str:
    return message if isinstance(message, str) else message[0]


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_every_text_of_the_sources_has_its_chinese(domain: str) -> None:
    catalogue = words.read(domain)
    found = words.sources()[domain]
    assert len(found) > 100, "the extraction finds nothing"
    missing = {
        f"{place}: {first(message)}"
        for place, message, context in found
        if (entry := catalogue.get(first(message), context)) is None
        or not (entry.string if isinstance(entry.string, str) else all(entry.string))
        or entry.fuzzy
    }
    assert not missing, "\n".join(
        ["no Chinese for (python -m tests.house.words lists them in the .po):", *sorted(missing)]
    )


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_translations_fill_no_place_that_the_text_has_not(domain: str) -> None:
    for entry in words.read(domain):
        if not entry.id:
            continue
        texts = [entry.string] if isinstance(entry.string, str) else list(entry.string)
        known = {name for pair in PLACES.findall(" ".join([first(entry.id), entry.id[-1]]))
                 for name in pair if name}  # fmt: skip
        for text in texts:
            told = {name for pair in PLACES.findall(text) for name in pair if name}
            assert told <= known, entry.id


def test_chinese_is_chinese() -> None:
    alike = {
        first(entry.id)
        for domain in ("django", "djangojs")
        for entry in words.read(domain)
        if entry.id and entry.string and not CHINESE.search(str(entry.string))
    }
    letters = re.compile(r"[A-Za-z]{3,}")
    unknown = {one for one in alike if letters.search(PLACES.sub("", one))} - SAME
    assert not {one for one in unknown if " " in one}, unknown


def test_catalogues_are_compiled_whole_and_only_when_newer(tmp_path: Path) -> None:
    folder = tmp_path / "zh_Hans" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    source = (words.FOLDER / "django.po").read_bytes()
    (folder / "django.po").write_bytes(source)
    (compiled,) = compile_catalogues(tmp_path)
    with compiled.open("rb") as binary:
        assert GNUTranslations(binary).gettext("Worklist") == "工作列表"
    assert compile_catalogues(tmp_path) == []


TOKENS = re.compile(
    r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<!--.*?-->|<(?:script|style|code|kbd)\b.*?</\w+>"
    r"|</?[a-zA-Z!](?:\"(?:\{%.*?%\}|[^\"])*\"|[^\">])*>",
    re.DOTALL,
)
BLOCKS = re.compile(r"\{% blocktranslate.*?endblocktranslate %\}", re.DOTALL)
CLASSES = re.compile(r"\{% block (?:page|body)_class %\}[\w -]*\{% endblock %\}")
SPOKEN = re.compile(r"\s(?:title|placeholder|aria-label|alt)=\"((?:\{%.*?%\}|[^\"])*)\"")
CODES = re.compile(r"\b(?:ID|TLS|UID|PDF|AI|SHA|SUV\w*|Radfuse|DICOM|mm|ml|kB|Ctrl|Enter)\b|&\w+;")


def bare_words(text: str) -> Iterator[str]:
    """What a template says without asking the catalogue."""
    text = CLASSES.sub("", BLOCKS.sub("", text))
    spoken = [TOKENS.sub(" ", value) for value in SPOKEN.findall(text)]
    for piece in [*TOKENS.split(text), *spoken]:
        if re.search(r"[A-Za-z]{2,}", CODES.sub("", piece or "")):
            yield piece.strip()


def test_no_template_speaks_past_the_catalogue() -> None:
    pages = sorted((words.ROOT / "templates").rglob("*.html"))
    assert list(bare_words('<p title="Say">Words {{ x }}</p>')) == ["Words", "Say"]
    found = {
        f"{page.relative_to(words.ROOT)}: {piece[:60]}"
        for page in pages
        if not str(page).endswith(tuple(NEVER_SHOWN))
        for piece in bare_words(page.read_text())
    }
    assert not found, sorted(found)
