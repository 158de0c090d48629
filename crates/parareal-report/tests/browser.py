"""Opens a report in a browser without a window, uses it, and takes screenshots.

    python browser.py REPORT.html FOLDER

REPORT.html is to be of the runs n1, n3 and long that made_runs.py makes, in this order. Ends with
an error at the first thing that is not as it should be.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def check(holds, what):
    if not holds:
        raise SystemExit(f"failed: {what}")
    print(f"ok: {what}")


def opened(browser, url, problems, **options):
    page = browser.new_context(**options).new_page()
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on(
        "console",
        lambda line: (
            problems.append(f"{line.type}: {line.text}")
            if line.type in ("error", "warning")
            else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            problems.append(f"loads {request.url}")
            if not request.url.startswith(("file:", "data:"))
            else None
        ),
    )
    page.goto(url)
    page.wait_for_selector(".plot > svg .line", state="attached")
    return page


def settle(page):
    """Waits until a change is drawn, which happens before the next frame."""
    page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def ticks(chart):
    return chart.locator(".axes text").all_text_contents()


def use(page):
    """The first chart and the matrix, with pointer and keys."""
    chart = page.locator(".chart").first
    picture = chart.locator(".plot > svg")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    at = lambda x, y=0.4: (box["x"] + x * box["width"], box["y"] + y * box["height"])

    page.mouse.move(*at(0.15))
    tip = chart.locator(".tip")
    check("shown" in tip.get_attribute("class"), "hovering shows values")
    check(
        all(name in tip.inner_text() for name in ("n1", "n3", "long", "test", "epoch")),
        "of each run",
    )

    whole = ticks(chart)
    page.mouse.move(*at(0.3))
    page.mouse.down()
    page.mouse.move(*at(0.5), steps=4)
    check(chart.locator(".selection").count() == 1, "dragging shows a selection")
    page.mouse.up()
    settle(page)
    zoomed = ticks(chart)
    check(zoomed != whole, "and zooms")
    check(ticks(page.locator(".chart").nth(1))[-3:] == zoomed[-3:], "all charts together")
    chart.get_by_role("button", name="reset zoom").click()
    settle(page)
    check(ticks(chart) == whole, "reset shows all again")

    page.mouse.move(*at(0.5))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -240)
    page.keyboard.up("Control")
    settle(page)
    check(ticks(chart) != whole, "Ctrl and the wheel zoom")
    picture.dblclick()
    settle(page)
    check(ticks(chart) == whole, "a double click shows all again")
    page.mouse.move(0, 0)

    picture.focus()
    page.keyboard.press("ArrowRight")
    first = chart.get_by_role("status").inner_text()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    second = chart.get_by_role("status").inner_text()
    check(first and second and first != second, "arrow keys move the point")
    page.keyboard.press("+")
    settle(page)
    check(ticks(chart) != whole, "+ zooms")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    settle(page)
    check("shown" in tip.get_attribute("class"), "the point stays in the picture")
    page.keyboard.press("0")
    settle(page)
    check(ticks(chart) == whole, "0 shows all again")
    page.keyboard.press("Escape")
    check("shown" not in tip.get_attribute("class"), "Escape leaves")

    log = chart.get_by_role("button", name="log scale")
    log.click()
    check(
        log.get_attribute("aria-pressed") == "false" and ticks(chart) != whole,
        "the scale can be linear",
    )
    log.click()
    lines = chart.locator(".line").count()
    page.get_by_label("long", exact=True).uncheck(force=True)
    settle(page)
    check(chart.locator(".line").count() < lines, "a run can be hidden")
    page.get_by_label("long", exact=True).check(force=True)
    settle(page)
    line = lambda: chart.locator("g > .line").first.get_attribute("d")
    before = line()
    page.locator(".slider input").fill("0.9")
    settle(page)
    check(line() != before, "the slider smooths")
    page.locator(".slider input").fill("0.6")
    for unit in ("Steps", "Training time", "Epochs"):
        page.get_by_label(unit, exact=True).check(force=True)
        settle(page)
        check(
            ticks(chart)[-1].startswith(
                {"Steps": "step", "Training time": "training time", "Epochs": "epoch"}[unit]
            ),
            f"along {unit.lower()}",
        )

    chart.locator("summary").click()
    chart.locator("details table").wait_for()
    check(chart.locator("details tbody tr").count() == 40, "the chart has a table")
    chart.locator("summary").click()

    page.get_by_text("All 18 settings").click()
    tables = page.locator("#settings table")
    tables.nth(1).wait_for()
    check(
        all("n3" in tables.nth(i).locator("thead").inner_text() for i in (0, 1)),
        "all settings are shown below those that differ",
    )
    page.get_by_text("All 18 settings").click()

    matrix = page.locator(".matrix").first
    matrix.locator("svg").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    check(
        "circle, classified as square" in matrix.locator(".readout").inner_text(),
        "keys move in the matrix",
    )
    page.keyboard.press("Escape")
    check(
        page.locator(".matrix").nth(2).locator(".field").count() > 10,
        "a hundred classes have a matrix",
    )
    check(
        page.evaluate("[...document.images].every((i) => i.complete ? i.naturalWidth > 0 : true)"),
        "images are shown",
    )


def narrow(page):
    wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    check(wide == 0, "nothing is wider than a phone")


def main():
    url = Path(sys.argv[1]).resolve().as_uri()
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        page = opened(browser, url, problems, viewport={"width": 1280, "height": 900})
        use(page)
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.screenshot(path=folder / "light.png", full_page=True)
        page.locator("#curves").evaluate(
            "(curves) => curves.scrollIntoView({ behavior: 'instant' })"
        )
        box = page.locator(".chart .plot > svg").first.bounding_box()
        page.mouse.move(box["x"] + 0.15 * box["width"], box["y"] + 150)
        page.screenshot(path=folder / "hover.png")
        page.pdf(path=folder / "print.pdf", format="A4", prefer_css_page_size=True)
        page = opened(
            browser,
            url,
            problems,
            viewport={"width": 1280, "height": 900},
            color_scheme="dark",
            reduced_motion="reduce",
        )
        page.screenshot(path=folder / "dark.png", full_page=True)
        page = opened(
            browser,
            url,
            problems,
            viewport={"width": 360, "height": 740},
            device_scale_factor=2,
            has_touch=True,
            is_mobile=True,
        )
        narrow(page)
        page.locator(".chart .plot > svg").first.tap(position={"x": 180, "y": 80})
        check("shown" in page.locator(".tip").first.get_attribute("class"), "a tap shows values")
        page.screenshot(path=folder / "phone.png", full_page=True)
        browser.close()
    check(
        not problems,
        "no errors, no warnings, nothing loaded"
        + "".join(f"\n  {problem}" for problem in problems),
    )


if __name__ == "__main__":
    main()
