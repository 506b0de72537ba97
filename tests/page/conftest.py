"""A real browser, headless, and pages of it that fail the test when they complain or look elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def chromium():
    """The browser of `nox -s page`; OCM_TEST_CHROMIUM names its folder, or an executable of your own."""
    named = os.environ.get("OCM_TEST_CHROMIUM")
    if not named:
        pytest.fail("OCM_TEST_CHROMIUM names no browser: run these tests by `nox -s page`, which fetches one")
    path = Path(named)
    env = dict(os.environ)
    if path.is_dir():
        env |= {"LD_LIBRARY_PATH": f"{path}/lib", "FONTCONFIG_FILE": f"{path}/fonts.conf"}
        path /= "chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, env=env, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens the report page of an emulator; after the test no page may have complained or asked another host."""
    contexts, complaints = [], []

    def opened(emulator, path="/", *, errors=False, **options):
        context = chromium.new_context(timezone_id="Europe/Madrid", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a deadline, not a wait: two cores may be busy
        if not errors:
            page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        inside = (emulator.url, "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(inside) else complaints.append(asked.url))
        page.goto(emulator.url + path)
        page.wait_for_selector("#live[data-state=live]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
