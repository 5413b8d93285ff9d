"""Every text of the interface in the sources, and the catalogues that must hold it.

``python -m tests.house.words`` brings the catalogues in line with the sources: new texts get an
empty translation (the test then names them), texts that nothing uses any more are taken out.
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workstation" / "locale" / "zh_Hans" / "LC_MESSAGES"
PYTHON_CALLS = {
    "gettext": None, "gettext_lazy": None, "_": None,
    "ngettext": (1, 2), "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2), "pgettext_lazy": ((1, "c"), 2),
}  # fmt: skip
TEXT = r"""(?:u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*"|u?'''(?:[^'\\]|\\.|'(?!''))*''')"""
IN_TEMPLATES = re.compile(
    rf"""\b(?:(n)gettext\(\s*({TEXT})\s*,\s*({TEXT})|pgettext\(\s*({TEXT})\s*,\s*({TEXT})"""
    rf"""|gettext\(\s*({TEXT}))""",
    re.DOTALL,
)
LITERAL = r"'(?:[^'\\\n]|\\.)*'"
IN_SCRIPTS = re.compile(rf"""(?<![\w.$'])(tn?)\(\s*(?:({LITERAL})(?:\s*,\s*({LITERAL}))?)?""")

Message = str | tuple[str, str]
"""A text, or its forms for one and for many."""


def python_texts() -> Iterator[tuple[str, Message, str | None]]:
    """(place, message, context) of the Python sources of the web."""
    for path in sorted((ROOT / "workstation").rglob("*.py")):
        if "migrations" not in path.parts:
            for line, message, _, context in extract(
                "python", io.BytesIO(path.read_bytes()), PYTHON_CALLS
            ):
                yield _place(path, line), _message(message), context


def template_texts() -> Iterator[tuple[str, Message, str | None]]:
    """(place, message, context) of the templates."""
    for path in sorted((ROOT / "templates").rglob("*.html")):
        source = templatize(path.read_text(), origin=str(path))
        for found in IN_TEMPLATES.finditer(source):
            place = _place(path, source.count("\n", 0, found.start()) + 1)
            _, one, many, context, worded, plain = found.groups()
            if many:
                yield place, (ast.literal_eval(one), ast.literal_eval(many)), None
            elif worded:
                yield place, ast.literal_eval(worded), ast.literal_eval(context)
            else:
                yield place, ast.literal_eval(plain), None


def script_texts() -> Iterator[tuple[str, Message, str | None]]:
    """(place, message, context) of the TypeScript sources, also of a call inside another."""
    for path in sorted((ROOT / "frontend" / "src").rglob("*.ts")):
        if path.name == "i18n.ts":
            continue
        source = path.read_text()
        for found in IN_SCRIPTS.finditer(source):
            place = _place(path, source.count("\n", 0, found.start()) + 1)
            name, one, many = found.groups()
            if one is None or (name == "tn" and many is None):
                raise ValueError(f"{place}: {name}() needs plain literals, the catalogue's keys")
            first = ast.literal_eval(one)
            yield place, (first, ast.literal_eval(many)) if name == "tn" else first, None


def _place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def _message(found: str | tuple[str, ...]) -> Message:
    if isinstance(found, str):
        return found
    one, many = found[:2]
    return one, many


def sources() -> dict[str, list[tuple[str, Message, str | None]]]:
    """Domain -> what its sources say."""
    return {"django": [*python_texts(), *template_texts()], "djangojs": [*script_texts()]}


def read(domain: str) -> Catalog:
    with (FOLDER / f"{domain}.po").open("rb") as text:
        return read_po(text, locale="zh_Hans", domain=domain, abort_invalid=True)


def bring_in_line() -> None:
    """Rewrite the catalogues by what the sources say, keeping every translation still used."""
    for domain, found in sources().items():
        path = FOLDER / f"{domain}.po"
        old = read(domain) if path.exists() else Catalog(locale="zh_Hans")
        new = Catalog(locale="zh_Hans", domain=domain, project="Radfuse", fuzzy=False)
        new.creation_date = old.creation_date
        for _, message, context in found:
            one = message if isinstance(message, str) else message[0]
            if new.get(one, context) is not None:
                continue
            known = old.get(one, context)
            flags = ["python-brace-format"] if "{" in one else []
            new.add(message, known.string if known else None, context=context, flags=flags)
        with path.open("wb") as text:
            write_po(text, new, width=100, omit_header=False, sort_output=True)


if __name__ == "__main__":
    bring_in_line()
