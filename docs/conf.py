"""Sphinx: furo, MyST, and nothing from the network."""

from __future__ import annotations

from importlib.metadata import version as _version

project = "ocm-otel"
copyright = "the ocm-otel authors"
author = "the ocm-otel authors"
release = version = _version("ocm-otel")

extensions = ["myst_parser"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]  # a row of the performance page is an address
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"ocm-otel {release}"
html_show_sourcelink = False
html_copy_source = False
