"""A page that tells on every error, and on every request that leaves the server which it was opened from."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Dialog, Page


@pytest.fixture
def watched(page: Page) -> Iterator[Page]:
    """A page; the test fails at its end if anything went wrong on it or was asked of another origin."""
    troubles: list[str] = []
    origins: set[str] = set()

    def refuse(dialog: Dialog) -> None:
        troubles.append(f"a dialogue: {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", refuse)
    page.on("request", lambda request: origins.add("{0.scheme}://{0.netloc}".format(urlsplit(request.url))))
    yield page
    assert troubles == []
    assert len(origins) <= 1, origins
