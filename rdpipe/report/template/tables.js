"use strict";
// Tables are sorted by a click on the name of a column, and saved as CSV or LaTeX.
const NEXT_ORDER = { none: "ascending", ascending: "descending", descending: "none" };
const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "×": "$\\times$", "→": "$\\to$", "“": "``", "”": "''" };
const textOf = (cell) => cell.textContent.trim().replace(/\s+/g, " ");
const numberAt = (text) => Number(/^[+-]?\d+(\.\d+)?(?![\w.])/.exec(text)?.[0] ?? NaN);

// Numbers come before texts, and these before empty cells, in both directions.
function compareTexts(a, b, direction) {
  const [x, y] = [a, b].map(numberAt), rank = (text, number) => (text === "" ? 2 : Number.isNaN(number) ? 1 : 0);
  const ranks = rank(a, x) - rank(b, y);
  return ranks || direction * (Number.isNaN(x) ? a.localeCompare(b, "en", { numeric: true }) : x - y);
}

function sortBy(table, header) {
  const order = NEXT_ORDER[header.getAttribute("aria-sort") ?? "none"], column = header.cellIndex, body = table.tBodies[0];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  if (order !== "none") header.setAttribute("aria-sort", order);
  const isTotal = (row) => row.classList.contains("total");
  const compare = (a, b) => order === "none" ? a.dataset.place - b.dataset.place
    : compareTexts(textOf(a.cells[column]), textOf(b.cells[column]), order === "ascending" ? 1 : -1);
  body.append(...[...body.rows].sort((a, b) => isTotal(a) - isTotal(b) || compare(a, b)));
}

// Intervals are no order, and a single row has none.
function makeSortable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 2) return;
  rows.forEach((row, i) => { row.dataset.place = i; });
  for (const header of table.tHead.rows[0].cells) {
    if (textOf(header) === "95 % interval") continue;
    const button = Object.assign(document.createElement("button"), { type: "button", title: "sort by this column" });
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, header));
  }
}

const csvOf = (rows) =>
  rows.map((row) => row.map((cell) => (/[",\n]/.test(cell ?? "") ? `"${String(cell).replace(/"/g, '""')}"` : cell ?? "")).join(",")).join("\n");

const latexOf = (text) =>
  text.replace(/[\\~^&%$#_{}×→“”]/g, (c) => LATEX[c] ?? `\\${c}`).replace(/(^|[ (])([+-])(?=\d)/g, "$1$$$2$$");

function latexTable(table, rows) {
  const columns = [...table.tHead.rows[0].cells].map((header) => (header.classList.contains("text") ? "l" : "r")).join("");
  const [head, ...lines] = rows.map((row) => `${row.map(latexOf).join(" & ")} \\\\`);
  const rules = ["% needs \\usepackage{booktabs}", `\\begin{tabular}{${columns}}`, "\\toprule", head, "\\midrule"];
  return [...rules, ...lines, "\\bottomrule", "\\end{tabular}"].join("\n");
}

function download(name, text, type) {
  const link = Object.assign(document.createElement("a"), { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  URL.revokeObjectURL(link.href);
}

const fileName = (...words) => words.join(" ").replace(/[^\w.-]+/g, "-");

// Buttons that save a chart or table in some formats, after it.
function addSaveButtons(element, formats, save) {
  const holder = Object.assign(document.createElement("div"), { className: "save" });
  holder.append(...formats.map((format) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: format });
    button.setAttribute("aria-label", `save “${element.getAttribute("aria-label")}” as ${format}`);
    button.addEventListener("click", () => save(format));
    return button;
  }));
  element.after(holder);
}

for (const region of document.querySelectorAll(".wide")) {
  const table = region.querySelector("table:not(.prose)");
  if (!table) continue;
  makeSortable(table);
  addSaveButtons(region, ["CSV", "LaTeX"], (format) => {
    const rows = [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(textOf));
    const name = fileName(region.getAttribute("aria-label"));
    if (format === "CSV") download(`${name}.csv`, csvOf(rows), "text/csv");
    else download(`${name}.tex`, latexTable(table, rows), "text/plain");
  });
}
