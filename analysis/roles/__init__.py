"""What a series is: one role from standard attributes first and text second, with the reason.

The rules are data (``roles.toml``, ``rules/*.toml``, ``words.toml``); see README.md. This package
is pure Python on pydicom headers: the room that receives images imports it, so it stays light.
"""

from analysis.roles.catalogue import ROLES, SeriesRole
from analysis.roles.deciding import RoleDecision, role_of
from analysis.roles.facts import ODD_HEADER, Facts, facts_of

__all__ = ["ODD_HEADER", "ROLES", "Facts", "RoleDecision", "SeriesRole", "facts_of", "role_of"]
