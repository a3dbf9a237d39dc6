"""Every screen in a browser: wide and narrow, with data and without, light and dark."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import SHOTS, Site, Sites

SCREENS = {
    "requests": "/-/gateway/requests?range=24h",
    "request": "/-/gateway/request/{edit}",
    "failure": "/-/gateway/request/{auth}",
    "events": "/-/gateway/request/{edit}?events=-1&view=raw",
    "sessions": "/-/gateway/sessions?provider=claude",
    "session": "/-/gateway/session/{session}?provider=claude",
    "jobs": "/-/gateway/jobs",
    "dashboard": "/-/gateway?range=7d",
    "search": "/-/gateway/search?q=colon",
    "approvals": "/-/gateway/approvals",
    "compare": "/-/gateway/compare?id={asked}",
    "reliability": "/-/gateway/reliability",
}
# Of these an empty recorder has something to show.
LISTS = [name for name, path in SCREENS.items() if "{" not in path]
TALLEST = 2400
SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; }))
    .observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => setTimeout(() => done(sum), 60));
})"""


def looked_at(page: Any, name: str) -> None:
    """No shift, nothing that sticks out, nothing serious for who does not see or use a mouse."""
    from axe_playwright_python.sync_playwright import Axe

    assert page.evaluate(SHIFTS) < 0.01, "the layout shifts"
    wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], f"wider than the window: {wide}"
    SHOTS.mkdir(parents=True, exist_ok=True)
    height = page.evaluate("() => document.documentElement.scrollHeight")
    seen = {"x": 0, "y": 0, "width": wide[1], "height": min(height, TALLEST)}
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True, clip=seen)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    bad = [
        (problem["id"], node["target"], node["failureSummary"])
        for problem in found
        if problem["impact"] in ("serious", "critical")
        for node in problem["nodes"][:3]
    ]
    assert bad == []


def test_the_printed_address_logs_in_once(chromium: Any, tmp_path: Path) -> None:
    """One browser is let in by it, and stays in; the next one is not."""
    site = Site(tmp_path, None)
    try:
        ours, other = chromium.new_context(), chromium.new_context()
        page = ours.new_page()
        page.goto(site.wait().address)
        assert page.url.startswith(f"{site.base}/-/gateway"), page.content()
        for context, address, status in [
            (ours, f"{site.base}/-/gateway/jobs", 200),
            (other, site.address, 403),
            (other, f"{site.base}/-/gateway/jobs", 403),
        ]:
            answer = context.new_page().goto(address)
            assert (answer.status, address) == (status, address)
        ours.close()
        other.close()
    finally:
        site.close()


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", SCREENS)
def test_with_data(window: Any, sites: Sites, name: str, width: int) -> None:
    """A week of work."""
    looked_at(window("data", width).go(SCREENS[name].format(**sites.ids)), f"{name}-{width}")


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", LISTS)
def test_empty(window: Any, name: str, width: int) -> None:
    """The first minute: each screen says which command fills it."""
    page = window("empty", width).go(SCREENS[name].partition("?")[0])
    assert name == "search" or "llm" in page.inner_text(".gw-command")
    looked_at(page, f"{name}-empty-{width}")


@pytest.mark.parametrize(
    "name", ["requests", "request", "session", "jobs", "dashboard", "approvals", "compare"]
)
def test_dark(window: Any, sites: Sites, name: str) -> None:
    """The same in the dark."""
    page = window("data", color_scheme="dark").go(SCREENS[name].format(**sites.ids))
    looked_at(page, f"{name}-dark")


STOPS = "a[href]:not([tabindex='-1']), button, input:not([type=hidden]), select, summary"

PASSED = """() => {
  const one = document.activeElement;
  delete one.dataset.stop;
  const seen = one === document.body || getComputedStyle(one).outlineStyle !== "none";
  return seen || one.closest(".gw-skip") ? "" : one.outerHTML.slice(0, 90);
}"""


@pytest.mark.parametrize("name", ["sessions", "dashboard", "request", "jobs"])
def test_tab_reaches_everything(window: Any, sites: Sites, name: str) -> None:
    """Whatever can be used has its turn, and shows that it has."""
    page = window().go(SCREENS[name].format(**sites.ids))
    can = page.evaluate(
        f"() => [...document.querySelectorAll({STOPS!r})].filter((one) => one.checkVisibility())"
        ".map((one) => { one.dataset.stop = '1'; }).length"
    )
    bare: set[str] = set()
    for _ in range(3 * can + 40):  # a date has several stops
        page.keyboard.press("Tab")
        found = page.evaluate(PASSED)
        bare |= {found} - {""}
        if page.locator("[data-stop]").count() == 0:
            break
    assert page.locator("[data-stop]").count() == 0 and bare == set()


def test_keys(window: Any) -> None:
    """/ goes to the words and j through the rows."""
    page = window().go("/-/gateway/requests")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("() => document.activeElement.closest('tr').rowIndex") == 2
    page.keyboard.press("/")
    page.keyboard.type("colon")
    page.keyboard.press("Enter")
    page.wait_for_url("**/requests?q=colon*")
    assert page.locator("tr[data-row]").count() == 3


def test_without_javascript(window: Any, sites: Sites) -> None:
    """Filters, pages, folding and the raw text are links and forms."""
    page = window(java_script_enabled=False).go("/-/gateway/requests")
    page.select_option("select[name=provider]", "codex")
    page.click("text=Apply")
    assert set(page.locator("td.c-model .gw-provider").all_inner_texts()) == {"codex"}
    page.go_back()
    page.click("text=Older")
    page.click("text=Newer")
    page.goto(f"{sites.of['data'].base}/-/gateway/request/{sites.ids['edit']}")
    page.click("summary:has-text('pytest -q')")
    assert page.locator("text=1 failed, 11 passed").is_visible()
    page.click(".gw-segment >> text=Raw")
    assert "**every**" in page.inner_text(".gw-rawtext")


def test_days_are_typed(window: Any, sites: Sites) -> None:
    """From one day to another, by the form alone; a chip takes them away again."""
    page = window(java_script_enabled=False).go("/-/gateway?provider=claude")
    day = page.get_attribute(".gw-chart >> nth=0 >> a >> nth=0", "href").partition("from=")[2][:10]
    page.fill("input[name=from]", day)
    page.fill("input[name=to]", day)
    page.click("text=Show")
    assert f"{day} 00:00 to {day} 23:00" in page.inner_text(".gw-head")
    assert page.input_value("input[name=to]") == day
    assert page.locator(".gw-ranges [aria-current]").count() == 0
    page.click(".gw-ranges >> text=7 days")
    assert page.input_value("input[name=from]") == "" and "provider=claude" in page.url


TOUCHING = """() => [...document.querySelectorAll(".gw-axis")]
  .filter((one) => getComputedStyle(one).display !== "none")
  .map((one) => one.getBoundingClientRect())
  .filter((a, at, all) => all.slice(0, at).some((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length"""


@pytest.mark.parametrize("width", [1280, 400])
def test_words_of_axes_do_not_touch(window: Any, width: int) -> None:
    """They are as large as other small words at any width, and none lies on another."""
    opened = window("data", width)
    for range in ("24h", "7d", "30d", "90d", "all"):
        page = opened.go(f"/-/gateway?range={range}")
        assert page.locator(".gw-axis").count() > 8 and page.evaluate(TOUCHING) == 0, range
        assert page.locator(".gw-axis").first.bounding_box()["height"] >= 11


def running(sites: Sites, id: str, status: str = "running") -> sqlite3.Connection:
    """The sample's recorder, with one more job."""
    path = sites.of["data"].folder / "logs.db"
    conn = sqlite3.connect(path, timeout=30, isolation_level=None)
    conn.execute(
        "INSERT INTO job_rows (id, provider, status, kind, started_at, queued_at, lease_until)"
        " VALUES (?, 'grok', ?, 'submitted', '2026-01-01T00:00:00.000Z',"
        " '2026-01-01T00:00:00.000Z', '2099')",
        (id, status),
    )
    return conn


def by(page: Any, way: str) -> None:
    """Wait until the page learns what is new in that way."""
    page.wait_for_selector(f"body[data-live={way}]", timeout=30_000)


def test_jobs_are_live(window: Any, sites: Sites) -> None:
    """A job that begins appears by itself, and the button ends it."""
    page = window().go("/-/gateway/jobs")
    by(page, "events")
    conn = running(sites, "new-job")
    page.wait_for_selector("#job-new-job", timeout=60_000)
    page.click("#job-new-job >> text=Cancel")
    page.wait_for_selector("#job-new-job >> text=Asked to end", timeout=60_000)
    assert "Cancel was asked for" in page.inner_text("[role=status]")
    asked = conn.execute("SELECT cancel_requested_at FROM job_rows WHERE id = 'new-job'").fetchone()
    assert asked[0]
    conn.execute(
        "UPDATE job_rows SET status = 'canceled', started_at = '2098' WHERE id = 'new-job'"
    )
    page.wait_for_selector("#job-new-job", state="detached", timeout=60_000)
    page.wait_for_selector("tr a[href$='/job/new-job']", timeout=60_000)
    conn.execute("DELETE FROM job_rows WHERE id = 'new-job'")
    conn.close()


@pytest.mark.parametrize("how", ["kept back", "without EventSource"])
def test_where_no_event_arrives(window: Any, sites: Sites, how: str) -> None:
    """A proxy that keeps the stream back, or a browser without one: the page looks by itself."""
    opened = window()
    if how == "kept back":
        opened.page.route("**/changes", lambda route: None)  # no answer, ever
    else:
        opened.page.add_init_script("delete window.EventSource")
    page = opened.go("/-/gateway/jobs")
    by(page, "looks")
    conn = running(sites, "quiet-job")
    page.wait_for_selector("#job-quiet-job", timeout=60_000)
    conn.execute("DELETE FROM job_rows WHERE id = 'quiet-job'")
    conn.close()
    page.wait_for_selector("#job-quiet-job", state="detached", timeout=60_000)
    assert page.get_attribute("body", "data-live") == "looks"


HIDE = """(state) => {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_nobody_looks_at_a_hidden_page(window: Any) -> None:
    """A tab in the back neither listens nor looks; in front again it does both at once."""
    page = window().go("/-/gateway/jobs")
    by(page, "events")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(HIDE, "hidden")
    by(page, "looks")
    for _ in range(4):  # the look that the first event began may not be over
        before = len(asked)
        page.wait_for_timeout(2500)
        if len(asked) == before:
            break
    assert len(asked) == before
    asked.clear()
    page.evaluate(HIDE, "visible")
    by(page, "events")
    assert any("_part=live" in url for url in asked)


def test_a_request_is_live(window: Any, sites: Sites) -> None:
    """What a running request says grows on its page; when it is over, the page has all of it."""
    path = sites.of["data"].folder / "logs.db"
    conn = sqlite3.connect(path, timeout=30, isolation_level=None)
    id, job, before = conn.execute(
        "SELECT r.id, r.job_id, j.status FROM request_rows r JOIN job_rows j ON j.id = r.job_id"
        " WHERE r.status = 'running'"
    ).fetchone()
    assert before == "running"
    page = window().go(f"/-/gateway/request/{id}")
    by(page, "events")
    said = "INSERT INTO events SELECT job_id, max(seq) + 1, 1, 9000, 'text', ? FROM events"
    conn.execute(f"{said} WHERE job_id = ?", ('{"text": " Now the third <b>form</b>."}', job))
    page.wait_for_selector(".gw-tail >> text=Now the third <b>form</b>.", timeout=60_000)
    conn.execute("UPDATE request_rows SET status = 'canceled' WHERE id = ?", (id,))
    page.wait_for_selector(".gw-byline >> text=canceled", timeout=60_000)
    assert page.locator("[data-poll]").count() == 0
    conn.execute("UPDATE request_rows SET status = 'running' WHERE id = ?", (id,))
    conn.execute("DELETE FROM events WHERE job_id = ? AND data LIKE '%third%'", (job,))
    conn.close()


def test_attacks_do_nothing(window: Any, sites: Sites) -> None:
    """No dialog, no refused script, no request elsewhere, whatever a model wrote."""
    page = window("evil", 400)
    paths = [path for path in SCREENS.values() if "{" not in path]
    paths += [f"/-/gateway/request/{id}?events=-1" for id in sites.attacks]
    for path in paths:
        page.go(path)
        assert page.page.url.startswith(page.base)
        wide = page.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], path
