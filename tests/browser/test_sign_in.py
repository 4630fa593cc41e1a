"""Signing in as a person does: with a token, by a one-time address, and out again."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from forewarn.domain.people import Principal, Role
from tests.people import House, house


@pytest.fixture
def running(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def pictured(page: Page, name: str) -> None:
    """Leave a picture where FOREWARN_PICTURES says, for whoever wants to look."""
    if folder := os.environ.get("FOREWARN_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_token_signs_in_and_leads_back_and_the_button_signs_out(watched: Page, running: House) -> None:
    watched.goto(running.address + "/hosts/host03")
    expect(watched.locator("h1")).to_have_text("Sign in")
    expect(watched.get_by_label("Token")).to_be_focused()
    pictured(watched, "sign-in")
    watched.get_by_label("Token").fill(running.tokens[Role.OPERATOR])
    watched.keyboard.press("Enter")
    expect(watched.locator("h1")).to_contain_text("host03")
    expect(watched.locator(".who")).to_contain_text("the operator")
    pictured(watched, "signed-in")
    watched.get_by_role("button", name="Sign out").click()
    expect(watched.locator("h1")).to_have_text("Sign in")
    watched.goto(running.address + "/")
    expect(watched.locator("h1")).to_have_text("Sign in")


def test_a_one_time_address_signs_in_by_its_button(watched: Page, running: House) -> None:
    watched.goto(f"{running.address}/login/{running.credentials.make_login(Principal('console', Role.ADMIN), 'up')}")
    pictured(watched, "sign-in-once")
    watched.get_by_role("button", name="Sign in here").click()
    expect(watched.locator(".who")).to_contain_text("console admin")
    expect(watched.locator("tr.host")).to_have_count(5)


def test_who_is_signed_in_pauses_moves(watched: Page, running: House) -> None:
    watched.goto(running.address + "/login")
    watched.get_by_label("Token").fill(running.tokens[Role.OPERATOR])
    with watched.expect_response(lambda response: "/api/v1/events" in response.url):
        watched.get_by_role("button", name="Sign in").click()
    watched.get_by_role("button", name="Pause moves").click()
    watched.locator("#ask-reason").fill("a drill")
    watched.locator("#ask-send").click()
    expect(watched.locator("#ask")).to_be_hidden()
    assert [(deed.who, deed.action, deed.why) for deed in running.deeds()][-1] == ("the operator", "request", "a drill")


def test_a_wrong_token_is_told(page: Page, running: House) -> None:
    page.goto(running.address)
    page.get_by_label("Token").fill("fw_guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This token is not known here")
    pictured(page, "sign-in-wrong")
