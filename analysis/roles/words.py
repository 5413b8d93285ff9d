"""Finding the words of ``words.toml`` in descriptions, whatever their language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

LANGUAGES: dict[str, str] = {
    "any": "",
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "zh": "Chinese",
    "ja": "Japanese",
}
_WIDE = frozenset({"zh", "ja"})
"""Languages written without blanks: their words are found anywhere."""
_SEPARATORS = r"[\W_]*"
_LETTER = "a-z0-9"


def fold(text: str) -> str:
    """``text`` for comparison: compatibility forms joined, lower case, Latin accents dropped.

    Marks stay on other scripts: a Japanese voicing mark makes another letter of its base.
    """
    folded: list[str] = []
    for character in unicodedata.normalize("NFKC", text).casefold():
        base = unicodedata.normalize("NFD", character)
        folded.append(base[0] if "a" <= base[0] <= "z" else character)
    return "".join(folded)


def _pattern(word: str, *, anywhere: bool) -> str:
    folded = fold(word)
    if anywhere:
        return re.escape(folded)
    opened, closed = folded.startswith("*"), folded.endswith("*")
    parts = [re.escape(part) for part in folded.strip("*").split()]
    before = f"[{_LETTER}]*" if opened else ""
    if not opened and folded[0].isalnum():
        before = f"(?<![{_LETTER}])"
    after = f"[{_LETTER}]*" if closed else f"(?![{_LETTER}])"
    return before + _SEPARATORS.join(parts) + after


@dataclass(frozen=True)
class Found:
    """A word of the list that a text holds. Never text of the header itself."""

    word: str
    language: str
    """English name of the language; empty for abbreviations and sequence names."""
    means: str

    def told(self) -> str:
        """E.g. ``'nativ' (German: without contrast)``."""
        meaning = f"{self.language}: {self.means}" if self.language else self.means
        return f"'{self.word}' ({meaning})"


@dataclass(frozen=True)
class Group:
    """The words of one meaning."""

    name: str
    means: str
    words: tuple[tuple[str, str], ...]
    """(language code, word)."""
    patterns: tuple[tuple[str, str], ...] = ()
    """(name shown, regular expression on folded text)."""
    not_in: tuple[str, ...] = ()

    @cached_property
    def compiled(self) -> tuple[tuple[Found, re.Pattern[str]], ...]:
        """Longest words first, so that a reason names the most telling one."""
        made = [
            (
                Found(word.strip("*"), LANGUAGES[language], self.means),
                re.compile(_pattern(word, anywhere=language in _WIDE)),
            )
            for language, word in sorted(self.words, key=lambda pair: -len(pair[1].strip("*")))
        ]
        made += [
            (Found(shown, "", self.means), re.compile(pattern)) for shown, pattern in self.patterns
        ]
        return tuple(made)


class Words:
    """All groups; ``find`` looks for one of them in a folded text."""

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self.groups = dict(groups)

    def find(self, group: str, folded: str) -> Found | None:
        """The first word of ``group`` in the text that lies in no match of its ``not_in``."""
        wanted = self.groups[group]
        if not folded:
            return None
        hidden = self._spans(wanted.not_in, folded)
        for found, pattern in wanted.compiled:
            for match in pattern.finditer(folded):
                inside = any(a <= match.start() and match.end() <= b for a, b in hidden)
                if match.group() and not inside:
                    return found
        return None

    def _spans(self, groups: Sequence[str], folded: str) -> list[tuple[int, int]]:
        return [
            match.span()
            for name in groups
            for _, pattern in self.groups[name].compiled
            for match in pattern.finditer(folded)
            if match.group()
        ]


def read_groups(data: Mapping[str, object]) -> Words:
    """The groups of a parsed ``words.toml``. Raises ``ValueError`` naming what is wrong."""
    groups: dict[str, Group] = {}
    for name, raw in data.items():
        if not isinstance(raw, Mapping):
            raise ValueError(f"words.toml: [{name}] is not a table")
        unknown = set(raw) - set(LANGUAGES) - {"means", "pattern", "not_in"}
        if unknown:
            raise ValueError(f"words.toml: [{name}] has unknown entries {sorted(unknown)}")
        words = tuple((lang, str(word)) for lang in LANGUAGES for word in raw.get(lang, ()))
        if any(not fold(word).strip("* ") for _, word in words):
            raise ValueError(f"words.toml: [{name}] holds an empty word")
        groups[name] = Group(
            name=name,
            means=str(raw["means"]),
            words=words,
            patterns=tuple((str(k), str(v)) for k, v in raw.get("pattern", {}).items()),
            not_in=tuple(raw.get("not_in", ())),
        )
    for group in groups.values():
        if missing := set(group.not_in) - set(groups):
            raise ValueError(f"words.toml: [{group.name}] not_in names {sorted(missing)}")
    return Words(groups)
