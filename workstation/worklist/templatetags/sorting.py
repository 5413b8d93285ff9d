"""Sortable column heads of the list (Django's own ``{% querystring %}`` makes the links)."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def sort_header(context: dict[str, Any], column: str, text: str) -> SafeString:
    """A ``<th>`` whose link sorts by ``column``, and the other way round when it already does."""
    current: str = context["order"]
    up, down = current == column, current == f"-{column}"
    query = context["request"].GET.copy()
    query["order"] = f"-{column}" if up else column
    query.pop("page", None)
    state = "ascending" if up else "descending" if down else "none"
    return format_html(
        '<th scope="col" aria-sort="{}"><a href="?{}">{}</a></th>', state, query.urlencode(), text
    )
