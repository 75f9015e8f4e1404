"""Makes the images in docs/images from a new service with a demo week.

`make screenshots` runs it. Needs Chromium.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

from bench.processes import PATH, ROOT, service

IMAGES = ROOT / "docs" / "images"
KEY = "demo-operator-key"
COLUMNS = 92
TERMINAL = """<pre style="margin: 0; padding: 4px 20px 12px; width: max-content; background: #fff; color: #222;
font: 14px/1.35 'DejaVu Sans Mono', monospace">{code}</pre>"""


@contextmanager
def demo() -> Iterator[tuple[str, dict[str, str]]]:
    """Run a service with a demo week. Yield its URL and the variables for commands."""
    with tempfile.TemporaryDirectory() as folder:
        data = {"JAY_REDIS__DATA_DIR": folder}
        with service(**data) as running:
            url = running.url.removesuffix(PATH)
            environment = {**os.environ, **data, "JAY_URL": url, "JAY_KEY": KEY}
            run_command("demo", environment)
            yield url, environment


def run_command(command: str, environment: dict[str, str]) -> str:
    """Run a command of the service and return its output."""
    words = [sys.executable, "-m", "service", *command.split()]
    return subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def terminal_page(output: str) -> str:
    """Return a page that shows the output of a terminal with its colors."""
    console = Console(record=True, file=StringIO(), width=COLUMNS, force_terminal=True)
    console.print(Text.from_ansi(output))
    return console.export_html(inline_styles=True, code_format=TERMINAL)


def save_dashboard(browser: Any, url: str, scheme: str) -> None:
    """Sign in and save an image of the dashboard in a color scheme."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{url}/dashboard#7d")
    page.locator("input[type=password]").fill(KEY)
    page.keyboard.press("Enter")
    page.locator('input[value="7d"]').check()
    page.get_by_text("jay.web.player.4.2").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"dashboard-{scheme}.png", full_page=True)
    context.close()


def main() -> None:
    """Make all images."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is needed: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with demo() as (url, environment), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            save_dashboard(browser, url, scheme)
        colorful = {**environment, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
        page = browser.new_page(device_scale_factor=2)
        page.set_content(terminal_page(run_command("counts --from 7d", colorful)))
        page.locator("pre").screenshot(path=IMAGES / "counts.png")
        browser.close()
    for image in sorted(IMAGES.iterdir()):
        print(f"{image.relative_to(ROOT)}: {image.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
