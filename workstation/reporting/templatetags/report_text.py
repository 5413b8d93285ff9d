"""Looking things up in report templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()


@register.filter
def lookup(mapping: Mapping[Any, Any], key: Any) -> Any:
    """``mapping[key]``; an unknown key is shown as itself."""
    return mapping.get(key, key)


@register.filter
def person_name(value: str) -> str:
    """A DICOM person name as people write it: ``Family, Given (other script)`` (PS3.5 6.2.1)."""
    groups = []
    for group in str(value).split("=")[:2]:
        family, _, rest = group.partition("^")
        given = " ".join(part for part in rest.split("^") if part)
        groups.append(f"{family}, {given}" if family and given else family or given)
    alphabetic, *ideographic = groups
    other = "".join(ideographic)
    return f"{alphabetic} ({other})" if alphabetic and other else alphabetic or other


@register.filter
def texts_of(sections: Mapping[str, list[str]], name: str) -> list[str]:
    """The texts of one section; a version without it has none."""
    return sections.get(name, [])
