// A support set that is put together: classes with their examples, dropped, chosen, drawn, recorded or typed.

import { fill, h, plural, problem, shown } from "./dom.js";
import { drawMany, recorder } from "./draw.js";
import { append, chosenFolder, dropped, HEAVY, isZip, kindOf, lines } from "./inputs.js";

const KINDS = { image: "Pictures", text: "Texts", audio: "Sounds", vector: "Vectors" };
const HINTS = {
  image: "Drop a folder with a folder per class, a zip of one, or pictures on a class; or draw.",
  audio: "Drop a folder with a folder per class, a zip of one, or WAV, FLAC, OGG or MP3 files on a class; or record.",
  text: "Write or paste texts, one a line, or drop a folder of .txt files with a folder per class.",
  vector: "Paste vectors, one a line, such as rows of a spreadsheet, or drop .npy files on a class.",
};
const REQUEST = 6e7; // bytes of all examples, below what a request may have
const ESCAPED = /%(22|0D|0A)/i; // what stands for a quotation mark and ends of lines in names of parts
const ACCEPT = { image: "image/*", audio: "audio/*", text: ".txt", vector: ".npy" };

// Fills `place`, and takes what is dropped anywhere on `zone`; `onkind(kind)` is told of what the examples are. `form()` is
// the set as a form, `mark(errors)` shows which examples were refused.
export function supportSet(place, zone, onkind) {
  const sets = {}; // by kind, so that looking at another one loses nothing
  let kind = "image";
  let classes = [];
  let archives = [];

  const grid = h("div", { className: "classes" });
  const told = h("div", { ariaLive: "polite" });
  const hint = h("p");
  const tabs = h(
    "fieldset",
    { className: "tabs" },
    h("legend", { className: "unseen" }, "What is classified"),
    Object.entries(KINDS).map(([value, title]) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name: "kind", value, checked: value === kind, onchange: () => become(value) }),
        h("span", {}, title),
      ),
    ),
  );
  const folder = h("input", { type: "file", hidden: true, webkitdirectory: true, onchange: chosen });
  const zip = h("input", { type: "file", hidden: true, accept: ".zip", onchange: chosenZip });

  fill(
    place,
    tabs,
    hint,
    grid,
    h(
      "div",
      { className: "row" },
      h("button", { type: "button", onclick: add }, "Add a class"),
      h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder"),
      h("button", { type: "button", onclick: () => zip.click() }, "Choose a zip"),
      h("button", { type: "button", className: "quiet", onclick: clear }, "Start over"),
      folder,
      zip,
    ),
    told,
  );
  zone.addEventListener("drop", (event) => drop(event, null));
  become(kind);
  return { form, mark };

  function become(value) {
    sets[kind] = { classes, archives };
    kind = value;
    ({ classes, archives } = sets[kind] || { classes: [], archives: [] });
    hint.textContent = HINTS[kind];
    tabs.querySelector(`[value=${kind}]`).checked = true;
    if (!classes.length) classes = [empty("class 1"), empty("class 2")];
    onkind(kind);
    draw();
  }

  function empty(label) {
    return { label, examples: [], typed: "", card: null };
  }

  function isBegun(one) {
    return one.examples.length > 0 || one.typed.trim() !== "";
  }

  function add() {
    let n = classes.length + 1;
    while (classes.some((c) => c.label === `class ${n}`)) n += 1;
    classes.push(empty(`class ${n}`));
    draw();
    grid.children[classes.length - 1].querySelector("input").select();
  }

  function grow(one, ...examples) {
    one.examples.push(...examples);
    one.card = null;
    draw();
  }

  // Cards are made once, and anew when their class has changed.
  function draw() {
    classes.forEach((one, at) => {
      one.card ??= card(one);
      one.card.querySelector("input").ariaLabel = `Name of class ${at + 1}`;
    });
    fill(grid, classes.map((one) => one.card), archives.map(archive));
  }

  function archive(file, i) {
    const off = remove(`Remove ${file.name}`, () => archives.splice(i, 1), () => classes.length + i);
    return h(
      "section",
      { className: "class" },
      h("div", { className: "row" }, h("b", { className: "grow" }, file.name), off),
      h("p", { className: "faint" }, "a zip with a folder per class"),
    );
  }

  // Once it has changed what it says, the focus stays near the card number `at()`.
  function remove(title, change, at) {
    const gone = () => {
      const before = at();
      change();
      draw();
      const near = grid.children[Math.min(before, grid.children.length - 1)]?.querySelector("input, button");
      (near || tabs.querySelector(":checked")).focus();
    };
    return h("button", { type: "button", className: "remove", title, ariaLabel: title, onclick: gone }, "×");
  }

  function card(one) {
    const at = () => classes.indexOf(one);
    const title = one.label || "this class";
    const files = h("input", { type: "file", multiple: true, hidden: true, accept: ACCEPT[kind], onchange: () => grow(one, ...[...files.files].map((file) => ({ file }))) });
    const wrong = h("div");
    const label = h("input", { value: one.label, maxLength: 200, oninput: () => (one.label = label.value) });
    const pen = h("button", { type: "button", className: "draw", onclick: () => drawMany(label.value, (example) => grow(one, example), () => one.card.querySelector(".draw").focus()) }, "Draw");
    if (kind === "audio") one.recorder ??= recorder((example) => grow(one, example), (error) => fill(told, problem(error)));
    return h(
      "section",
      {
        className: "class",
        ondragover: (event) => (event.preventDefault(), event.currentTarget.classList.add("over")),
        ondragleave: (event) => event.currentTarget.classList.remove("over"),
        ondrop: (event) => (event.currentTarget.classList.remove("over"), drop(event, at())),
      },
      h(
        "div",
        { className: "row" },
        label,
        h("span", { className: "faint count" }, String(one.examples.length)),
        remove(`Remove ${title}`, () => classes.splice(at(), 1), at),
      ),
      h("ul", { className: "examples" }, one.examples.map((example, i) => item(one, example, i, at))),
      (kind === "text" || kind === "vector") && pasting(one, wrong),
      h("div", { className: "row" }, kind === "image" && pen, one.recorder, h("button", { type: "button", onclick: () => files.click() }, "Add files"), files),
      wrong,
    );
  }

  function item(one, example, i, at) {
    const off = remove(`Remove example ${i + 1} of ${one.label}`, () => (one.examples.splice(i, 1), (one.card = null)), at);
    return h("li", { className: example.wrong ? "wrong" : "", title: example.wrong || "" }, shown(example), off);
  }

  function pasting(one, wrong) {
    const box = h("textarea", { rows: 3, value: one.typed, ariaLabel: `${KINDS[kind]} of ${one.label}`, placeholder: "one a line", oninput: () => (one.typed = box.value) });
    const put = () => {
      try {
        typedIn(one);
        one.card.querySelector("textarea").focus();
      } catch (error) {
        fill(wrong, problem(error));
      }
    };
    return h("div", { className: "paste" }, box, h("button", { type: "button", onclick: put }, "Add"));
  }

  // What was typed and not yet added becomes examples.
  function typedIn(one) {
    const found = lines(one.typed, kind);
    one.typed = "";
    if (found.length) grow(one, ...found);
  }

  async function drop(event, at) {
    event.preventDefault();
    event.stopPropagation();
    if (place.inert) return;
    try {
      accept(await dropped(event.dataTransfer), at);
    } catch (error) {
      fill(told, problem(error));
    }
  }

  function chosen() {
    accept(chosenFolder(folder.files), null);
    folder.value = "";
  }

  function chosenZip() {
    archives.push(...zip.files);
    zip.value = "";
    draw();
  }

  // Files with the names of their folders, dropped on the class number `at` or beside them all; folders of several
  // names are classes wherever they were dropped.
  function accept(found, at) {
    fill(told);
    const zips = found.filter(({ file }) => isZip(file)).map(({ file }) => file);
    const rest = found.filter(({ file }) => !isZip(file));
    const kinds = new Set(rest.map(({ file }) => kindOf(file)).filter(Boolean));
    if (kinds.size === 1 && !kinds.has(kind) && !classes.some(isBegun)) become([...kinds][0]);
    const one = new Set(rest.map(({ label }) => label)).size > 1 || at === null ? null : classes[at];
    archives.push(...zips);
    if (!one && (zips.length || rest.some(({ label }) => label))) classes = classes.filter(isBegun);
    for (const { file, label } of rest) {
      let home = one || classes.find((c) => label && c.label === label);
      if (!home && label) classes.push((home = empty(label)));
      home?.examples.push({ file });
      if (home) home.card = null;
    }
    draw();
    const homeless = one ? 0 : rest.filter(({ label }) => !label).length;
    if (homeless) {
      const how = "drop files on a class, or a folder with a folder per class";
      fill(told, problem(new Error(`${plural(homeless, "file")} in no class's folder left out: ${how}.`)));
    }
  }

  async function form() {
    classes.forEach(typedIn);
    const used = classes.filter((c) => c.examples.length);
    const names = used.map((c) => c.label.trim());
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (names.includes("")) throw new Error("A class has no name.");
    if (twice) throw new Error(`Two classes are called ${JSON.stringify(twice)}.`);
    const odd = names.find((name) => ESCAPED.test(name));
    if (odd) throw new Error(`${JSON.stringify(odd)}: a form cannot carry a name with %22, %0D or %0A.`);
    const made = new FormData();
    const all = used.flatMap(({ examples }) => examples);
    const bytes = all.reduce((sum, { file }) => sum + Math.min(file?.size || 0, HEAVY), 0);
    const room = bytes > REQUEST ? REQUEST / all.length : HEAVY;
    for (const { label, examples } of used) {
      for (const example of examples) await append(made, `support[${label.trim()}]`, example, room);
    }
    archives.forEach((file) => made.append("archive", file));
    return made;
  }

  function clear() {
    classes = [];
    archives = [];
    fill(told);
    become(kind);
  }

  function mark(errors) {
    const wrong = new Map(errors.map((e) => [e.pointer, e.detail]));
    for (const one of classes) {
      const part = `support[${one.label.trim().replaceAll('"', "%22")}]`; // as browsers send it
      for (const example of one.examples) {
        const found = (example.file && wrong.get(`${part} ${example.file.name}`)) || "";
        if (found !== (example.wrong || "")) one.card = null;
        example.wrong = found;
      }
    }
    draw();
  }
}
