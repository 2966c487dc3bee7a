"use strict";
// One key a class: 1 to 9, then the letters that no other key has.

const $ = (id) => document.getElementById(id);
const KEYS = [..."123456789abcdefghijklmnopqrstvwyz"];
let state = null, place = 0, isBusy = false;

async function ask(path, body) {
  const told = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const answer = await fetch(path, told);
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ? found.error.message : `The program answered ${answer.status}.`);
  return found;
}

async function work(what) {
  if (isBusy) return;
  isBusy = true;
  $("told").textContent = "";
  try {
    await what();
  } catch (error) {
    $("told").textContent = error instanceof TypeError ? "The program does not answer; is it still running?" : error.message;
  } finally {
    isBusy = false;
  }
}

function draw() {
  const done = state.labels.filter(Boolean).length;
  $("progress").textContent = `${done} of ${state.labels.length} labelled`;
  $("name").textContent = `${place + 1}: ${state.keys[place]}`;
  $("picture").alt = state.keys[place];
  if ($("picture").dataset.place !== String(place)) {
    $("picture").dataset.place = place;
    $("picture").src = `/picture/${place}`;
    $("guessed").replaceChildren();
  }
  $("guess").hidden = !state.guesses;
  $("classes").replaceChildren(...state.classes.map((name, number) => {
    const item = document.createElement("li"), button = document.createElement("button"), key = document.createElement("kbd");
    key.textContent = KEYS[number] || "";
    button.type = "button";
    button.setAttribute("aria-pressed", String(state.labels[place] === name));
    button.append(key, ` ${name}`);
    button.addEventListener("click", () => take(name));
    item.append(button);
    return item;
  }));
}

function next() {
  const count = state.labels.length;
  for (let step = 1; step <= count; step += 1) {
    const at = (place + step) % count;
    if (!state.labels[at]) { place = at; return; }
  }
  $("told").textContent = "All pictures have a label.";
}

const take = (name) => work(async () => {
  state = await ask("/label", { place, label: name });
  next();
  draw();
});
const clear = () => work(async () => { state = await ask("/label", { place, label: "" }); draw(); });
const undo = () => work(async () => {
  const found = await ask("/undo", {});
  state = found;
  if (found.place === null) $("told").textContent = "There is nothing to undo.";
  else place = found.place;
  draw();
});
const move = (step) => { place = (place + step + state.labels.length) % state.labels.length; draw(); };
const guess = () => work(async () => {
  const found = Object.entries(await ask(`/guess/${place}`)).sort((a, b) => b[1] - a[1]).slice(0, 5);
  const list = document.createElement("table");
  for (const [name, share] of found) {
    const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
    head.textContent = name;
    cell.textContent = `${(100 * share).toFixed(1)} %`;
    cell.className = "number";
    row.append(head, cell);
    list.append(row);
  }
  $("guessed").replaceChildren(list);
});

$("picture").addEventListener("error", () => { $("told").textContent = "This picture cannot be shown; skip it."; });
$("new-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("new").value.trim().replace(/\s+/g, " ");
  $("new").value = "";
  $("new").blur();
  if (name) take(name);
});
$("back").addEventListener("click", () => move(-1));
$("skip").addEventListener("click", () => move(1));
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
$("guess").addEventListener("click", guess);
document.addEventListener("keydown", (event) => {
  if (!state || event.target === $("new") || event.ctrlKey || event.metaKey || event.altKey) return;
  const does = { ArrowLeft: () => move(-1), ArrowRight: () => move(1), u: undo, x: clear, "?": guess }[event.key];
  const number = KEYS.indexOf(event.key);
  if (does) { event.preventDefault(); does(); }
  else if (number >= 0 && number < state.classes.length) { event.preventDefault(); take(state.classes[number]); }
});
work(async () => {
  state = await ask("/state");
  if (state.labels[0]) next();
  draw();
});
