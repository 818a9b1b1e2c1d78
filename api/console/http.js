// The HTTP API, as any client would ask it: the key goes along, a problem document becomes an error.

const PLACE = "innerloop-key";

export class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || `the server answered ${status}`);
    this.status = status;
    this.errors = document.errors || [];
    this.requestId = document.request_id || "";
  }
}

let askForKey = async () => false;

export function onKeyNeeded(ask) {
  askForKey = ask;
}

export function storedKey() {
  return sessionStorage.getItem(PLACE) || "";
}

export function storeKey(key) {
  if (key) sessionStorage.setItem(PLACE, key);
  else sessionStorage.removeItem(PLACE);
}

// Ask `path`; `json` or `form` is the body. Answers the response, or throws a Problem.
export async function ask(method, path, { json, form, headers = {}, signal } = {}) {
  for (;;) {
    const sent = { ...headers };
    const key = storedKey();
    if (key) sent.Authorization = `Bearer ${key}`;
    if (json !== undefined) sent["Content-Type"] = "application/json";
    let response;
    try {
      const body = json === undefined ? form : JSON.stringify(json);
      response = await fetch(path.replace(/^\//, ""), { method, headers: sent, body, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ detail: "The server does not answer. Is it still running?" }, 0);
    }
    if (response.ok) return response;
    const document = await response.json().catch(() => ({}));
    const problem = new Problem(document, response.status);
    if (response.status === 401 && storedKey() !== key) continue; // another one was given meanwhile
    if (response.status !== 401 || !(await askForKey(problem.message))) throw problem;
  }
}

export async function json(method, path, options) {
  return (await ask(method, path, options)).json();
}

export function modelPath(id, rest = "") {
  return `v1/models/${encodeURIComponent(id)}${rest}`;
}
