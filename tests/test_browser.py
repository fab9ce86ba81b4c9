"""The book, built from the stored results, in a browser: every page in two themes, three widths."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from conftest import shared_folder
from filelock import FileLock

from mer.papers.overview import write_tables
from mer.study import book

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (390, 820, 1400)
LARGEST_PAGE = 1_500_000
"""Bytes of a page and its figures, without players."""
SEARCHES = {
    "table 4 zhu": "tables",
    "table III zhao": "tables",
    "finetune freeze": "deberardinis2020_fusion",
    "soundfont FluidR3": "sound_robustness",
    "transcription onsets": "transcription",
    "impossible rows": "evaluation_audit",
    "segment duration": "sun2024_segments",
    "noisy segments": "sun2024_noise",
    "MHSA": "glossary",
    "claims": "claims",
}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser: install Debian's chromium")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built book; one process of the tests builds it."""
    folder = shared_folder(tmp_path_factory, "site")
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_PROJECT", str(folder))
        built = folder / "_build" / "book" / "_build" / "html"
        if not (built / "index.html").is_file():
            for name in ("notebooks", "book", "results", "_config.yml"):
                (folder / name).symlink_to(ROOT / name)
            book.build_book(write_tables, progress=False)
    return built


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Of a server of the book."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def pages(site: Path) -> list[str]:
    """Addresses of all pages below that of the book."""
    found = [*site.glob("*.html"), *site.glob("notebooks/*.html")]
    return sorted(str(p.relative_to(site)) for p in found if p.name != "genindex.html")


@pytest.mark.parametrize("part", range(4))
def test_pages_are_right_in_every_theme_and_width(
    part: int, site: Path, address: str, browser: Any
) -> None:
    script = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    faults: dict[str, list[str]] = {}
    for page in pages(site)[part::4]:
        found = faults[page] = []
        context = browser.new_context(color_scheme="light")
        tab = context.new_page()
        _watch(tab, found, address)
        tab.goto(f"{address}/{page}")
        tab.evaluate(script)
        # On its way from one theme to the other a colour may have any contrast
        tab.add_style_tag(content="* { transition: none !important }")
        # A theme changes colours alone
        for theme, rules in (("light", ""), ("dark", ", runOnly: ['color-contrast']")):
            tab.emulate_media(color_scheme=theme)
            for width in WIDTHS:
                tab.set_viewport_size({"width": width, "height": 900})
                beyond = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
                found += [f"{theme}, {width}: {beyond} pixels beyond"] * (beyond > 1)
            result = tab.evaluate(f"axe.run(document, {{preload: false{rules}}})")
            found += [
                f"{theme}: {fault['id']} in {fault['nodes'][0]['html'][:120]}"
                for fault in result["violations"]
                if fault["impact"] in ("serious", "critical")
            ]
        images = tab.evaluate("[...document.images].map(i => i.alt)")
        found += [f"an image is called {name!r}" for name in images if not _is_text(name)]
        players = "[...document.querySelectorAll('audio')].map(a => a.ariaLabel || '')"
        found += ["a player has no name" for name in tab.evaluate(players) if not name]
        context.close()
    assert {page: found for page, found in faults.items() if found} == {}


def _watch(tab: Any, found: list[str], address: str) -> None:
    """Note messages, errors, missing files and requests to other servers."""

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            found.append(f"console: {message.text}")

    def check(reply: Any) -> None:
        if reply.status >= 400:
            found.append(f"{reply.status}: {reply.url}")
        if not reply.url.startswith((address, "data:", "blob:")):
            found.append(f"another server: {reply.url}")

    tab.on("console", note)
    tab.on("pageerror", lambda error: found.append(f"error: {error}"))
    tab.on("response", check)
    tab.on("requestfailed", lambda request: found.append(f"failed: {request.url}"))


def _is_text(name: str) -> bool:
    return len(name) > 3 and "_images" not in name


def test_links_lead_somewhere(site: Path) -> None:
    texts = {page: (site / page).read_text(encoding="utf-8") for page in pages(site)}
    names = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in texts.items()}
    faults = []
    for page, text in texts.items():
        for link in map(unescape, re.findall(r'\bhref="([^"]*)"', text)):
            path, _, name = link.partition("#")
            if ":" in path or path.startswith("//"):
                continue
            target = (site / page).parent / path.split("?")[0] if path else site / page
            place = str(target.resolve().relative_to(site.resolve()))
            if not target.exists() or (name and place in names and name not in names[place]):
                faults.append(f"{page}: {link}")
    assert faults == []


def test_pages_are_light(site: Path) -> None:
    weights = {}
    for page in pages(site):
        text = (site / page).read_text(encoding="utf-8")
        images = set(re.findall(r'src="([^"]*_images/[^"]+)"', text))
        players = sum(map(len, re.findall(r'"data:audio[^"]*"', text)))
        sizes = [((site / page).parent / image).stat().st_size for image in images]
        weights[page] = len(text) - players + sum(sizes)
    assert {page: size for page, size in weights.items() if size > LARGEST_PAGE} == {}


@pytest.mark.parametrize(("words", "page"), SEARCHES.items())
def test_search_finds_the_page(words: str, page: str, address: str, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto(f"{address}/search.html?q={words.replace(' ', '+')}")
    first = tab.locator("ul.search li a").first
    first.wait_for()
    assert f"/{page}.html" in f"/{first.get_attribute('href')}"
    tab.close()


def test_claims_can_be_filtered(address: str, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto(f"{address}/notebooks/claims.html")
    rows = tab.locator("table[data-filter] tbody tr")
    every = rows.count()
    filters = tab.locator(".table-filters label")
    verdict, paper = (
        filters.filter(has_text=re.compile(rf"^{name}")).locator("select")
        for name in ("Verdict", "Paper")
    )
    verdict.select_option("not reproduced")
    found = rows.all_inner_texts()
    assert 0 < len(found) < every
    assert all("not reproduced" in row for row in found)
    paper.select_option("Sun et al. 2024")
    assert 0 < rows.count() < len(found)
    assert all("Sun et al. 2024" in row for row in rows.all_inner_texts())
    paper.select_option("all")
    verdict.select_option("all")
    assert rows.count() == every
    tab.close()


def test_tables_are_sorted_by_number_and_can_be_saved(address: str, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto(f"{address}/notebooks/claims.html")
    table = tab.locator("table[data-filter]")
    heads = table.locator("thead th").all_inner_texts()
    column = [head.strip() for head in heads].index("Published") + 1
    table.locator(f"thead th:nth-child({column})").click()
    cells = table.locator(f"tbody td:nth-child({column})").all_inner_texts()
    values = [float(cell.split()[0]) for cell in cells if cell != "–"]
    assert any("to" in cell.split() for cell in cells)
    assert values == sorted(values)
    assert len(set(values)) > 5
    with tab.expect_download() as download:
        tab.locator("button.buttons-csv").last.click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith('"Paper","Table","Claim","Split","Published","Difference"')
    assert len([line for line in lines if line]) == len(cells) + 1
    tab.close()


def test_pages_work_from_a_folder(site: Path, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto((site / "notebooks" / "claims.html").as_uri())
    assert tab.locator("div.dt-container").count() > 0
    tab.close()
