// A new model: a support set, the meta-model that learns from it, and a name.

import { busy, fill, h, plural, problem } from "./dom.js";
import { ask, json } from "./http.js";
import { supportSet } from "./support.js";

// Fills `place`; `made(model)` is told of the model that was accepted. Answers what loads the meta-models, which wants a
// key where there are keys.
export function newModel(place, made) {
  let kind = "";
  let metaModels = [];

  const examples = h("div");
  const outcome = h("div", { ariaLive: "polite" });
  const name = h("input", { name: "name", maxLength: 200, placeholder: "optional" });
  const choice = h("select", { name: "meta-model", onchange: describe });
  const about = h("p", { className: "faint" });
  const adapt = h("button", { type: "button", className: "primary", onclick: () => busy(adapt, outcome, post) }, "Adapt");
  const set = supportSet(examples, place, (value) => {
    kind = value;
    offer();
  });

  fill(
    place,
    h("h1", {}, "New model"),
    examples,
    h("div", { className: "row settings" }, h("label", {}, "Meta-model ", choice), h("label", {}, "Name ", name), adapt),
    about,
    outcome,
  );
  load();
  return load;

  async function load() {
    try {
      metaModels = (await json("GET", "v1/meta-models")).data;
      offer();
      fill(outcome);
    } catch (error) {
      fill(outcome, problem(error));
    }
  }

  function offer() {
    const of = metaModels.filter((m) => m.modality === kind);
    const best = of.length ? "the best for these" : "…";
    fill(
      choice,
      h("option", { value: "" }, best),
      of.length > 1 && h("option", { value: "auto" }, "auto: chosen by cross-validation"),
      ...of.map((m) => h("option", { value: m.name }, m.aliases.length ? `${m.name} (${m.aliases.join(", ")})` : m.name)),
    );
    describe();
  }

  function describe() {
    const m = metaModels.find((one) => one.name === choice.value);
    const figure = m?.benchmarks.find((f) => f.n_way === 5 && f.n_shot === 5) || m?.benchmarks[0];
    const measured = figure && ` Measured: ${figure.accuracy} ± ${figure.ci95}% at ${figure.n_way} classes of ${plural(figure.n_shot, "example")}.`;
    about.textContent = m ? m.description + (measured || "") : "";
  }

  async function post() {
    examples.inert = true; // what is changed now would not be in it
    try {
      const form = await set.form();
      if (choice.value) form.append("meta_model", choice.value);
      if (name.value.trim()) form.append("name", name.value.trim());
      const response = await ask("POST", "v1/models", { form, headers: { Prefer: "respond-async" } });
      set.mark([]);
      name.value = "";
      made(await response.json());
    } catch (error) {
      set.mark(error.errors || []);
      throw error;
    } finally {
      examples.inert = false;
    }
  }
}
