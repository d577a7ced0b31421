"""The page in headless Chromium: sorting, filters, plots, clouds, keyboard, widths, themes, and that nothing is fetched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from page_sample import plan_summary, write_sample

pytest.importorskip("playwright", reason="playwright is not installed (pip install playwright)")
from playwright.sync_api import Browser, Error, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (apt install chromium)")
TABLE = "#table-summary-procedural-objects"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_sample(tmp_path_factory.mktemp("browser"), plan_summary()).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        sandbox = [] if os.getuid() else ["--no-sandbox"]  # root has none
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page on a desktop; a test fails on any error in it and on any request but for the file itself."""
    with browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce") as context:
        opened, errors, requests = context.new_page(), [], []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on("console", lambda message: errors.append(message.text))
        opened.on("request", lambda request: requests.append(request.url))
        opened.goto(address)
        opened.wait_for_selector("#scatter .mark")
        yield opened
        assert errors == []
        assert requests == [address]


def column(page: Page, index: int) -> list[str]:
    return page.locator(f"{TABLE} tbody tr > :nth-child({index})").all_inner_texts()


@pytest.mark.parametrize("width", [320, 380, 1400])
def test_body_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator(".scroll").evaluate_all("all => all.some((box) => box.scrollWidth > box.clientWidth)")
    assert boxes or width > 1000  # on a phone the tables do, inside


def test_heading_sorts_by_value_and_back(page: Page) -> None:
    printed, head = column(page, 3), page.locator(f"{TABLE} thead th").nth(2)
    values = [float(text.split()[0]) for text in printed]
    for order, expected in (("descending", sorted(values, reverse=True)), ("ascending", sorted(values))):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        assert [float(text.split()[0]) for text in column(page, 3)] == expected
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, 3) == printed


def test_enter_sorts_and_missing_stays_last(page: Page) -> None:
    page.evaluate(f"""() => {{
        const cells = document.querySelectorAll("{TABLE} tbody tr > :nth-child(7)");
        cells[0].removeAttribute("data-value");
        cells[0].textContent = "–";
    }}""")
    page.locator(f"{TABLE} thead button").nth(6).focus()
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        assert page.locator(f"{TABLE} thead th").nth(6).get_attribute("aria-sort") == order
        assert column(page, 7)[-1] == "–"


def test_sort_is_stable(page: Page) -> None:
    heads = page.locator(f"{TABLE} thead button")
    heads.nth(0).click()
    heads.nth(1).click()
    rows = [(s, m) for s, m in zip(column(page, 2), column(page, 1), strict=True) if s == "w4a4"]
    assert rows == sorted(rows, key=lambda row: row[1].lower().replace("(", ""))


def test_filters_by_text_and_scheme(page: Page) -> None:
    page.locator("#filter select").select_option("w4a4")
    visible = page.locator(f"{TABLE} tbody tr:visible")
    assert visible.count() == 13
    assert visible.first.inner_text().startswith("Full precision")  # a reference stays
    page.locator("#filter input").fill("fgq")
    assert visible.count() == 3
    assert " of " in page.locator("#filter output").inner_text()


def test_marks_are_read_by_pointer_and_keyboard(page: Page) -> None:
    readout = page.locator("#scatter .readout")
    page.locator("#scatter .legend input").last.focus()
    page.keyboard.press("Tab")
    first = readout.inner_text()
    page.keyboard.press("ArrowRight")
    assert "MB: " in first
    assert readout.inner_text() != first
    page.locator("#scatter [aria-label^='QuaRot (gptq), w4a4'] .mark").hover(force=True)
    assert readout.inner_text().startswith("QuaRot (gptq), w4a4")
    value = next(text for name, text in zip(column(page, 1), column(page, 5), strict=True) if name == "QuaRot (gptq)")
    assert value in readout.inner_text()


def test_axes_and_schemes_are_chosen(page: Page) -> None:
    marks = page.locator("#scatter g .mark")
    before = marks.count()
    page.locator("#scatter .legend label", has_text="w4a4").locator("input").uncheck()
    assert marks.count() == before - 12
    page.locator("#scatter .legend label", has_text="w4a4").locator("input").check()
    time = page.locator("#scatter [name=x] option", has_text="Time of aggregator").first
    page.locator("#scatter [name=x]").select_option(label=time.inner_text())
    assert "AMD EPYC" in page.locator("#scatter .conditions").inner_text()
    assert marks.count() > 0
    page.locator("#scatter [name=logy]").uncheck()
    assert "At 0" not in page.locator("#scatter .status").inner_text()


def test_clouds_are_drawn_and_turned(page: Page) -> None:
    views = page.locator("#clouds canvas")
    picture = "canvas => canvas.toDataURL()"
    empty = "canvas => !canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    assert views.count() == 4
    before = [views.nth(index).evaluate(picture) for index in range(4)]
    assert not any(views.nth(index).evaluate(empty) for index in range(4))
    views.first.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(100)
    turned = [views.nth(index).evaluate(picture) for index in range(4)]
    assert all(a != b for a, b in zip(before, turned, strict=True))
    page.get_by_role("button", name="Reset").click()
    page.wait_for_timeout(100)
    assert [views.nth(index).evaluate(picture) for index in range(4)] == before
    page.locator("#clouds [name=scheme]").select_option(label="w2a16")
    assert "not cached" in page.locator("#clouds figure").last.inner_text()


def test_heat_maps_and_curves_are_read_by_keyboard(page: Page) -> None:
    page.locator("#fisher .heats canvas").nth(1).focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#fisher .readout").inner_text().startswith("depth, F0, channel 1, all tokens")
    page.locator("#sensitivity .chart [tabindex='0']").focus()
    assert "camera: 1 %" in page.locator("#sensitivity .readout").inner_text()
    page.locator("#sensitivity select").select_option(label="attn.qkv")
    assert page.locator("#sensitivity .chart .mark").count() == 5  # an error of 0 has no place


def test_findings_are_filtered_by_keyboard(page: Page) -> None:
    audit, count = page.locator("#audit"), page.locator("#audit output")
    total = audit.locator(".finding").count()
    assert count.inner_text() == f"{total} findings"
    folded = audit.locator(".verdict:not([open])").count()
    assert folded > 0
    assert audit.locator(".finding.impossible:visible").count() > 0  # the worst are unfolded
    page.locator("#audit [name=paper]").focus()
    page.keyboard.type("QVGGT")
    shown = audit.locator(".finding:visible")
    papers = shown.evaluate_all("all => all.map((each) => each.dataset.papers.split('; '))")
    assert papers and all("QVGGT" in each for each in papers)
    assert 0 < len(papers) < total
    assert count.inner_text() == f"{len(papers)} of {total} findings"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert audit.locator(".finding.inconsistent:visible").count() == shown.count() < len(papers)
    page.keyboard.press("Tab")
    page.keyboard.type("no such words")
    assert count.inner_text() == f"0 of {total} findings"
    assert audit.locator(".verdict:visible").count() == 0
    page.locator("#audit [name=paper]").select_option("")
    page.locator("#audit [name=verdict]").select_option("")
    page.locator("#audit [name=text]").fill("auc ALGEBRA")  # the check's name, above its findings
    assert shown.count() == audit.locator(".finding.impossible").count() > 0
    page.locator("#audit [name=text]").fill("")
    assert count.inner_text() == f"{total} findings"
    assert audit.locator(".verdict:not([open])").count() == folded


def test_findings_are_folded_by_keyboard(page: Page) -> None:
    group = page.locator("#audit .verdict:not([open])").first
    name = group.get_attribute("data-verdict")
    group.locator("summary").focus()
    page.keyboard.press("Enter")
    assert page.locator(f"#audit .finding.{name}:visible").count() == page.locator(f"#audit .finding.{name}").count()


@pytest.mark.parametrize("width", [320, 700, 1190, 1400])
def test_labels_of_the_dots_are_apart(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.locator("#validity figure svg").count() == 4
    boxes = page.locator("#validity figure svg").evaluate_all("""charts => charts.flatMap((chart) => {
        const labels = [...chart.querySelectorAll(".label")].map((label) => label.getBoundingClientRect());
        return labels.flatMap((box, index) => index % 2 ? [[labels[index - 1].right, box.left]] : []);
    })""")
    assert len(boxes) == 4 * 9
    assert [pair for pair in boxes if pair[0] > pair[1]] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_findings_are_legible(page: Page, theme: str) -> None:
    page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    ratios = page.evaluate("""() => {
        const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
            .map((value) => value / 255).map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
            .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
        const contrast = (one, other) => {
            const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        };
        const style = (selector) => getComputedStyle(document.querySelector(selector));
        const [panel, back] = [style("#audit .finding").backgroundColor, style("body").backgroundColor];
        return {
            text: contrast(style("#audit .finding dd").color, panel), name: contrast(style("#audit .finding dt").color, panel),
            method: contrast(style("#audit .check .conditions").color, back), label: contrast(style("#validity .label").fill, back),
            dot: contrast(style("#validity circle.k0").fill, back) * 1.5, chance: contrast(style("#validity circle.chance").fill, back) * 1.5,
            impossible: contrast(style("#audit .impossible").borderLeftColor, back) * 1.5,
        };
    }""")
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}  # WCAG AA; 3 for what is no text


def test_theme_follows_the_system_until_it_is_chosen(page: Page) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(back)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(back)
    assert light != dark
    page.locator("#theme").click()
    assert page.locator("#theme").inner_text() == "Theme: light"
    assert page.evaluate(back) == light
    page.locator("#theme").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(back) == dark


def test_policy_forbids_any_fetch(browser: Browser, address: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate("fetch('data:text/plain,x')")


def test_tables_are_there_without_scripts(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        assert page.locator(f"{TABLE} tbody tr").count() == 15
        assert page.locator("noscript").is_visible()
