// Elements from what they are: h("button", { onclick }, "Adapt"). Text is always text, never markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  fill(element, children);
  return element;
}

// What stands in an element from now on; children that are not there are left out.
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
}

export function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)}%`;
}

export function plural(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

// Rows of cells, the first of which names its row.
export function table(titles, rows) {
  const row = ([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells.map((cell) => h("td", {}, cell)));
  return h("table", {}, h("thead", {}, h("tr", {}, titles.map((t) => h("th", { scope: "col" }, t)))), h("tbody", {}, rows.map(row)));
}

// What went wrong, for people, each offending example by itself.
export function problem(error) {
  const found = (error.errors || []).filter((e) => e.detail && e.detail !== error.message);
  return h(
    "div",
    { className: "problem", role: "alert" },
    h("p", {}, error.message),
    found.length > 0 && h("ul", {}, found.slice(0, 20).map((e) => h("li", {}, h("code", {}, e.pointer), ` ${e.detail}`))),
    found.length > 20 && h("p", {}, `and ${found.length - 20} more`),
    error.requestId && h("p", { className: "faint" }, `request ${error.requestId}`),
  );
}

// Run `work` while `button` waits; what it throws is shown in `where`.
export async function busy(button, where, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  fill(where);
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") fill(where, problem(error));
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

// An input of the client's, as one sees or hears it.
export function shown(example) {
  if (example.text !== undefined) return h("span", { className: "text", title: example.text }, example.text);
  const { file } = example;
  if (file.type.startsWith("audio/") || /\.(wav|flac|ogg|mp3)$/i.test(file.name)) {
    example.url ??= URL.createObjectURL(file); // lives as long as the page: it may be heard at any time
    return h("span", { className: "text" }, h("audio", { src: example.url, controls: true, preload: "none" }), file.name);
  }
  return picture(URL.createObjectURL(file), file.name);
}

// The picture behind an object URL, which is given back once it is seen; its name where it is none.
export function picture(src, name) {
  const done = () => URL.revokeObjectURL(src);
  const onerror = (event) => (done(), event.target.replaceWith(h("span", { className: "text" }, name)));
  return h("img", { src, alt: name, title: name, loading: "lazy", onload: done, onerror });
}
