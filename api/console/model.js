// One model: how it came to be, how good it is, and what it answers.

import { asking } from "./asking.js";
import { busy, fill, h, percent, picture, plural, problem, table } from "./dom.js";
import { ask, json, modelPath, storedKey } from "./http.js";

const OPEN = ["queued", "adapting"];
const SHOWN = 100; // examples at once

// Shows model `id` in `place`; `changed(model)` is told what it looks like, null once it is deleted. Answers what ends it.
export function showModel(place, id, changed) {
  const gone = new AbortController();
  const { signal } = gone;
  let model = null;
  let round = 0;
  let listing = 0;
  let drawn = {}; // status, version and quality as they were when all was drawn

  const title = h("input", { className: "title", placeholder: "Model without a name", ariaLabel: "Name of the model", maxLength: 200, onchange: rename });
  const facts = h("div");
  const doing = h("span", { role: "status" });
  const loss = h("div");
  const cancel = h("button", { type: "button", onclick: () => busy(cancel, trouble, () => ask("POST", modelPath(id, "/cancel")).then(follow)) }, "Cancel");
  const progress = h("div", { hidden: true }, h("div", { className: "row" }, h("progress"), doing, cancel), loss);
  const trouble = h("div");
  const asked = h("section");
  const quality = h("section");
  const examples = h("section");
  const use = h("section");
  fill(place, title, facts, progress, trouble, asked, quality, examples, use);
  follow();
  return () => gone.abort();

  // Until nothing is adapted or measured any more; begun again, the earlier one ends.
  async function follow() {
    const mine = ++round;
    for (let wait = 300; ; wait = Math.min(2000, 1.3 * wait)) {
      try {
        const { now, latest, losses } = await look();
        if (mine !== round) return;
        model = now;
        changed(model);
        draw(latest, losses);
        if (!OPEN.includes(latest.status) && (model.quality || model.status !== "ready")) return;
      } catch (error) {
        if (mine !== round || error.name === "AbortError") return;
        fill(trouble, problem(error));
        if (![0, 429, 503].includes(error.status)) return;
      }
      await new Promise((done) => setTimeout(done, wait));
      if (mine !== round || signal.aborted) return;
    }
  }

  // The model as it is served, its latest version, and that one's support losses while it is adapted.
  async function look() {
    const now = await json("GET", modelPath(id), { signal });
    const later = now.latest_version > now.version;
    const latest = later ? await json("GET", modelPath(id, `/versions/${now.latest_version}`), { signal }) : now;
    if (!OPEN.includes(latest.status)) return { now, latest, losses: [] };
    const { data } = await json("GET", modelPath(id, "/events"), { headers: { Accept: "application/json" }, signal });
    const losses = data.filter((e) => e.event === "step" && e.version === latest.version).map((e) => e.support_loss);
    return { now, latest, losses };
  }

  function draw(latest, losses) {
    const { status, version } = model;
    const before = drawn;
    drawn = { status, version, measured: Boolean(model.quality) };
    if (document.activeElement !== title) title.value = model.name || "";
    drawFacts();
    const error = latest.error && { message: latest.version > 1 ? `version ${latest.version}: ${latest.error.detail}` : latest.error.detail };
    fill(trouble, error && problem(error));
    drawProgress(latest, losses);
    if (before.status !== status) drawUse();
    if (status !== "ready") return;
    if (before.status !== "ready") asking(asked, () => model, follow, signal);
    drawQuality();
    if (before.status !== "ready" || before.version !== version || before.measured !== drawn.measured) drawExamples();
  }

  function drawFacts() {
    const took = model.timings_ms.adapt;
    fill(
      facts,
      h(
        "p",
        { className: "faint" },
        h("span", { className: `badge ${model.status}` }, model.status),
        ` ${model.meta_model} · ${plural(model.classes.length, "class", "classes")}`,
        model.version > 1 && ` · version ${model.version}`,
        took !== null && ` · adapted in ${took.toFixed(0)} ms`,
        ` · until ${new Date(model.expires_at).toLocaleString()}`,
      ),
      model.selection && h("p", { className: "faint" }, `auto: ${model.selection.reason}`),
    );
  }

  async function rename() {
    try {
      await ask("PATCH", modelPath(id), { json: { name: title.value.trim() || null } });
      follow();
    } catch (error) {
      fill(trouble, problem(error));
    }
  }

  function drawProgress(latest, losses) {
    progress.hidden = !OPEN.includes(latest.status);
    const what = latest.version > 1 ? `version ${latest.version} ` : "";
    const words = progress.hidden ? "" : latest.status === "queued" ? `${what}waiting for a worker` : `${what}adapting`;
    if (doing.textContent !== words) doing.textContent = words; // heard once
    fill(loss, losses.length > 1 && curve(losses));
  }

  function drawQuality() {
    const q = model.quality;
    if (!q) return fill(quality, h("h2", {}, "Quality"), h("p", { className: "faint", role: "status" }, "being measured on held-out examples …"));
    const held = q.method === "leave_one_out" ? "each held out once" : `held out in ${plural(q.folds, "fold")}`;
    fill(
      quality,
      h("h2", {}, "Quality"),
      q.accuracy !== null &&
        h("p", {}, h("b", { className: "large" }, percent(q.accuracy)), ` of ${plural(q.n, "example")} right, ${held}; 95% interval ${percent(q.ci95[0])} to ${percent(q.ci95[1])}`),
      q.warnings.length > 0 && h("ul", { className: "warnings" }, q.warnings.map((w) => h("li", {}, w))),
      q.accuracy !== null &&
        table(
          ["Class", "Examples", "Right", "Mistaken for"],
          q.per_class.map((c) => [c.name, c.examples, c.accuracy === null ? "–" : percent(c.accuracy), c.mistaken_for || ""]),
        ),
    );
  }

  // The first of them; "more" adds the next.
  async function drawExamples() {
    const mine = ++listing;
    const members = new Map();
    const groups = h("div");
    const told = h("div");
    const more = h("button", { type: "button", className: "quiet", hidden: true, onclick: () => busy(more, told, next) }, "More examples");
    const doubts = model.quality?.suspicious || [];
    const doubtOf = (one) => doubts.find((s) => s.example === one.id && s.label === one.label); // a twin has its id too
    let after = "";
    await next().catch((error) => error.name === "AbortError" || fill(told, problem(error)));
    if (mine === listing) fill(examples, h("h2", {}, "Examples, as the meta-model sees them"), groups, more, told);

    async function next() {
      const page = await json("GET", modelPath(id, `/examples?limit=${SHOWN}${after}`), { signal });
      after = `&after=${encodeURIComponent(page.next_cursor)}`;
      more.hidden = !page.has_more;
      for (const example of page.data) {
        if (!members.has(example.label)) {
          members.set(example.label, h("ul", { className: "examples" }));
          groups.append(h("div", {}, h("h3", {}, example.label), members.get(example.label)));
        }
        members.get(example.label).append(seen(example, doubtOf(example), told));
      }
    }
  }

  function seen(example, doubt, told) {
    const words = doubt ? `${example.source}: looks like ${doubt.looks_like}` : example.source;
    const off = h("button", { type: "button", className: "remove", title: `Remove ${words}`, ariaLabel: `Remove ${words}`, onclick: () => busy(off, told, remove) }, "×");
    return h("li", { className: doubt ? "wrong" : "", title: words }, preview(example), off);

    async function remove() {
      await ask("DELETE", modelPath(id, `/examples/${example.id}?label=${encodeURIComponent(example.label)}`));
      title.focus(); // what was pressed goes away
      follow();
    }
  }

  function preview(example) {
    const place = h("span", { className: "text" }, "…");
    const accept = ["text", "vector"].includes(model.modality) ? "text/plain" : "image/png";
    ask("GET", example.preview, { headers: { Accept: accept }, signal }).then(
      async (response) => {
        if (accept === "text/plain") place.textContent = (await response.text()).split("\n")[0];
        else place.replaceWith(picture(URL.createObjectURL(await response.blob()), example.source));
      },
      () => (place.textContent = example.source),
    );
    return place;
  }

  function drawUse() {
    const told = h("div", { role: "status" });
    const base = document.baseURI.replace(/[#?].*/, "").replace(/\/$/, "");
    const given = { text: "-F 'inputs=what to classify'", vector: "-F 'inputs=@vector.npy'" }[model.modality] || "-F 'inputs=@FILE'";
    const key = storedKey() ? " -H 'Authorization: Bearer YOUR_KEY'" : "";
    const curl = h("code", {}, `curl ${base}/v1/models/${id}/predictions${key} ${given}`);
    const copy = h("button", { type: "button", onclick: () => busy(copy, told, copied) }, "Copy");
    const take = h("button", { type: "button", onclick: () => busy(take, told, download) }, "Download as ONNX");
    const drop = h("button", { type: "button", className: "danger", onclick: () => confirm("Delete this model and its examples?") && busy(drop, told, destroy) }, "Delete");
    const ready = model.status === "ready";
    fill(use, ready && [h("h2", {}, "Use it"), h("pre", {}, curl)], h("div", { className: "row" }, ready && [copy, take], drop), told);

    async function copied() {
      getSelection().selectAllChildren(curl); // where the page may not write to the clipboard, a person may
      await navigator.clipboard?.writeText(curl.textContent);
      told.textContent = navigator.clipboard ? "copied" : "marked: copy it by your keyboard";
    }
  }

  async function download() {
    const response = await ask("POST", modelPath(id, "/exports"), { json: { format: "onnx" } });
    const named = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") || "");
    const link = h("a", { href: URL.createObjectURL(await response.blob()), download: named ? named[1] : `${id}.onnx` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async function destroy() {
    await ask("DELETE", modelPath(id)).catch((error) => {
      if (![404, 410].includes(error.status)) throw error; // gone already
    });
    changed(null);
  }
}

// Support loss before each inner step.
function curve(losses) {
  const most = Math.max(...losses) || 1;
  const points = losses.map((loss, i) => `${(100 * i) / (losses.length - 1)},${30 - (28 * loss) / most}`).join(" ");
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  picture.setAttribute("viewBox", "0 0 100 32");
  picture.setAttribute("class", "curve");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `support loss ${losses[0].toFixed(3)} to ${losses.at(-1).toFixed(3)} in ${losses.length} steps`);
  line.setAttribute("points", points);
  picture.append(line);
  return picture;
}
