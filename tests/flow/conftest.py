"""The same case and hands as in the analyzing room's tests."""

from __future__ import annotations

from tests.analyzing.conftest import _folders, case, do_step, run, sent

__all__ = ["_folders", "case", "do_step", "run", "sent"]
