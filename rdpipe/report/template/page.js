"use strict";
// The selection, and the drawing of the charts that are visible.
const STATE = {
  run: 0, quality: null, image: null, limit: document.getElementById("limit").value, rate: "linear", distortion: "", view: "curves",
  off: new Set(), compared: new Set(DATA.runs.map((_, i) => i)), comparedCurve: null,
};
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const visible = new Set();

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) { visible.delete(entry.target); continue; }
    visible.add(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });

function draw(element) {
  if (!element.dataset.stale || !window.Plotly) return;
  delete element.dataset.stale;
  if (element.id === "picture") return drawPictures();
  const index = element.closest(".run")?.dataset.run ?? STATE.run;
  CHARTS[element.dataset.chart](element, DATA.runs[index], STATE);
}

function refresh(elements = all("[data-chart], #picture")) {
  elements.forEach((element) => { element.dataset.stale = "yes"; });
  visible.forEach(draw);
}

// The selection stands in the URL, so that a link shows what its sender saw.
const LINKED = new URLSearchParams(location.search);
function writeLink() {
  const { rate, distortion, view, limit, quality } = STATE;
  const link = new URLSearchParams({ codec: DATA.runs[STATE.run].title, quality, limit, rate, distortion, view });
  const name = LINKED.get("image") ?? STATE.image;
  if (name !== null) link.set("image", name);
  try {
    history.replaceState(null, "", `?${link}${location.hash}`);
  } catch (error) { // a document without a URL of its own, as in the output of a notebook
    if (error.name !== "SecurityError") throw error;
  }
}

function readLink() {
  for (const select of all("[data-option], #limit")) {
    const key = select.dataset.option ?? "limit", value = LINKED.get(key);
    if ([...select.options].some((option) => option.value === value)) STATE[key] = value;
  }
  document.getElementById("limit").value = STATE.limit;
  STATE.quality = LINKED.get("quality");
  const index = Math.max(0, DATA.runs.findIndex((run) => run.title === LINKED.get("codec")));
  document.getElementById("run").value = index;
  selectRun(index);
}

function showAll() {
  all(".run, main [data-quality], main [data-limit]").forEach((element) => { element.hidden = false; });
  all("details").forEach((element) => { element.open = true; });
  all("[data-chart], #picture").forEach((element) => { element.dataset.stale = "yes"; draw(element); });
}

function show() {
  all(".run").forEach((run) => { run.hidden = Number(run.dataset.run) !== STATE.run; });
  all("main [data-quality], main [data-limit]").forEach((element) => {
    const { quality, limit } = element.dataset;
    element.hidden = (quality !== undefined && quality !== STATE.quality) || (limit !== undefined && limit !== STATE.limit);
  });
  all("[data-select]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.select === STATE.quality)));
  refresh();
  writeLink();
}

function selectRun(index) {
  STATE.run = index;
  STATE.off = new Set(DATA.runs[index].curves.filter((curve) => curve.genie).map((curve) => curve.name));
  const qualities = DATA.runs[index].qualities.map(String), select = document.getElementById("quality");
  select.replaceChildren(...qualities.map((q) => new Option(`q${q}`, q)));
  if (!qualities.includes(STATE.quality)) STATE.quality = qualities[Math.floor((qualities.length - 1) / 2)];
  select.value = STATE.quality;
  all(`.run[data-run="${index}"] [data-legend]`).forEach(legend);
  for (const select of all(`.run[data-run="${index}"] [data-option]`)) {
    const key = select.dataset.option;
    if (![...select.options].some((option) => option.value === STATE[key])) STATE[key] = select.options[0].value;
    select.value = STATE[key];
  }
  show();
}

function selectQuality(value) {
  STATE.quality = document.getElementById("quality").value = value;
  show();
}

function sample(curve) {
  const dashes = { solid: "", dash: "7 4", dashdot: "7 3 2 3", dot: "2 3", longdashdot: "12 3 2 3" };
  const hollow = curve.symbol.endsWith("-open");
  const marks = { circle: '<circle cx="17" cy="8" r="4"/>', square: '<rect x="13" y="4" width="8" height="8"/>', "triangle-up": '<path d="M17 3l5 9h-10z"/>', "diamond-open": '<path d="M17 3l5 5-5 5-5-5z"/>', "x-thin-open": '<path d="M13 4l8 8m0-8l-8 8"/>' };
  return `<svg width="34" height="16" aria-hidden="true"><path d="M0 8h34" stroke="${toned(curve.color)}" stroke-width="${curve.codec ? 3 : 2}" stroke-dasharray="${dashes[curve.dash]}"/>` +
    `<g fill="${hollow ? "var(--paper)" : toned(curve.color)}" stroke="${toned(curve.color)}" stroke-width="1.5">${marks[curve.symbol]}</g></svg>`;
}

function legend(holder) {
  const rate = (curve) => (curve.codec ? 0 : curve.bd_rate ?? Infinity);
  const sorted = [...DATA.runs[STATE.run].curves].sort((a, b) => rate(a) - rate(b) || 0);
  holder.replaceChildren(...sorted.map((curve) => {
    const label = document.createElement("label"), box = document.createElement("input"), text = document.createElement("span");
    box.type = "checkbox";
    box.checked = !STATE.off.has(curve.name);
    label.insertAdjacentHTML("beforeend", sample(curve));
    text.textContent = `${curve.label} `;
    const saved = curve.bd_rate === null ? "" : `, BD-rate ${curve.bd_rate.toFixed(1)} %`;
    text.append(Object.assign(document.createElement("small"), { textContent: `${curve.label === curve.name ? "" : `${curve.name}: `}${curve.kind}${saved}` }));
    label.prepend(box);
    label.append(text);
    box.addEventListener("change", () => {
      STATE.off[box.checked ? "delete" : "add"](curve.name);
      refresh(all('[data-chart="bounds"]'));
    });
    return label;
  }));
}

const on = (id, event, act) => document.getElementById(id).addEventListener(event, (e) => act(e.target.value));
on("run", "change", (value) => selectRun(Number(value)));
on("quality", "change", selectQuality);
on("limit", "change", (value) => { STATE.limit = value; show(); });
on("image", "change", drawPictures);
on("map", "change", drawPictures);
on("order", "change", drawPictures);
on("flicker", "change", alternate);
on("level", "input", () => refresh(all('[data-chart="filling"]')));
on("opacity", "input", (value) => { document.getElementById("map-pane-canvas").style.opacity = value / 100; });
all("[data-select]").forEach((button) => button.addEventListener("click", () => selectQuality(button.dataset.select)));
all("[data-option]").forEach((select) => select.addEventListener("change", () => {
  STATE[select.dataset.option] = select.value;
  writeLink();
  refresh(all('[data-chart="bounds"]'));
}));

const labelOf = (name) => DATA.runs.flatMap((run) => run.curves).find((curve) => curve.name === name).label;
const comparedCurve = document.getElementById("compared-curve");
comparedCurve.replaceChildren(...[...new Set(DATA.runs.flatMap((run) => run.curves.filter((c) => !c.shared && !c.codec).map((c) => c.name)))].map((name) => new Option(labelOf(name), name)));
comparedCurve.value = DATA.compared;
STATE.comparedCurve = comparedCurve.value;
comparedCurve.addEventListener("change", () => { STATE.comparedCurve = comparedCurve.value; refresh(all('[data-chart="compare"]')); });
all("#compared input").forEach((box) => box.addEventListener("change", () => {
  STATE.compared[box.checked ? "add" : "delete"](Number(box.value));
  all("[data-compared]").forEach((row) => { row.hidden = !STATE.compared.has(Number(row.dataset.compared)); });
  refresh(all('[data-chart="compare"]'));
}));

function numbersOf(traces) {
  return [["trace", "x", "y"], ...traces.flatMap((trace) => [...(trace.x ?? [])].map((x, i) => [trace.name, x, trace.y[i]]))];
}

function saveChart(element, format) {
  const name = fileName(DATA.runs[STATE.run].title, element.dataset.chart, `q${STATE.quality}`);
  if (format === "CSV") return download(`${name}.csv`, csvOf(numbersOf(element.data)), "text/csv");
  return Plotly.downloadImage(element, { format: format.toLowerCase(), filename: name, width: element.clientWidth, height: element.clientHeight, scale: 2 });
}

all("[data-chart]").forEach((element) => addSaveButtons(element, ["SVG", "PNG", "CSV"], (format) => saveChart(element, format)));
// The explanation of a term opens below it; the browser closes it on Escape or a click elsewhere.
let clicked = null;
all(".term").forEach((button) => button.addEventListener("click", () => { clicked = button; }));
all(".explained").forEach((shown) => shown.addEventListener("toggle", ({ newState }) => {
  if (newState !== "open") return;
  const { left, bottom } = clicked.getBoundingClientRect();
  const x = Math.max(8, Math.min(left, innerWidth - shown.offsetWidth - 8)), y = Math.min(bottom + 4, innerHeight - shown.offsetHeight - 8);
  shown.style.cssText = `inset: ${y}px auto auto ${x}px`;
}));

all("[data-chart], #picture").forEach((element) => watcher.observe(element));
addEventListener("beforeprint", showAll);
addEventListener("afterprint", show);
SCHEME.addEventListener("change", () => selectRun(STATE.run));
readLink();

// The library of the charts is large. It is unpacked and run after the top of the page has been shown.
async function loadCharts() {
  document.head.append(Object.assign(document.createElement("script"), { textContent: await unpacked("plotly") }));
  visible.forEach(draw);
  picturesOf(STATE.run); // printing does not wait for them
}
requestAnimationFrame(() => setTimeout(loadCharts));
