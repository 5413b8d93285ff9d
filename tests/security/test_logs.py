"""Log lines carry no patient data, also when a library raises with a value in its message."""

from __future__ import annotations

import io
import logging
import logging.config

from django.conf import settings

from workstation.logs import WithoutValues


def logged_error(formatter: logging.Formatter) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        try:
            raise KeyError("Doe^Jane")
        except KeyError as cause:
            raise ValueError("invalid value 'Doe^Jane' for PatientName") from cause
    except ValueError:
        log.exception("export %d could not be written", 7)
    return stream.getvalue()


def test_a_traceback_names_places_and_kinds_but_no_values() -> None:
    text = logged_error(WithoutValues("%(levelname)s %(message)s"))
    assert text.startswith("ERROR export 7 could not be written\n")
    assert "builtins.ValueError" in text and "builtins.KeyError" in text
    assert "test_logs.py" in text and "in logged_error" in text
    # The source line itself is in a traceback; the message as it was raised is not.
    assert "ValueError: invalid value" not in text and "KeyError: 'Doe^Jane'" not in text


def test_the_product_logs_this_way() -> None:
    config = logging.config.DictConfigurator(settings.LOGGING)
    made = config.configure_formatter(dict(settings.LOGGING["formatters"]["line"]))
    assert isinstance(made, WithoutValues)
    assert settings.LOGGING["root"]["handlers"] == ["stderr"]
    assert settings.LOGGING["loggers"]["uvicorn"]["handlers"] == ["stderr"]
    assert settings.LOGGING["handlers"]["stderr"]["formatter"] == "line"


def test_paths_made_of_uids_are_not_logged() -> None:
    line = logging.LogRecord(
        "django.request", logging.WARNING, __file__, 1, "%s: %s",
        ("Not Found", "/dicomweb/studies/1.2.840.77/series/1 2"), None,
    )  # fmt: skip
    text = WithoutValues("%(message)s").format(line)
    assert text == "Not Found: /dicomweb/..."
