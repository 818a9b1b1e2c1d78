// Queries to a model: drawn, written, recorded or dropped; each answer can become an example, and those in a class's
// folder are judged.

import { busy, fill, h, percent, problem, shown } from "./dom.js";
import { recorder, sheet } from "./draw.js";
import { ask, json, modelPath } from "./http.js";
import { append, chosenFolder, dropped, lines } from "./inputs.js";
import { drawScore, isRight, tally } from "./score.js";

const AT_ONCE = 50; // queries in one request
const BYTES = 2 ** 25; // of them
const LISTED = 5; // scores of an answer
const HINT = "or drop them here; files in folders named after classes are scored";

// Fills `place` for `model()`, which may change; `taught()` is called once it has another example.
export function asking(place, model, taught, signal) {
  const { id, modality: kind } = model();
  const told = h("div", { ariaLive: "polite" });
  const figure = h("div", { role: "status" });
  const onlyWrong = h("input", { type: "checkbox", onchange: () => answers.classList.toggle("only-wrong", onlyWrong.checked) });
  const judged = h("div", { hidden: true }, figure, h("label", {}, onlyWrong, " Wrong ones only"));
  const answers = h("ul", { className: "answers" });
  const board = h("div");
  const fail = (error) => error.name === "AbortError" || fill(told, problem(error));
  const put = (inputs) => question(inputs).catch(fail);
  let round = 0;
  const files = h("input", { type: "file", multiple: true, hidden: true, onchange: chosen });
  const folder = h("input", { type: "file", webkitdirectory: true, hidden: true, onchange: chosenFolders });
  const choose = h("button", { type: "button", onclick: () => files.click() }, "Choose files");
  const chooseFolder = h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder");
  fill(
    place,
    h("h2", {}, "Ask"),
    h(
      "div",
      {
        className: "drop",
        ondragover: (event) => event.preventDefault(),
        ondrop: async (event) => {
          event.preventDefault();
          await dropped(event.dataTransfer).then(put, fail);
        },
      },
      board,
      (kind === "text" || kind === "vector") && writing(),
      h("div", { className: "row" }, kind === "audio" && recorder((one) => put([one]), fail), choose, chooseFolder, h("span", { className: "faint" }, HINT), files, folder),
    ),
    told,
    judged,
    answers,
  );
  if (kind === "image") offerBoard();

  function chosen() {
    put([...files.files].map((file) => ({ file })));
    files.value = "";
  }

  function chosenFolders() {
    put(chosenFolder(folder.files));
    folder.value = "";
  }

  function writing() {
    const box = h("textarea", { rows: 3, ariaLabel: "What to classify", placeholder: "one a line" });
    const send = () => {
      try {
        put(lines(box.value, kind));
      } catch (error) {
        fail(error);
      }
    };
    return h("div", { className: "paste" }, box, h("button", { type: "button", className: "primary", onclick: send }, "Ask"));
  }

  // Where the meta-model reads drawings, a sheet that is answered after every stroke.
  async function offerBoard() {
    const card = await json("GET", `v1/meta-models/${model().meta_model.split("@")[0]}`, { signal }).catch(() => null);
    if (card?.input.kind !== "drawing") return;
    const waiting = () => h("p", { className: "faint" }, "Draw: each stroke is answered.");
    const answer = h("div", { className: "live", role: "status" }, waiting());
    let latest = 0;
    const pad = sheet(async () => {
      const mine = ++latest;
      const file = await pad.take();
      try {
        const [result] = await predict([{ file }]);
        if (mine === latest) fill(answer, verdict(result), teaching({ file }, result));
      } catch (error) {
        if (mine === latest && error.name !== "AbortError") fill(answer, problem(error));
      }
    });
    const clear = () => (++latest, pad.clear(), fill(answer, waiting()));
    board.className = "board";
    fill(board, h("div", {}, pad.canvas, h("button", { type: "button", onclick: clear }, "Clear")), answer);
  }

  async function predict(inputs) {
    const form = new FormData();
    for (const one of inputs) await append(form, "inputs", one);
    form.append("top_k", String(LISTED));
    return (await json("POST", modelPath(id, "/predictions"), { form, signal })).results;
  }

  async function question(inputs) {
    if (!inputs.length) throw new Error("There is nothing here to ask.");
    const mine = ++round; // what was asked before is answered no more
    const bar = h("progress", { max: inputs.length, value: 0 });
    fill(told, inputs.length > AT_ONCE && bar);
    fill(answers);
    const classes = model().classes.map((c) => c.name);
    inputs = inputs.map((one) => ({ ...one, label: one.label?.normalize("NFC") })); // as the server names classes
    judged.hidden = !inputs.some(({ label }) => classes.includes(label));
    fill(figure);
    figure.ariaBusy = "true"; // heard once, when all is answered
    const found = [];
    for (const some of batches(inputs)) {
      const results = await predict(some);
      if (mine !== round) return;
      const rows = results.length !== some.length; // of one file
      results.forEach((result, i) => {
        const input = some[rows ? 0 : i];
        const one = { label: input.label, result };
        found.push(one);
        const asked = rows ? h("span", { className: "text" }, `${input.file.name}, row ${i + 1}`) : shown(input);
        const right = isRight(one);
        const meant = !right && classes.includes(input.label) && h("p", { className: "faint" }, `in the folder of ${input.label}`);
        answers.append(h("li", { className: right ? "right" : "" }, asked, h("div", {}, verdict(result), meant, !rows && teaching(input, result))));
      });
      if (!judged.hidden) fill(figure, drawScore(tally(found, classes)));
      bar.value += some.length;
    }
    figure.ariaBusy = "false";
    fill(told);
  }

  // As many as go into one request; a file of vectors, which may hold many, alone.
  function* batches(inputs) {
    let batch = [];
    let bytes = 0;
    for (const one of inputs) {
      const size = one.file?.size || 0;
      const alone = kind === "vector" && one.file;
      if (batch.length && (alone || batch.length === AT_ONCE || bytes + size > BYTES)) {
        yield batch;
        batch = [];
        bytes = 0;
      }
      batch.push(one);
      bytes += alone ? BYTES : size;
    }
    yield batch;
  }

  function verdict(result) {
    if (result.error) return h("p", { className: "problem" }, result.error.detail);
    const said = result.rejected ? h("b", { className: "rejected" }, "unlike every class") : h("b", {}, result.label);
    return h(
      "div",
      {},
      h("p", {}, said, result.rejected ? ` (nearest: ${result.scores[0].label})` : ` ${percent(result.confidence)}`),
      h(
        "ol",
        { className: "scores" },
        result.scores.map((s) =>
          h("li", {}, h("span", {}, s.label), h("meter", { value: s.probability, ariaLabel: s.label }), h("span", { className: "faint" }, percent(s.probability, 1))),
        ),
      ),
    );
  }

  // What was asked becomes an example of the right class, and the model a new version.
  function teaching(input, result) {
    if (result.error) return null;
    const said = h("div");
    const { classes } = model();
    const likely = classes.some((c) => c.name === input.label) ? input.label : result.scores[0].label;
    const right = h("select", { ariaLabel: "Right class" }, classes.map((c) => h("option", { value: c.name, selected: c.name === likely }, c.name)));
    const teach = h("button", { type: "button", className: "quiet", onclick: () => busy(teach, said, add) }, "Add as an example of");
    async function add() {
      const form = new FormData();
      await append(form, `examples[${right.value}]`, input);
      await ask("POST", modelPath(id, "/examples"), { form });
      fill(said, h("p", { className: "faint", role: "status" }, `added to ${right.value}`));
      taught();
    }
    return h("div", { className: "row teach" }, teach, right, said);
  }
}
