"""The explorer as a person meets it: in a browser, with keys, on a phone, in the dark, and without JavaScript."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives a browser")
pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

import uvicorn
from playwright import sync_api

from curation.encoding.model_names import EncoderSpec
from curation.explorer.explored import Explored
from curation.explorer.server import application
from tests.integration.commands import World

# A browser draws pages slowly beside others; the first test waits for an index, too.
pytestmark = pytest.mark.timeout(600)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = ("/", "/concepts", "/concept/0?which=both", "/pair/3", "/judge/0", "/judged", "/sql", "/search?q=a+car")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    sync_api.expect.set_options(timeout=60_000)  # two busy cores may take long to draw a page
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


def served(explored: list[Explored]) -> tuple[Any, str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    server = uvicorn.Server(uvicorn.Config(application(explored), log_level="error", lifespan="off"))
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server, f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(scope="module")
def address(curated: Path, index: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browsed") / "curated"
    shutil.copytree(curated, folder)
    explored = Explored.opened(folder, index, encoder=EncoderSpec(world.model))
    explored.start()
    server, address = served([explored])
    yield address
    server.should_exit = True


class Watched:
    """A page, of which everything that the browser complains of, and everything that it fetches, is kept."""

    def __init__(self, browser: Any, address: str, **how: Any) -> None:
        self.page = browser.new_context(base_url=address, **how).new_page()
        self.page.set_default_timeout(60_000)
        self.wrong: list[str] = []
        self.fetched: list[str] = []
        self.page.on(
            "console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))

    def _hear(self, said: Any) -> None:
        if said.type in ("error", "warning"):
            self.wrong.append(said.text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_complain_of_nothing_and_fetch_nothing_from_elsewhere(
    browser: Any, address: str, width: int, scheme: str
) -> None:
    watched = Watched(browser, address, viewport={"width": width, "height": 844}, color_scheme=scheme)
    grounds = set()
    for one in PAGES:
        watched.page.goto(one)
        assert watched.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), one
        grounds.add(watched.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert watched.wrong == []
    assert {url for url in watched.fetched if not url.startswith(address)} == set()
    (ground,) = grounds
    assert (sum(map(int, re.findall(r"\d+", ground))) < 380) == (scheme == "dark")


def test_keys_judge_and_show_where(browser: Any, address: str) -> None:
    watched = Watched(browser, address)
    page = watched.page
    page.goto("/pair/3")
    page.keyboard.press("j")
    row = page.locator(".concept").first
    sync_api.expect(row).to_be_focused()
    page.keyboard.press("h")
    sync_api.expect(page.locator(".stage .heat")).to_be_visible()
    sync_api.expect(page.locator(".stage .heat")).to_have_js_property("complete", True)
    assert page.locator(".stage .heat").evaluate("one => one.naturalWidth") > 0
    page.keyboard.press("y")
    sync_api.expect(row).to_have_class(re.compile("right"))
    sync_api.expect(page.locator(".concept").nth(1)).to_be_focused()  # on to the next
    page.keyboard.press("n")
    sync_api.expect(page.locator(".concept").nth(1)).to_have_class(re.compile("wrong"))
    page.reload()
    sync_api.expect(page.locator(".concept").first).to_have_class(re.compile("right"))
    page.keyboard.press("j")
    page.keyboard.press("y")  # taken back
    sync_api.expect(page.locator(".concept").first).not_to_have_class(re.compile("right"))
    page.keyboard.press("]")
    page.wait_for_url("**/pair/4")
    page.keyboard.press("/")
    sync_api.expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("a car y n j")  # while writing, keys are letters
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=a+car+y+n+j**")
    sync_api.expect(page.locator("a.card").first).to_be_visible()
    assert watched.wrong == []


def test_without_javascript_everything_can_be_done(browser: Any, address: str) -> None:
    page = Watched(browser, address, java_script_enabled=False).page
    page.goto("/judge/1")
    row = page.locator(".concept").first
    row.locator(".no").click()
    sync_api.expect(page.locator(".concept").first).to_have_class(re.compile("wrong"))
    assert "/judge/1" in page.url
    page.goto("/pair/5")
    page.locator("a.where").first.click()
    sync_api.expect(page.locator(".stage .heat")).to_be_visible()
    page.locator("details").first.locator("summary").click()
    sync_api.expect(page.locator("details q").first).to_be_visible()
    page.goto("/sql")
    page.locator(".sql button").click()
    sync_api.expect(page.locator("table.answer tbody tr").first).to_be_visible()


def test_a_picture_of_ones_own_is_searched_with(browser: Any, address: str) -> None:
    page = Watched(browser, address).page
    picture = page.request.get(f"{address}/picture/7?side=960").body()
    page.goto("/")
    page.set_input_files("input[type=file]", {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": picture})
    page.get_by_role("button", name="Find pairs like it").click()
    page.wait_for_url("**/search?by=picture**")
    found = page.locator("a.card").evaluate_all("cards => cards.map(card => card.getAttribute('href'))")
    assert "/pair/7" in found[:3]
