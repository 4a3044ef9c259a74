"""The page in Chromium, where there is one: no error, nothing from elsewhere, nothing cut off, every picture seen."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape

import pytest
from report_samples import gallery, report_data

from segflow.reporting.data import Picture
from segflow.reporting.files import report_files
from segflow.reporting.page.render import render_report
from segflow.storage.folders import write_folder

#: SEGFLOW_BROWSER names another one.
NAMES = (
    "chromium",
    "chromium-browser",
    "chromium-headless-shell",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
BROWSER = os.environ.get("SEGFLOW_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)

# What has been loaded, broken pictures, and elements beyond the right edge that nothing can be scrolled to show.
LOOK = """<script>addEventListener("load", () => {
  const beyond = e => e.getBoundingClientRect().right > innerWidth + 1 && e.getBoundingClientRect().width;
  document.body.innerHTML += "<pre id=seen>" + JSON.stringify({
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    is_dark: parseInt(getComputedStyle(document.body).backgroundColor.slice(4)) < 128,
    scrolled: [...document.querySelectorAll(".slices input")].map(slider => {
      slider.value = 1;
      slider.dispatchEvent(new Event("input"));
      return getComputedStyle(slider.parentElement.querySelector("img")).objectPosition;
    }),
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    broken: [...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src),
    shown: [...document.images].filter(image => image.naturalWidth).length,
    cut: [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll") && beyond(e)).map(e => e.outerHTML),
  }).replaceAll("<", "\\\\u003c") + "</pre>";
});</script>"""


def look(page, folder, width, *options):
    """What Chromium says of a page in a window of this width, and what the page finds of itself."""
    file = folder / "report.html"
    file.write_text(page.replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr", "--virtual-time-budget=5000", f"--window-size={width},1200", *options,
        "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert seen, done.stdout[-500:] + done.stderr
    return re.findall(r"CONSOLE.*", done.stderr), json.loads(unescape(seen[1]))


@pytest.fixture
def page(tmp_path):
    """A page whose pictures lie beside it."""
    names = [f"pictures/{i}.gif" for i in range(3)]
    pixel = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002014c003b")
    thumbnails = {f"case_{i}": Picture(f"report/{name}", "image, reference") for i, name in enumerate(names)}
    data = report_data(gallery=replace(gallery(), thumbnails=thumbnails))
    files = report_files(data) | dict.fromkeys(names, pixel)
    write_folder(tmp_path / "report", files)
    return render_report(replace(data, files=files))


@pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(NAMES)} is installed, nor is SEGFLOW_BROWSER set"
)
@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("options", [(), ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")])
def test_the_page_in_a_browser(page, tmp_path, width, options):
    console, seen = look(page, tmp_path, width, *options)
    assert console == []
    assert seen["page"] <= seen["width"] == width
    assert seen["is_dark"] == bool(options)
    assert (seen["broken"], seen["cut"]) == ([], [])
    assert seen["scrolled"] == ["0px 50%"]  # the second of three
    assert seen["shown"] == len(re.findall("<img ", page))
    assert {re.match("[a-z]+:", request)[0] for request in seen["requests"]} <= {"file:", "data:"}
    pdf = tmp_path / "report.pdf"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={pdf}"]
    subprocess.run(
        [*command, (tmp_path / "report.html").as_uri()], capture_output=True, timeout=120, check=True
    )
    assert pdf.read_bytes().startswith(b"%PDF")


@pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(NAMES)} is installed, nor is SEGFLOW_BROWSER set"
)
def test_what_is_wrong_is_seen(page, tmp_path):
    wrong = '<img src="http://example.invalid/a.png"><p style="width: 3000px">wide</p><script>console.error(1)</script>'
    console, seen = look(page.replace("</main>", f"{wrong}</main>"), tmp_path, 400)
    assert len(console) >= 1
    assert seen["page"] > 400
    assert "http://example.invalid/a.png" in seen["broken"]
    assert any(request.startswith("http:") for request in seen["requests"])
    assert len(seen["cut"]) == 1
