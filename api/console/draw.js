// A sheet to draw on, and a microphone: examples that are made on the spot.

import { h } from "./dom.js";
import { wav } from "./inputs.js";

const SIZE = 280;
const PEN = 16;

// A sheet; `onstroke` is told after each stroke. `take()` gives the drawing as a file, null while it is empty.
export function sheet(onstroke = () => {}) {
  const canvas = h("canvas", { width: SIZE, height: SIZE, className: "sheet", tabIndex: 0, role: "img" });
  canvas.setAttribute("aria-label", "Sheet to draw on with mouse, pen or finger");
  const ink = canvas.getContext("2d");
  let empty = true;
  let drawing = false;

  function clear() {
    ink.fillStyle = "#fff";
    ink.fillRect(0, 0, SIZE, SIZE);
    Object.assign(ink, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
    empty = true;
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height];
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    drawing = true;
    empty = false;
    ink.beginPath();
    ink.moveTo(...at(event));
    ink.lineTo(...at(event)); // a click is a dot
    ink.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    ink.lineTo(...at(event));
    ink.stroke();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (drawing) onstroke();
      drawing = false;
    });
  }
  clear();

  async function take() {
    if (empty) return null;
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    return new File([blob], `drawing-${Date.now()}.png`, { type: "image/png" });
  }
  return { canvas, clear, take };
}

// Ask for drawings, one after another; each goes to `add`, and `done` is called at the end.
export function drawMany(title, add, done) {
  const pad = sheet();
  let n = 0;
  const count = h("span", { role: "status", className: "faint" });
  async function keep() {
    const taken = pad.take();
    pad.clear();
    const file = await taken;
    if (!file) return;
    add({ file });
    n += 1;
    count.textContent = `${n} added`;
  }
  const dialog = h(
    "dialog",
    { onclose: () => (dialog.remove(), done()) },
    h("h2", {}, `Draw ${title}`),
    pad.canvas,
    h(
      "div",
      { className: "row" },
      h("button", { type: "button", className: "primary", onclick: keep }, "Add"),
      h("button", { type: "button", onclick: pad.clear }, "Clear"),
      h("button", { type: "button", onclick: () => keep().then(() => dialog.close()) }, "Done"),
      count,
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

// A button that records until it is pressed again; `take` gets the recording as a WAV file.
export function recorder(take, fail) {
  let recording = null;
  const button = h("button", { type: "button", onclick: press }, "Record");

  async function press() {
    if (recording) return recording.stop();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const parts = [];
      recording = new MediaRecorder(stream);
      recording.ondataavailable = (event) => parts.push(event.data);
      recording.onstop = async () => {
        stream.getTracks().forEach((track) => track.stop());
        recording = null;
        button.textContent = "Record";
        try {
          await take({ file: await asWav(new Blob(parts)) });
        } catch (error) {
          fail(error);
        }
      };
      recording.start();
      button.textContent = "Stop";
    } catch {
      recording = null;
      fail(new Error("The microphone cannot be used: allow it for this page, or add sound files."));
    }
  }
  return button;
}

async function asWav(blob) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    return new File([wav(sound.getChannelData(0), sound.sampleRate)], `recording-${Date.now()}.wav`, { type: "audio/wav" });
  } finally {
    await context.close();
  }
}
