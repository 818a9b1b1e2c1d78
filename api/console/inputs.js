// Files and lines to labelled examples.

const KINDS = {
  image: /\.(png|jpe?g|webp|gif|bmp|tiff?|heic|avif)$/i,
  audio: /\.(wav|flac|ogg|mp3|webm|m4a)$/i,
};
export const HEAVY = 2 ** 21; // bytes of a picture that is sent as it is
const SIDE = 2048; // pixels of one that is not
const SMALL_SIDE = 640; // where many share a request
const LEAST_SIDE = 160; // below which none is drawn for want of room
const CLUTTER = /^(\..*|__MACOSX|thumbs\.db|desktop\.ini)$/i;

// Files that were dropped, each with the name of the folder it lies in; none where that holds folders itself.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, label: "" }));
  return (await Promise.all(entries.map((entry) => inside(entry, "")))).flat();
}

async function inside(entry, label) {
  if (CLUTTER.test(entry.name)) return [];
  if (entry.isFile) return [{ file: await new Promise((done, fail) => entry.file(done, fail)), label }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // a hundred at a time
    if (!some.length) break;
    found.push(...some.filter(({ name }) => !CLUTTER.test(name)));
  }
  found.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const own = found.some((one) => one.isDirectory) ? "" : entry.name;
  return (await Promise.all(found.map((one) => inside(one, own)))).flat();
}

// The same from a chosen folder.
export function chosenFolder(files) {
  const order = (a, b) => a.webkitRelativePath.localeCompare(b.webkitRelativePath, "en", { numeric: true });
  const found = [...files]
    .sort(order)
    .map((file) => ({ file, path: file.webkitRelativePath.split("/") }))
    .filter(({ path }) => !path.some((part) => CLUTTER.test(part)));
  const over = ({ path }) => path.slice(0, -2).map((_, i) => path.slice(0, i + 1).join("/"));
  const above = new Set(found.flatMap(over)); // folders of folders
  return found.map(({ file, path }) => ({ file, label: above.has(path.slice(0, -1).join("/")) ? "" : path.at(-2) }));
}

export function isZip(file) {
  return /\.zip$/i.test(file.name);
}

export function kindOf(file) {
  for (const [kind, name] of Object.entries(KINDS)) {
    if (file.type.startsWith(`${kind}/`) || name.test(file.name)) return kind;
  }
  return /\.(npy|npz)$/i.test(file.name) ? "vector" : /\.(txt|md)$/i.test(file.name) ? "text" : "";
}

// One text or vector a line.
export function lines(pasted, kind) {
  const found = pasted.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  return found.map((text, i) => (kind === "vector" ? { text, vector: vector(text, i + 1) } : { text }));
}

// Numbers parted by commas or blanks; by semicolons or tabs, as in spreadsheets, where a comma may stand for the point.
export function vector(text, line = 1) {
  const row = text.replace(/^\[|\]$/g, "").trim();
  const sheet = /[;\t]/.test(row);
  const cells = row.split(sheet ? /[;\t]/ : row.includes(",") ? "," : /\s+/).map((cell) => cell.trim());
  return cells.map((cell) => {
    const number = Number(sheet ? cell.replace(/^([-+]?\d*),(\d+)$/, "$1.$2") : cell);
    if (cell === "" || !Number.isFinite(number)) throw new Error(`line ${line}: ${JSON.stringify(cell)} is not a number`);
    return number;
  });
}

// Put an example into a multipart form under `name`, a picture so that it needs about `room` bytes at most.
export async function append(form, name, example, room = HEAVY) {
  if (example.file) form.append(name, await lighter(example.file, room), example.file.name);
  else if (example.vector) form.append(name, npy(example.vector), "vector.npy");
  else form.append(name, example.text);
}

// A picture of more bytes, such as a phone's, drawn smaller; meta-models see far fewer pixels.
async function lighter(file, room) {
  if (file.size <= Math.min(room, HEAVY) || kindOf(file) !== "image") return file;
  const picture = await createImageBitmap(file).catch(() => null); // what a browser cannot read the server may
  if (!picture) return file;
  const most = Math.min(room, HEAVY);
  let side = room < HEAVY / 2 ? SMALL_SIDE : SIDE;
  let drawn = await drawnSmaller(picture, side, file.type);
  while (drawn.size > most && side / 2 >= LEAST_SIDE) {
    side /= 2; // a PNG takes several times what a JPEG does
    drawn = await drawnSmaller(picture, side, file.type);
  }
  picture.close();
  return drawn.size < file.size ? drawn : file;
}

async function drawnSmaller(picture, side, type) {
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  const canvas = new OffscreenCanvas(Math.max(1, scale * picture.width), Math.max(1, scale * picture.height));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type, quality: 0.9 });
}

// A vector as a .npy file of 64-bit numbers.
function npy(numbers) {
  const header = `{'descr': '<f8', 'fortran_order': False, 'shape': (${numbers.length},), }`;
  const padded = header.padEnd(Math.ceil((10 + header.length + 1) / 64) * 64 - 11) + "\n";
  const start = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, padded.length & 255, padded.length >> 8]);
  return new Blob([start, padded, new Float64Array(numbers)]);
}

// A recording of one channel as a 16-bit WAV file.
export function wav(samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (at, text) => [...text].forEach((c, i) => bytes.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  word(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  word(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((s, i) => bytes.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, s)) * 32767, true));
  return new Blob([bytes], { type: "audio/wav" });
}
