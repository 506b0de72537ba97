"""Print the settings page from the table in `ocm_otel._settings`: `python docs/_render.py` writes it.

The page is committed, so that it can be read where the source is read; tests/house compares the two.
"""

from __future__ import annotations

from pathlib import Path

from ocm_otel._table import TABLE, Setting

PAGE = Path(__file__).with_name("settings.md")

HEAD = """\
# Settings

<!-- Printed from the table in src/ocm_otel/_settings.py by docs/_render.py: change it there. -->

All of them are optional but the key. Each can be given as an environment variable, or in code as an argument
of `Settings(…)` with the name in brackets. An empty variable counts as unset. A variable that cannot be used
is reported once, and the default is used in its place; the application is never stopped by it.
"""


def settings_page() -> str:
    """Return the text of docs/settings.md."""
    return "\n".join([HEAD, *(_section(setting) for setting in TABLE)])


def _section(setting: Setting) -> str:
    lines = [
        f"## `{setting.variable}`",
        "",
        f"({setting.field}) {setting.help}",
        "",
        f"- Default: {_default(setting)}",
    ]
    if setting.stands_in:
        lines.append(f"- While it is unset, OpenTelemetry's own `{setting.stands_in}` is honoured.")
    if setting.secret:
        lines.append("- Its value is never shown in a log line, an error or a listing.")
    return "\n".join([*lines, ""])


def _default(setting: Setting) -> str:
    if setting.default in (None, (), ""):
        return "unset" + (f" (in {setting.unit})" if setting.unit else "")
    return f"`{setting.default}`" + (f" {setting.unit}" if setting.unit else "")


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
