// The page: a list of models, and beside it a new one or one of them, by what stands after # in the address.

import { busy, h, fill, plural, problem } from "./dom.js";
import { json, onKeyNeeded, storedKey, storeKey } from "./http.js";
import { showModel } from "./model.js";
import { newModel } from "./new.js";

const main = document.getElementById("main");
const list = document.getElementById("models");
const more = document.getElementById("more");
const fresh = document.getElementById("new");
const one = document.getElementById("model");
const keyButton = document.getElementById("key");
const keyDialog = document.getElementById("key-dialog");
const seen = new Map();
let next = null;
let leave = () => {};

function named() {
  return location.hash.startsWith("#mdl_") ? location.hash.slice(1) : "";
}

function item(model) {
  const parts = `${model.meta_model.split("@")[0]} · ${plural(model.classes.length, "class", "classes")}`;
  return h(
    "li",
    {},
    h(
      "a",
      { href: `#${model.id}`, "aria-current": named() === model.id ? "page" : null },
      h("span", {}, model.name || model.classes.map((c) => c.name).slice(0, 4).join(", ")),
      h("small", {}, parts),
    ),
  );
}

function drawList() {
  const models = [...seen.values()].sort((a, b) => b.created_at.localeCompare(a.created_at));
  fill(list, models.map(item));
  more.hidden = next === null;
}

async function older() {
  const page = await json("GET", `v1/models?limit=20${next ? `&after=${encodeURIComponent(next)}` : ""}`);
  for (const model of page.data) seen.set(model.id, model);
  next = page.has_more ? page.next_cursor : null;
  drawList();
}

async function refresh() {
  seen.clear();
  next = null;
  await older().catch((error) => fill(list, h("li", {}, problem(error))));
}

function route() {
  const id = named();
  leave();
  leave = () => {};
  fresh.hidden = Boolean(id);
  one.hidden = !id;
  document.title = id ? "Model · Innerloop" : "Innerloop";
  if (id) {
    leave = showModel(one, id, (model) => {
      if (model) seen.set(id, model);
      else seen.delete(id);
      if (!model) location.hash = "";
      drawList();
    });
  }
  drawList();
}

const loadMetaModels = newModel(fresh, (model) => {
  seen.set(model.id, model);
  if (named()) drawList(); // whoever has gone elsewhere meanwhile stays there
  else location.hash = model.id;
});

// One dialog however many requests wait for a key.
let asking = null;
function askKey(why) {
  asking ??= new Promise((done) => {
    keyDialog.querySelector("p").textContent = `${why} Keys are made by “innerloop keys create”; it is kept until this tab is closed.`;
    keyDialog.addEventListener("close", () => done(keyDialog.returnValue === "save"), { once: true });
    keyDialog.returnValue = "";
    keyDialog.showModal();
  }).then((given) => {
    if (given) storeKey(keyDialog.querySelector("input").value.trim());
    keyDialog.querySelector("input").value = "";
    keyButton.textContent = storedKey() ? "API key: set" : "API key";
    asking = null;
    return given;
  });
  return asking;
}

async function changeKey() {
  if (!(await askKey("Which key should this page use?"))) return;
  await Promise.all([refresh(), loadMetaModels()]);
  route();
}

onKeyNeeded((detail) => askKey(`${detail}.`));
keyButton.addEventListener("click", changeKey);
keyButton.textContent = storedKey() ? "API key: set" : "API key";
more.addEventListener("click", () => busy(more, document.createElement("div"), older));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // what stands after # names a model
  main.focus();
});
addEventListener("hashchange", () => {
  route();
  main.focus(); // whoever hears the page is told that it is another one
});
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
route();
refresh();
