"""``{% cells columns %} {% cell "due" %}… {% cell "site" %}… {% endcells %}``: the cells of a row.

Each column's part is found by its name, once; a chain of ``{% if %}`` would compare names thousands
of times for a page.
"""

from __future__ import annotations

from django import template
from django.template.base import FilterExpression, Node, NodeList, Parser, Token
from django.template.context import Context
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


class Cells(Node):
    """Renders the parts of the columns on screen, in their order."""

    child_nodelists = ("nodelist",)

    def __init__(self, columns: FilterExpression, parts: dict[str, NodeList]) -> None:
        self.columns = columns
        self.parts = parts
        self.nodelist = NodeList(node for part in parts.values() for node in part)

    def render(self, context: Context) -> SafeString:
        chosen = self.columns.resolve(context)
        return mark_safe("".join(self.parts[column.name].render(context) for column in chosen))


@register.tag
def cells(parser: Parser, token: Token) -> Cells:
    columns = parser.compile_filter(token.split_contents()[1])
    parts: dict[str, NodeList] = {}
    name = ""
    while True:
        part = parser.parse(("cell", "endcells"))
        if name:
            parts[name] = part
        found = parser.next_token().split_contents()
        if found[0] == "endcells":
            return Cells(columns, parts)
        name = found[1].strip("\"'")
