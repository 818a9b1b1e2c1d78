"""The page at `/` in a real browser: Chromium, which the machine has, driven by Playwright (`make browser`)."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw

from adapter.config import Settings
from innerloop.embedded import Embedded

pytest.importorskip("playwright")

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRAWINGS = Path(__file__).parents[2] / "docs" / "drawings"
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A service that wants the key `il_secret`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INNERLOOP_API_KEYS", f"anna:{hashlib.sha256(b'il_secret').hexdigest()}")
        running = Embedded(Settings(port=0, data_dir=tmp_path_factory.mktemp("keyed")))
    with running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Embedded) -> Iterator[Page]:
    """The page, which must not have complained in its console when the test is over."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(server.url)
    yield page
    page.close()
    assert [c for c in complaints if "the server responded with a status of 4" not in c] == []


def files(page: Page, at: int, *names: str) -> None:
    page.locator(".class").nth(at).locator("input[type=file]").set_input_files([str(DRAWINGS / n) for n in names])


def stroke(page: Page, sheet: str, *points: tuple[int, int]) -> None:
    box = page.locator(sheet).bounding_box()
    assert box
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x, box["y"] + y)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def adapt(page: Page) -> str:
    page.get_by_role("button", name="Adapt").click()
    expect(page.locator(".badge")).to_have_text("ready", timeout=30_000)
    return page.url.partition("#")[2]


def drawings(page: Page, name: str) -> str:
    page.get_by_label("Name of class 1").fill("zig")
    page.get_by_label("Name of class 2").fill('<b>"loop"</b>')
    files(page, 0, "zig-1.png")
    files(page, 1, "loop-1.png")
    page.get_by_label("Name", exact=True).fill(name)
    return adapt(page)


def test_drawings_from_files_to_answers_to_a_new_version(page: Page, http: httpx.Client) -> None:
    model = drawings(page, "<i>lines</i>")
    assert http.get(f"/v1/models/{model}").json()["name"] == "<i>lines</i>"
    expect(page.locator("nav [aria-current]")).to_contain_text("<i>lines</i>")
    expect(page.get_by_text("as the meta-model sees them")).to_be_visible()
    expect(page.locator("#model .examples img")).to_have_count(2)

    asked = [str(DRAWINGS / "zig-2.png"), str(DRAWINGS / "loop-2.png"), str(Path(__file__))]
    page.locator(".drop input[multiple]").set_input_files(asked)
    expect(page.locator(".answers li b").first).to_have_text("zig")
    expect(page.locator(".answers li b").nth(1)).to_have_text('<b>"loop"</b>')
    expect(page.locator(".answers .problem")).to_contain_text("not an image")

    stroke(page, ".board .sheet", (50, 50), (170, 50), (50, 170), (170, 170))
    expect(page.locator(".live b")).to_have_text(re.compile("zig|unlike"))
    page.locator(".answers li").first.get_by_role("button", name="Add as an example of").click()
    expect(page.locator("#model .faint").first).to_contain_text("version 2")
    expect(page.locator("#model .examples img")).to_have_count(3)
    page.get_by_role("button", name=re.compile("Remove .*zig-2")).click()
    expect(page.locator("#model .faint").first).to_contain_text("version 3")


def test_a_model_is_renamed_taken_away_and_deleted(page: Page, http: httpx.Client, tmp_path: Path) -> None:
    model = drawings(page, "to go")
    title = page.get_by_label("Name of the model")
    title.fill("still there")
    title.press("Tab")
    expect(page.locator("nav [aria-current]")).to_contain_text("still there")
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download as ONNX").click()
    taken.value.save_as(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 100_000
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="New model")).to_be_visible()
    assert http.get(f"/v1/models/{model}").status_code == 404
    page.goto(f"{page.url.partition('#')[0]}#{model}")
    expect(page.locator("#model .problem")).to_contain_text("no model")


def test_texts_typed_in_are_kept_and_asked(page: Page) -> None:
    page.get_by_text("Texts", exact=True).click()
    first, second = page.locator(".class textarea").first, page.locator(".class textarea").nth(1)
    second.fill("give me my money back\nrefund please")
    first.fill("where is my parcel\nit has not arrived")
    page.locator(".class").first.get_by_role("button", name="Add", exact=True).click()
    expect(second).to_have_value("give me my money back\nrefund please")
    page.get_by_text("Sounds", exact=True).click()
    page.get_by_text("Texts", exact=True).click()
    expect(page.locator(".class .examples li")).to_have_count(2)
    adapt(page)
    page.get_by_label("What to classify").fill("can I have a refund?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answers b")).to_have_text("class 2")


def test_numbers_that_are_none_are_named_and_vectors_asked(page: Page) -> None:
    page.get_by_text("Vectors", exact=True).click()
    page.locator(".class textarea").first.fill("1.0, 2.0, 3\n1.1 2 3.1")
    page.locator(".class textarea").nth(1).fill("5;1;0\n5.2;x;0")
    page.get_by_role("button", name="Adapt").click()
    expect(page.locator("#new .problem")).to_have_text('line 2: "x" is not a number')
    page.locator(".class textarea").nth(1).fill("5;1;0\n5.2;1.1;0")
    adapt(page)
    page.get_by_label("What to classify").fill("[5, 1, 0.1]")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answers b")).to_have_text("class 2")


def test_a_recording_is_a_sound(page: Page, http: httpx.Client) -> None:
    page.get_by_text("Sounds", exact=True).click()
    for i, ms in enumerate((1400, 2300)):
        card = page.locator(".class").nth(i)
        card.get_by_role("button", name="Record").click()
        page.wait_for_timeout(ms)
        card.get_by_role("button", name="Stop").click()
        expect(page.locator(".class").nth(i).locator("audio")).to_have_count(1)
    model = adapt(page)
    assert http.get(f"/v1/models/{model}").json()["modality"] == "audio"


def test_a_folder_makes_the_classes_and_the_wrong_file_is_marked(page: Page, tmp_path: Path) -> None:
    for label in ("ka", "na"):
        (tmp_path / "letters" / label).mkdir(parents=True)
        for i in range(2):
            drawn = DRAWINGS / f"{'zig' if label == 'ka' else 'loop'}-{i + 1}.png"
            shutil.copy(drawn, tmp_path / "letters" / label / f"{i}.png")
    (tmp_path / "letters" / "na" / "bad.png").write_bytes(b"no picture")
    page.locator("#new input[webkitdirectory]").set_input_files(str(tmp_path / "letters"))
    expect(page.locator(".class")).to_have_count(2)
    expect(page.get_by_label("Name of class 1")).to_have_value("ka")
    page.get_by_role("button", name="Adapt").click()
    expect(page.locator("#new .problem")).to_contain_text("support[na] bad.png")
    expect(page.locator(".class li.wrong")).to_have_count(1)
    page.get_by_role("button", name="Remove example 3 of na").click()
    adapt(page)


def test_files_in_the_folders_of_classes_are_judged(page: Page, tmp_path: Path) -> None:
    drawings(page, "judged")
    for label, names in {"zig": ("zig-2", "loop-2"), "elsewhere": ("loop-1",)}.items():
        (tmp_path / "test" / label).mkdir(parents=True)
        for name in names:
            shutil.copy(DRAWINGS / f"{name}.png", tmp_path / "test" / label)
    page.locator(".drop input[webkitdirectory]").set_input_files(str(tmp_path / "test"))
    expect(page.locator(".answers > li")).to_have_count(3)
    expect(page.locator(".large").first).to_have_text("50%")
    expect(page.get_by_text("of 2 answers right; 95% interval 9% to 91%")).to_be_visible()
    expect(page.get_by_role("row", name="zig 2 50%")).to_contain_text('<b>"loop"</b>')
    page.get_by_label("Wrong ones only").check()
    expect(page.locator(".answers > li:visible")).to_have_count(2)
    wrong = page.locator(".answers > li", has_text="in the folder of zig")
    expect(wrong.get_by_label("Right class")).to_have_value("zig")
    page.locator(".drop input[multiple]").set_input_files(str(DRAWINGS / "zig-2.png"))
    expect(page.locator(".answers > li:visible")).to_have_count(1)
    expect(page.get_by_label("Wrong ones only")).to_be_hidden()


def test_what_is_read_before_the_first_of_a_class_stops_nothing(page: Page, tmp_path: Path) -> None:
    drawings(page, "late")
    (tmp_path / "test" / "elsewhere").mkdir(parents=True)
    (tmp_path / "test" / "zig").mkdir()
    for i in range(50):
        shutil.copy(DRAWINGS / "loop-1.png", tmp_path / "test" / "elsewhere" / f"{i}.png")
    shutil.copy(DRAWINGS / "zig-2.png", tmp_path / "test" / "zig")
    (tmp_path / "test" / "zig" / "bad.png").write_bytes(b"no picture")
    page.locator(".drop input[webkitdirectory]").set_input_files(str(tmp_path / "test"))
    expect(page.locator(".answers > li")).to_have_count(52)
    expect(page.get_by_text("of 1 answer right; 95% interval 21% to 100%")).to_be_visible()
    (tmp_path / "test" / "zig" / "zig-2.png").unlink()
    page.locator(".drop input[webkitdirectory]").set_input_files(str(tmp_path / "test" / "zig"))
    expect(page.locator(".answers > li")).to_have_count(1)
    expect(page.locator(".answers .problem")).to_contain_text("not an image")
    expect(page.locator("#model .problem")).to_have_count(1)


def test_a_phones_pictures_are_drawn_smaller_before_they_are_sent(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        noise = Image.fromarray(rng.integers(0, 256, (750, 1000, 3), dtype=np.uint8)).resize((8000, 6000))
        turned = Image.Exif()
        turned[ExifTags.Base.Orientation] = 6
        noise.save(tmp_path / f"{name}.jpg", quality=97, exif=turned)
    assert (tmp_path / "left.jpg").stat().st_size > 2**21
    for at, name in enumerate(("left", "right")):
        page.locator(".class").nth(at).locator("input[type=file]").set_input_files(str(tmp_path / f"{name}.jpg"))
    model = adapt(page)  # 48 megapixels, of which the server takes 25
    sources = [e["source"] for e in http.get(f"/v1/models/{model}/examples").json()["data"]]
    assert sources == ["support[class 1] left.jpg", "support[class 2] right.jpg"]
    Image.fromarray(rng.integers(0, 256, (1000, 1000, 3), dtype=np.uint8)).save(tmp_path / "many.png")
    made = page.evaluate(
        """async ([photo, png]) => {
          const { append } = await import("./console/inputs.js");
          const bytes = (encoded) => Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
          const file = new File([bytes(photo)], "a.jpg", { type: "image/jpeg" });
          const many = new File([bytes(png)], "many.png", { type: "image/png" });
          const form = new FormData();
          await append(form, "inputs", { file }, 5e5);
          await append(form, "inputs", { file: new File(["x".repeat(3e6)], "b.png", { type: "image/png" }) });
          await append(form, "inputs", { file: many });
          await append(form, "inputs", { file: many }, 1e5);
          const [first, second, ...rest] = form.getAll("inputs");
          const { width, height } = await createImageBitmap(first);
          return [first.name, first.type, width, height, second.size, ...rest.map((one) => one.size)];
        }""",
        [base64.b64encode((tmp_path / name).read_bytes()).decode() for name in ("left.jpg", "many.png")],
    )
    assert made[:5] == ["a.jpg", "image/jpeg", 480, 640, 3_000_000]
    assert 1e5 < made[5] <= 2**21
    assert made[6] <= 1e5


DROP = """([selector, tree]) => {
  const entry = (name, content) => content === null
    ? { name, isFile: true, isDirectory: false, file: (done) => done(new File(["x"], name)) }
    : { name, isFile: false, isDirectory: true, createReader: () => {
        let left = Object.entries(content).map(([n, c]) => entry(n, c));
        return { readEntries: (done) => { done(left); left = []; } };
      } };
  const items = Object.entries(tree).map(([n, c]) => ({ webkitGetAsEntry: () => entry(n, c) }));
  const event = new Event("drop", { bubbles: true, cancelable: true });
  Object.defineProperty(event, "dataTransfer", { value: { items, files: [] } });
  document.querySelector(selector).dispatchEvent(event);
}"""


def drop(page: Page, selector: str, tree: dict[str, object]) -> None:
    """Files (None) and folders, as a browser hands them over."""
    page.evaluate(DROP, [selector, tree])


def counts(page: Page) -> list[tuple[str, str]]:
    cards = [page.locator(".class").nth(i) for i in range(page.locator(".class").count())]
    return [(card.locator("input").first.input_value(), card.locator(".count").inner_text()) for card in cards]


def test_what_is_dropped_finds_its_class(page: Page) -> None:
    drop(page, ".class:nth-child(2)", {"cats": {"1.png": None, "2.png": None, "Thumbs.db": None}})
    expect(page.locator(".class:nth-child(2) .count")).to_have_text("2")
    assert counts(page) == [("class 1", "0"), ("class 2", "2")]
    page.get_by_role("button", name="Start over").click()
    drop(page, ".class", {"letters": {"ka": {"1.png": None}, "na": {"1.png": None}, "stray.png": None}})
    expect(page.locator("#new .problem")).to_contain_text("1 file in no class's folder")
    assert counts(page) == [("ka", "1"), ("na", "1")]
    drop(page, "#new", {"na": {"2.png": None, ".ipynb_checkpoints": {"2.png": None}}})
    expect(page.locator(".class:nth-child(2) .count")).to_have_text("2")
    page.get_by_role("button", name="Start over").click()
    drop(page, ".class", {"a.wav": None})
    expect(page.get_by_label("Sounds")).to_be_checked()
    assert counts(page) == [("class 1", "1"), ("class 2", "0")]


def test_the_skip_link_and_an_old_poll_lose_nothing(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="New model")).to_be_visible()
    held: list[Route] = []
    model = drawings(page, "polled")
    page.route(f"**/v1/models/{model}", lambda route: held.append(route) if not held else route.continue_())
    page.reload()
    page.wait_for_timeout(300)
    title = page.get_by_label("Name of the model")
    title.fill("renamed")
    title.press("Enter")
    expect(page.locator("nav [aria-current]")).to_contain_text("renamed")
    held[0].continue_()
    page.wait_for_timeout(300)
    expect(title).to_have_value("renamed")
    expect(page.get_by_role("heading", name="Ask")).to_be_visible()


def test_a_key_is_asked_for_where_one_is_needed(browser: Browser, keyed: Embedded) -> None:
    page = browser.new_page()
    page.goto(keyed.url)
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key").fill("il_wrong")
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog).to_contain_text("not known")
    dialog.get_by_label("Key").fill("il_secret")
    dialog.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("button", name="API key: set")).to_be_visible()
    drawings(page, "keyed")
    page.close()


def test_it_fits_a_phone(browser: Browser, server: Embedded) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 640})
    page.goto(server.url)
    drawings(page, "narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.close()


def test_the_doubtful_example_is_marked_and_not_its_twin(page: Page, tmp_path: Path) -> None:
    for i, label in enumerate(("up", "down")):
        (tmp_path / "set" / label).mkdir(parents=True)
        for k in range(5):
            sheet = Image.new("L", (60, 60), 255)
            ends = [(10 + k, 10), (30, 50 - k), (50, 10)] if i else [(10, 50 - k), (30, 10 + k), (50, 50)]
            ImageDraw.Draw(sheet).line(ends, 0, 4)
            sheet.save(tmp_path / "set" / label / f"{k}.png")
    shutil.copy(tmp_path / "set" / "up" / "0.png", tmp_path / "set" / "down" / "odd.png")
    page.locator("#new input[webkitdirectory]").set_input_files(str(tmp_path / "set"))
    adapt(page)
    expect(page.locator("#model .examples li.wrong")).to_have_count(1)
    expect(page.locator("#model .examples li.wrong")).to_have_attribute("title", re.compile("odd.png: looks like up"))
