// How well inputs were answered whose classes are known, from the folders they lay in. A rejected one counts by its best
// guess, as it does in POST /v1/models/{id}/evaluations.

import { h, percent, plural, table } from "./dom.js";

const Z = 1.96;

export function isRight({ label, result }) {
  return !result.error && result.scores[0].label === label;
}

// Of results with the `label` of their input, those whose label is one of `classes`, and the others of which one is known.
export function tally(answers, classes) {
  const read = answers.filter(({ label, result }) => label && !result.error);
  const judged = read.filter(({ label }) => classes.includes(label));
  const others = read.filter(({ label }) => !classes.includes(label));
  const perClass = classes.map((name) => {
    const own = judged.filter(({ label }) => label === name);
    const wrong = own.filter((one) => !isRight(one)).map(({ result }) => result.scores[0].label);
    return { name, n: own.length, right: own.length - wrong.length, mistakenFor: mostFrequent(wrong) };
  });
  const right = judged.filter(isRight).length;
  return {
    n: judged.length,
    right,
    ci95: judged.length ? wilson(right, judged.length) : null,
    others: others.length,
    rejected: others.filter(({ result }) => result.rejected).length,
    perClass: perClass.filter(({ n }) => n),
  };
}

export function drawScore({ n, right, ci95, others, rejected, perClass }) {
  return h(
    "div",
    {},
    n > 0 && h("p", {}, h("b", { className: "large" }, percent(right / n)), ` of ${plural(n, "answer")} right; 95% interval ${percent(ci95[0])} to ${percent(ci95[1])}`),
    others > 0 && h("p", { className: "faint" }, `Of ${others} in folders of no class of this model ${rejected} found unlike every class.`),
    n > 0 &&
      table(
        ["Class", "Asked", "Right", "Mistaken for"],
        perClass.map((c) => [c.name, c.n, percent(c.right / c.n), c.mistakenFor]),
      ),
  );
}

function mostFrequent(names) {
  const count = (name) => names.filter((other) => other === name).length;
  return names.reduce((best, name) => (count(name) > count(best) ? name : best), names[0] || "");
}

// 95% confidence interval of a proportion (Wilson 1927).
function wilson(right, n) {
  const share = right / n;
  const centre = share + Z ** 2 / (2 * n);
  const reach = Z * Math.sqrt((share * (1 - share)) / n + Z ** 2 / (4 * n ** 2));
  return [centre - reach, centre + reach].map((end) => Math.min(1, Math.max(0, end / (1 + Z ** 2 / n))));
}
