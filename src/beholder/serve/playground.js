"use strict";
// One page for every model: what it can do decides which forms are shown. No library, no request to anywhere else.

const GRAMS_A_JOULE = 475 / 3.6e6;
const $ = (id) => document.getElementById(id);
const canvas = $("canvas"), pen = canvas.getContext("2d");
let models = [], picture = null, pictureFile = null, mask = null, cursor = null, isPainting = false, num = 0;

// ---------------------------------------------------------------- requests

async function ask(path, body, isForm) {
  const head = isForm ? {} : { "Content-Type": "application/json" };
  if ($("key").value) head.Authorization = `Bearer ${$("key").value}`;
  const told = { method: body ? "POST" : "GET", headers: head };
  if (body) told.body = isForm ? body : JSON.stringify(body);
  const answer = await fetch(path, told);
  if (answer.status === 401) $("key-row").hidden = false;
  if (!answer.ok) {
    const wrong = await answer.json().catch(() => null);
    throw new Error(wrong && wrong.error ? wrong.error.message : `The server answered ${answer.status}.`);
  }
  return answer;
}

async function run(button, work) {
  const own = ++num, begun = performance.now();
  const all = document.querySelectorAll("#forms button");
  all.forEach((one) => { one.disabled = true; });
  $("answer").replaceChildren(tell("p", "Waiting for the model …", "quiet"));
  $("cost").textContent = "";
  try {
    const head = await work();
    if (own !== num) return;
    const joules = head ? Number(head.get("x-beholder-joules")) : NaN;
    const spent = Number.isFinite(joules) && head.has("x-beholder-joules")
      ? `, ${joules.toPrecision(2)} J, ${(joules * GRAMS_A_JOULE * 1000).toPrecision(2)} mg CO₂` : "";
    $("cost").textContent = `${((performance.now() - begun) / 1000).toFixed(2)} s${spent}`;
  } catch (error) {
    if (own === num) $("answer").replaceChildren(tell("p", error.message, "bad"));
  } finally {
    all.forEach((one) => { one.disabled = false; });
    if (button.isConnected) button.focus();
  }
}

// ---------------------------------------------------------------- elements

function tell(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function form(title, verb, fields, work) {
  const box = tell("fieldset"), row = tell("div", undefined, "row"), found = {};
  box.append(tell("legend", title));
  for (const [name, label, kind, value] of fields) {
    const input = document.createElement("input");
    input.type = kind;
    input.value = value;
    input.id = `${title}-${name}`.replaceAll(" ", "-");
    if (kind === "number") { input.min = name === "seed" ? 0 : 1; }
    const said = tell("label", label);
    said.htmlFor = input.id;
    row.append(said, input);
    found[name] = input;
  }
  const button = tell("button", verb);
  button.type = "button";
  const start = () => run(button, () => work(found));
  button.addEventListener("click", start);
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target !== button) { event.preventDefault(); start(); }
  });
  row.append(button);
  box.append(row);
  return box;
}

function table(rows) {
  const made = tell("table");
  for (const [name, value] of rows) {
    const line = tell("tr"), bar = document.createElement("meter");
    bar.min = 0; bar.max = 1; bar.value = value;
    bar.setAttribute("aria-hidden", "true");
    const cell = tell("td");
    cell.append(bar);
    line.append(tell("th", name), cell, tell("td", `${(100 * value).toFixed(1)} %`, "number"));
    made.append(line);
  }
  return made;
}

function notes(told) {
  return (told.notes || []).map((one) => tell("p", one, "quiet"));
}

// ---------------------------------------------------------------- the picture

function needPicture() {
  if (!picture) throw new Error("Show a picture first: drop one, paste one, or choose a file.");
  return picture.src;
}

function show(file) {
  if (!file || !file.type.startsWith("image/")) {
    $("answer").replaceChildren(tell("p", "That is no picture; choose an image file.", "bad"));
    return;
  }
  const reader = new FileReader();
  reader.onload = () => {
    const image = new Image();
    image.onload = () => {
      picture = image;
      pictureFile = file;
      const name = file.name || "pasted";
      mask = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      [mask.width, mask.height] = [canvas.width, canvas.height];
      cursor = [canvas.width / 2, canvas.height / 2];
      canvas.hidden = false;
      canvas.setAttribute("aria-label", name);
      $("drop-help").textContent = `${name}, ${canvas.width} × ${canvas.height} pixels`;
      redraw();
    };
    image.onerror = () => $("answer").replaceChildren(tell("p", "This browser cannot read that picture.", "bad"));
    image.src = reader.result;
  };
  reader.readAsDataURL(file);
}

function redraw(boxes) {
  if (!picture) return;
  pen.drawImage(picture, 0, 0);
  pen.globalAlpha = 0.6;
  pen.drawImage(mask, 0, 0);
  pen.globalAlpha = 1;
  const thick = Math.max(1, canvas.width / 200);
  (boxes || []).forEach((one, number) => {
    const [left, top, width, height] = one.box;
    pen.lineWidth = thick;
    pen.strokeStyle = `hsl(${(number * 67) % 360} 85% 50%)`;
    pen.strokeRect(left, top, width, height);
    pen.font = `${Math.max(9, canvas.width / 28)}px system-ui`;
    pen.fillStyle = pen.strokeStyle;
    pen.fillText(one.name, left + thick, top + Math.max(9, canvas.width / 28));
  });
  if (canBrush() && cursor && document.activeElement === $("drop")) {
    pen.strokeStyle = "#0a66b0";
    pen.lineWidth = thick;
    pen.beginPath();
    pen.arc(cursor[0], cursor[1], brushSize(), 0, 7);
    pen.stroke();
  }
}

function glow(heat) {
  const small = document.createElement("canvas");
  [small.height, small.width] = [heat.length, heat[0].length];
  const brush = small.getContext("2d"), seen = brush.createImageData(small.width, small.height);
  heat.flat().forEach((value, place) => { seen.data.set([225, 40, 30, 190 * value], 4 * place); });
  brush.putImageData(seen, 0, 0);
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
}

const canBrush = () => !$("brush-row").hidden && picture;
const brushSize = () => (Number($("brush").value) / 100) * Math.min(canvas.width, canvas.height);

function paintAt(x, y) {
  const brush = mask.getContext("2d");
  brush.fillStyle = "#e0412f";
  brush.beginPath();
  brush.arc(x, y, brushSize(), 0, 7);
  brush.fill();
  redraw();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
}

function maskFile() {
  const flat = document.createElement("canvas");
  [flat.width, flat.height] = [mask.width, mask.height];
  const brush = flat.getContext("2d");
  brush.drawImage(mask, 0, 0);
  const seen = brush.getImageData(0, 0, flat.width, flat.height);
  for (let at = 0; at < seen.data.length; at += 4) {
    const value = seen.data[at + 3] > 0 ? 255 : 0;
    seen.data.set([value, value, value, 255], at);
  }
  brush.putImageData(seen, 0, 0);
  return new Promise((resolve) => { flat.toBlob(resolve, "image/png"); });
}

// ---------------------------------------------------------------- what a model can do

const FORMS = {
  classify: (model) => form("Classify", "Which class?", model.abilities.includes("embeddings") && model.readsTexts
    ? [["labels", "Classes, between commas", "text", ""]] : [], async (fields) => {
    const body = { model: model.id, images: [needPicture()], heat: model.tellsWhere };
    const names = fields.labels ? fields.labels.value.split(",").map((one) => one.trim()).filter(Boolean) : [];
    if (names.length) body.labels = names;
    const answer = await ask("/v1/classify", body);
    const found = (await answer.json()).data[0];
    const rows = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 12);
    $("answer").replaceChildren(tell("p", found.label, "said"), table(rows));
    if (found.heat) {
      redraw();
      glow(found.heat);
      $("answer").append(tell("p", "Red on the picture: where the evidence for this class lies.", "quiet"));
    }
    return answer.headers;
  }),
  anomaly: (model) => form("Unusual?", "How unusual is it?", [], async () => {
    const answer = await ask("/v1/anomaly", { model: model.id, images: [needPicture()] });
    const found = (await answer.json()).data[0];
    $("answer").replaceChildren(
      tell("p", found.label, "said"),
      tell("p", `Distance ${found.score.toFixed(2)}; more than ${found.threshold.toFixed(2)} is unusual. `
        + `${(100 * found.p_value).toFixed(1)} % of normal pictures are at least as far away.`),
    );
    return answer.headers;
  }),
  detect: (model) => form("Find", "What is where?", [], async () => {
    const answer = await ask("/v1/detect", { model: model.id, images: [needPicture()] });
    const found = (await answer.json()).data[0].objects;
    redraw(found);
    const listed = found.map((one) => [one.name, one.probability === null ? 1 : one.probability]);
    $("answer").replaceChildren(listed.length ? table(listed) : tell("p", "Nothing that it can name."));
    return answer.headers;
  }),
  "chat/completions": (model) => form("Talk", "Ask", [["text", "Question or beginning", "text", ""]], async (fields) => {
    const parts = fields.text.value ? [{ type: "text", text: fields.text.value }] : [];
    if (model.sees) parts.unshift({ type: "image_url", image_url: { url: needPicture() } });
    if (!parts.length) throw new Error("Write something first.");
    const answer = await ask("/v1/chat/completions", {
      model: model.id, messages: [{ role: "user", content: parts }], stream: true,
    });
    const said = tell("p", "", "said");
    $("answer").replaceChildren(said);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n\n");
      rest = lines.pop();
      for (const line of lines) {
        const text = line.replace(/^data: /, "");
        if (text === "[DONE]") continue;
        const piece = JSON.parse(text);
        if (piece.error) throw new Error(piece.error.message);
        said.textContent += piece.choices.length ? piece.choices[0].delta.content || "" : "";
      }
    }
    if (!said.textContent) said.textContent = "(nothing)";
    return null;
  }),
  search: (model) => form("Search", "Similar pictures", [["text", "Words, or nothing for the picture", "text", ""]],
    async (fields) => {
      const body = { model: model.id, count: 12, thumbnails: true };
      if (fields.text.value) body.text = fields.text.value; else body.image = needPicture();
      const answer = await ask("/v1/search", body);
      const list = tell("ul", undefined, "pictures");
      for (const one of (await answer.json()).data) {
        const item = tell("li");
        if (one.thumbnail) {
          const image = document.createElement("img");
          image.src = one.thumbnail;
          image.alt = one.key;
          item.append(image);
        }
        item.append(tell("span", `${one.key} (${one.score.toFixed(2)})`));
        list.append(item);
      }
      $("answer").replaceChildren(list);
      return answer.headers;
    }),
  "images/edits": (model) => form("Replace what is painted over", "Replace", [["label", "By (a class, or nothing)", "text", ""],
    ["seed", "Seed", "number", 0]], async (fields) => {
    needPicture();
    const body = new FormData();
    body.set("model", model.id);
    body.set("image", pictureFile, "image");
    body.set("mask", await maskFile(), "mask.png");
    body.set("seed", fields.seed.value || "0");
    if (fields.label.value) body.set("label", fields.label.value);
    return drawn(await ask("/v1/images/edits", body, true));
  }),
  "images/generations": (model) => form("Draw", "Draw", [["prompt", "What it shows", "text", ""], ["n", "How many", "number", 2],
    ["seed", "Seed", "number", 0]], async (fields) => {
    const body = { model: model.id, n: Number(fields.n.value) || 1, seed: Number(fields.seed.value) || 0 };
    if (fields.prompt.value) body.prompt = fields.prompt.value;
    return drawn(await ask("/v1/images/generations", body));
  }),
};

async function drawn(answer) {
  const told = await answer.json(), list = tell("ul", undefined, "pictures");
  told.data.forEach((one, number) => {
    const item = tell("li"), image = document.createElement("img"), link = tell("a", "Save");
    image.src = `data:image/png;base64,${one.b64_json}`;
    image.alt = `Generated picture ${number + 1}`;
    link.href = image.src;
    link.download = `generated-${number + 1}.png`;
    item.append(image, link);
    list.append(item);
  });
  $("answer").replaceChildren(list, ...notes(told));
  return answer.headers;
}

function choose() {
  const model = models.find((one) => one.id === $("model").value);
  if (!model) return;
  $("about").textContent = model.about;
  $("brush-row").hidden = !model.abilities.includes("images/edits");
  $("drop").classList.toggle("is-brush", !$("brush-row").hidden);
  const made = model.abilities.filter((one) => FORMS[one]).map((one) => FORMS[one](model));
  $("forms").replaceChildren(...(made.length ? made
    : [tell("p", "This model places images; ask it by /v1/embeddings.", "quiet")]));
  redraw();
}

async function begin() {
  try {
    models = (await (await ask("/v1/models")).json()).data;
    $("model").replaceChildren(...models.map((one) => {
      const option = tell("option", one.id);
      option.value = one.id;
      return option;
    }));
    choose();
  } catch (error) {
    $("answer").replaceChildren(tell("p", error.message, "bad"));
  }
}

// ---------------------------------------------------------------- hands

$("model").addEventListener("change", choose);
$("key").addEventListener("change", begin);
$("file").addEventListener("change", (event) => { show(event.target.files[0]); event.target.value = ""; });
$("clear").addEventListener("click", () => {
  if (mask) mask.getContext("2d").clearRect(0, 0, mask.width, mask.height);
  redraw();
});
const drop = $("drop");
drop.addEventListener("click", () => { if (!canBrush()) $("file").click(); });
drop.addEventListener("dblclick", () => { $("file").click(); });
drop.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter") { event.preventDefault(); $("file").click(); }
  else if (canBrush() && step) {
    event.preventDefault();
    const far = Math.max(1, Math.min(canvas.width, canvas.height) / 24);
    cursor = [Math.min(canvas.width, Math.max(0, cursor[0] + step[0] * far)),
      Math.min(canvas.height, Math.max(0, cursor[1] + step[1] * far))];
    redraw();
  } else if (canBrush() && event.key === " ") { event.preventDefault(); paintAt(cursor[0], cursor[1]); }
});
for (const name of ["focus", "blur"]) drop.addEventListener(name, () => redraw());
for (const name of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") show(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files][0];
  if (file) show(file);
});
canvas.addEventListener("pointerdown", (event) => {
  if (!canBrush()) return;
  isPainting = true;
  canvas.setPointerCapture(event.pointerId);
  paintAt(...place(event));
});
canvas.addEventListener("pointermove", (event) => { if (isPainting) paintAt(...place(event)); });
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { isPainting = false; });
begin();
