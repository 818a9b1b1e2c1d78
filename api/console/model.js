// One model: how it came to be, how good it is, and what it answers.

import { asking } from "./asking.js";
import { busy, fill, h, percent, plural, problem } from "./dom.js";
import { ask, json, modelPath, storedKey } from "./http.js";

const OPEN = ["queued", "adapting"];
const SHOWN = 100; // examples

// Shows model `id` in `place`; `changed(model)` is told what it looks like, null once it is deleted.
export function showModel(place, id, changed) {
  const gone = new AbortController();
  const { signal } = gone;
  let model = null;
  let round = 0;

  const head = h("div");
  const progress = h("div", { role: "status" });
  const asked = h("section");
  const quality = h("section");
  const examples = h("section");
  const use = h("section");
  fill(place, head, progress, asked, quality, examples, use);
  follow();

  // Until nothing is adapted or measured any more; begun again, the earlier one ends.
  async function follow() {
    const mine = ++round;
    try {
      let wait = 300;
      while (mine === round) {
        const before = model;
        model = await json("GET", modelPath(id), { signal });
        changed(model);
        drawHead();
        await drawProgress();
        if (model.status === "ready") {
          if (before?.status !== "ready") asking(asked, () => model, follow, signal);
          drawQuality();
          if (before?.status !== "ready" || before.version !== model.version) {
            drawUse();
            await drawExamples().catch((error) => error.name === "AbortError" || fill(examples, problem(error)));
          }
        }
        const coming = OPEN.includes(model.status) || (await isComing());
        if (!coming && (model.quality || model.status !== "ready")) return;
        await new Promise((done) => setTimeout(done, wait));
        wait = Math.min(2000, 1.3 * wait);
      }
    } catch (error) {
      if (error.name !== "AbortError") fill(progress, problem(error));
    }
  }

  // Whether a later version is on its way; one that failed is told of.
  async function isComing() {
    if (model.latest_version === model.version) return false;
    const latest = await json("GET", modelPath(id, `/versions/${model.latest_version}`), { signal });
    if (latest.error) fill(progress, problem({ message: `version ${latest.version}: ${latest.error.detail}` }));
    return OPEN.includes(latest.status);
  }

  function drawHead() {
    const name = h("input", {
      className: "title",
      value: model.name || "",
      placeholder: "Model without a name",
      ariaLabel: "Name of the model",
      maxLength: 200,
      onchange: () => patch({ name: name.value.trim() || null }),
    });
    if (head.contains(document.activeElement)) return;
    const took = model.timings_ms.adapt;
    fill(
      head,
      name,
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

  async function patch(change) {
    try {
      model = await json("PATCH", modelPath(id), { json: change });
      changed(model);
    } catch (error) {
      fill(progress, problem(error));
    }
  }

  async function drawProgress() {
    if (model.error) return fill(progress, problem({ message: model.error.detail }));
    if (!OPEN.includes(model.status)) return fill(progress);
    const { data } = await json("GET", modelPath(id, "/events"), { headers: { Accept: "application/json" }, signal });
    const losses = data.filter((e) => e.event === "step").map((e) => e.support_loss);
    const cancel = h("button", { type: "button", onclick: () => busy(cancel, progress, () => ask("POST", modelPath(id, "/cancel"))) }, "Cancel");
    fill(
      progress,
      h("div", { className: "row" }, h("progress"), model.status === "queued" ? "waiting for a worker" : "adapting", cancel),
      losses.length > 1 && curve(losses),
    );
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
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ["Class", "Examples", "Right", "Mistaken for"].map((t) => h("th", { scope: "col" }, t)))),
          h(
            "tbody",
            {},
            q.per_class.map((c) =>
              h("tr", {}, h("th", { scope: "row" }, c.name), h("td", {}, c.examples), h("td", {}, c.accuracy === null ? "–" : percent(c.accuracy)), h("td", {}, c.mistaken_for || "")),
            ),
          ),
        ),
    );
  }

  async function drawExamples() {
    const told = h("div");
    const groups = new Map(model.classes.map((c) => [c.name, []]));
    const { data, has_more: more } = await json("GET", modelPath(id, `/examples?limit=${SHOWN}`), { signal });
    for (const example of data) groups.get(example.label)?.push(example);
    const doubtful = new Map((model.quality?.suspicious || []).map((s) => [s.example, s]));
    fill(
      examples,
      h("h2", {}, "Examples, as the meta-model sees them"),
      [...groups].map(([label, members]) =>
        h(
          "div",
          {},
          h("h3", {}, label),
          h(
            "ul",
            { className: "examples" },
            members.map((example) => {
              const doubt = doubtful.get(example.id);
              const title = doubt ? `${example.source}: looks like ${doubt.looks_like}` : example.source;
              const off = h("button", { type: "button", className: "remove", title: `Remove ${title}`, ariaLabel: `Remove ${title}`, onclick: () => busy(off, told, () => remove(example)) }, "×");
              return h("li", { className: doubt ? "wrong" : "", title }, preview(example), off);
            }),
          ),
        ),
      ),
      more && h("p", { className: "faint" }, `the first ${SHOWN} of ${plural(model.classes.reduce((n, c) => n + c.examples, 0), "example")}`),
      told,
    );
  }

  async function remove(example) {
    await ask("DELETE", modelPath(id, `/examples/${example.id}?label=${encodeURIComponent(example.label)}`));
    follow();
  }

  function preview(example) {
    const place = h("span", { className: "text" }, "…");
    const accept = ["text", "vector"].includes(model.modality) ? "text/plain" : "image/png";
    ask("GET", example.preview, { headers: { Accept: accept }, signal }).then(
      async (response) => {
        if (accept === "text/plain") place.textContent = (await response.text()).split("\n")[0];
        else {
          const src = URL.createObjectURL(await response.blob());
          place.replaceWith(h("img", { src, alt: example.source, onload: () => URL.revokeObjectURL(src) }));
        }
      },
      () => (place.textContent = example.source),
    );
    return place;
  }

  function drawUse() {
    const told = h("div");
    const base = document.baseURI.replace(/[#?].*/, "").replace(/\/$/, "");
    const given = { text: "-F 'inputs=what to classify'", vector: "-F 'inputs=@vector.npy'" }[model.modality] || "-F 'inputs=@FILE'";
    const key = storedKey() ? " -H 'Authorization: Bearer YOUR_KEY'" : "";
    const curl = `curl ${base}/v1/models/${id}/predictions${key} ${given}`;
    const copy = h("button", { type: "button", onclick: () => busy(copy, told, () => navigator.clipboard.writeText(curl)) }, "Copy");
    const take = h("button", { type: "button", onclick: () => busy(take, told, download) }, "Download as ONNX");
    const drop = h("button", { type: "button", className: "danger", onclick: () => confirm("Delete this model and its examples?") && busy(drop, told, destroy) }, "Delete");
    fill(use, h("h2", {}, "Use it"), h("pre", {}, h("code", {}, curl)), h("div", { className: "row" }, copy, take, drop), told);
  }

  async function download() {
    const response = await ask("POST", modelPath(id, "/exports"), { json: { format: "onnx" } });
    const named = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") || "");
    const link = h("a", { href: URL.createObjectURL(await response.blob()), download: named ? named[1] : `${id}.onnx` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async function destroy() {
    await ask("DELETE", modelPath(id));
    changed(null);
  }

  return () => gone.abort();
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
