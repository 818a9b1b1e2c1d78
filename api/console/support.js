// A support set that is put together: classes with their examples, dropped, chosen, drawn, recorded or typed.

import { fill, h, plural, problem, shown } from "./dom.js";
import { drawMany, recorder } from "./draw.js";
import { append, chosenFolder, dropped, isZip, kindOf, lines } from "./inputs.js";

const KINDS = { image: "Pictures", text: "Texts", audio: "Sounds", vector: "Vectors" };
const HINTS = {
  image: "Drop a folder with a folder per class, a zip of one, or pictures on a class; or draw.",
  audio: "Drop a folder with a folder per class, a zip of one, or WAV, FLAC, OGG or MP3 files on a class; or record.",
  text: "Write or paste texts, one a line, or drop a folder of .txt files with a folder per class.",
  vector: "Paste vectors, one a line, such as rows of a spreadsheet, or drop .npy files on a class.",
};
const ACCEPT = { image: "image/*", audio: "audio/*", text: ".txt", vector: ".npy" };

// Fills `place`; `onkind(kind)` is told of what the examples are. `form()` is the set as a form, `mark(errors)` shows which
// examples were refused, `clear()` begins anew.
export function supportSet(place, onkind) {
  const sets = {}; // by kind, so that looking at another one loses nothing
  let kind = "image";
  let classes = [];
  let archives = [];

  const grid = h("div", { className: "classes" });
  const told = h("div", { ariaLive: "polite" });
  const hint = h("p", { className: "hint" });
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
      folder,
      zip,
    ),
    told,
  );
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => drop(event, null));
  become(kind);
  return { form, mark, clear };

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
    return { label, examples: [], typed: "" };
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

  function draw() {
    fill(
      grid,
      ...classes.map(card),
      ...archives.map((file, i) =>
        h(
          "section",
          { className: "class" },
          h("div", { className: "row" }, h("b", { className: "grow" }, file.name), remove(`Remove ${file.name}`, () => archives.splice(i, 1), classes.length + i)),
          h("p", { className: "faint" }, "a zip with a folder per class"),
        ),
      ),
    );
  }

  function remove(title, change, at) {
    const gone = () => {
      change();
      draw();
      (grid.children[Math.min(at, grid.children.length - 1)]?.querySelector("input") || tabs.querySelector(":checked")).focus();
    };
    return h("button", { type: "button", className: "remove", title, ariaLabel: title, onclick: gone }, "×");
  }

  function card(one, at) {
    const files = h("input", { type: "file", multiple: true, hidden: true, accept: ACCEPT[kind], onchange: () => take(one, [...files.files]) });
    const told = h("div");
    const label = h("input", { value: one.label, ariaLabel: `Name of class ${at + 1}`, maxLength: 200, oninput: () => (one.label = label.value) });
    const title = () => one.label || `class ${at + 1}`;
    const grow = (example) => (one.examples.push(example), draw());
    return h(
      "section",
      {
        className: "class",
        ondragover: (event) => (event.preventDefault(), event.currentTarget.classList.add("over")),
        ondragleave: (event) => event.currentTarget.classList.remove("over"),
        ondrop: (event) => drop(event, one),
      },
      h(
        "div",
        { className: "row" },
        label,
        h("span", { className: "faint count" }, String(one.examples.length)),
        remove(`Remove ${title()}`, () => classes.splice(at, 1), at),
      ),
      h(
        "ul",
        { className: "examples" },
        one.examples.map((example, i) =>
          h(
            "li",
            { className: example.wrong ? "wrong" : "", title: example.wrong || "" },
            shown(example),
            remove(`Remove example ${i + 1} of ${title()}`, () => one.examples.splice(i, 1), at),
          ),
        ),
      ),
      (kind === "text" || kind === "vector") && pasting(one, told),
      h(
        "div",
        { className: "row" },
        kind === "image" && h("button", { type: "button", onclick: () => drawMany(title(), grow) }, "Draw"),
        kind === "audio" && recorder(grow, (error) => fill(told, problem(error))),
        h("button", { type: "button", onclick: () => files.click() }, "Add files"),
        files,
      ),
      told,
    );
  }

  function pasting(one, told) {
    const box = h("textarea", { rows: 3, value: one.typed, ariaLabel: `${KINDS[kind]} of ${one.label}`, placeholder: "one a line", oninput: () => (one.typed = box.value) });
    const put = () => {
      try {
        typedIn(one);
        draw();
      } catch (error) {
        fill(told, problem(error));
      }
    };
    return h("div", { className: "paste" }, box, h("button", { type: "button", onclick: put }, "Add"));
  }

  // What was typed and not yet added becomes examples.
  function typedIn(one) {
    one.examples.push(...lines(one.typed, kind));
    one.typed = "";
  }

  function take(one, files) {
    for (const file of files) one.examples.push({ file });
    draw();
  }

  async function drop(event, one) {
    event.preventDefault();
    event.stopPropagation();
    accept(await dropped(event.dataTransfer), one);
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

  function accept(found, one) {
    fill(told);
    const zips = found.filter(({ file }) => isZip(file));
    const rest = found.filter(({ file }) => !isZip(file));
    archives.push(...zips.map(({ file }) => file));
    const kinds = new Set(rest.map(({ file }) => kindOf(file)).filter(Boolean));
    if (kinds.size === 1 && !kinds.has(kind) && !classes.some(isBegun)) become([...kinds][0]);
    const homeless = rest.filter(({ label }) => !label && !one);
    if (rest.some(({ label }) => label)) classes = classes.filter(isBegun);
    for (const { file, label } of rest) {
      let home = one || classes.find((c) => label && c.label === label);
      if (!home && label) classes.push((home = empty(label)));
      home?.examples.push({ file });
    }
    if (zips.length && !rest.length) classes = classes.filter(isBegun);
    draw();
    if (homeless.length) {
      fill(told, problem(new Error(`${plural(homeless.length, "file")} in no folder: drop files on a class, or a folder with a folder per class.`)));
    }
  }

  function form() {
    classes.forEach(typedIn);
    draw();
    const nameless = classes.findIndex((c) => c.examples.length && !c.label.trim());
    if (nameless >= 0) throw new Error(`Class ${nameless + 1} has no name.`);
    const made = new FormData();
    for (const { label, examples } of classes) {
      for (const example of examples) append(made, `support[${label}]`, example);
    }
    archives.forEach((file) => made.append("archive", file));
    return made;
  }

  function clear() {
    classes = [];
    archives = [];
    become(kind);
  }

  function mark(errors) {
    const wrong = new Map(errors.map((e) => [e.pointer, e.detail]));
    for (const { label, examples } of classes) {
      for (const example of examples) {
        example.wrong = (example.file && wrong.get(`support[${label}] ${example.file.name}`)) || "";
      }
    }
    draw();
  }
}
