"use strict";
// Charts of rates. Each function draws the payload of a run into an element: draw(element, run, state).
const DATA = JSON.parse(document.getElementById("data").textContent);
const CHARTS = {};
const SCHEME = matchMedia("(prefers-color-scheme: dark)");
const ON_DARK = { "#000": "#f1f3f5", "#000000": "#f1f3f5", "#1a1a1a": "#e8eaed", "#fff": "#15181b", "#e6e8ea": "#353b40", "#c4c8cc": "#4b5258" };
const below = { showlegend: true, legend: { orientation: "h", y: -0.2, font: { size: 11 } } };

const layout = (more) => ({
  font: { family: "system-ui, sans-serif", size: 12, color: "#1a1a1a" },
  margin: { l: 62, r: 14, t: 14, b: 48 }, showlegend: false, hovermode: "closest",
  plot_bgcolor: "#fff", paper_bgcolor: "#fff", hoverlabel: { align: "left", font: { size: 12 } }, ...more,
});
const axis = (title, more) => ({
  title: { text: title, standoff: 8 }, gridcolor: "#e6e8ea", zerolinecolor: "#8a8f94", automargin: true, ...more,
});
const lighter = (hex) => "#" + [1, 3, 5].map((i) => {
  const value = parseInt(hex.slice(i, i + 2), 16);
  return Math.round(value + DATA.lighter * (255 - value)).toString(16).padStart(2, "0");
}).join("");
// Colors in a string, list or object as they are on a dark page; the same value on a light one.
function toned(value) {
  if (!SCHEME.matches || value === null) return value;
  if (typeof value === "string" && /^#[0-9a-f]{3,8}$/i.test(value)) return ON_DARK[value] ?? lighter(value) + value.slice(7);
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(toned);
  if (typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toned(item)]));
  return value;
}
const plot = (element, traces, more) =>
  Plotly.react(element, toned(traces), toned(layout(more)), { displayModeBar: false, responsive: true });
const LOG_TICKS = { tickvals: [-3, -2, -1, 0, 1, 2].flatMap((e) => [1, 2, 5].map((m) => m * 10 ** e)) };
LOG_TICKS.ticktext = LOG_TICKS.tickvals.map((v) => String(Number(v.toPrecision(2))));
const message = (text) => ({ text, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 });
const fixed = (value, digits) => (value === null || value === undefined ? "?" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1"));
const escaped = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const QUALITY_TITLES = { psnr: "PSNR, dB (mean over images)", psnr_of_mean_mse: "PSNR of the mean MSE, dB", ms_ssim: "MS-SSIM, dB (mean over images)" };
const between = (low, high, digits) =>
  low === null ? "" : `<br>95 % interval ${fixed(low, digits)} to ${fixed(high, digits)}`;

function curveTrace(curve, state, more = {}) {
  const color = more.color || curve.color;
  const y = curve[state.distortion];
  const text = curve.bpp.map((bpp, i) =>
    `<b>${escaped(more.title || curve.label)}</b><br>${escaped(curve.name)}: ${escaped(curve.kind)}, quality ${curve.quality[i]}<br>` +
    `${fixed(bpp, 4)} bpp at ${fixed(y[i], 2)} dB${between(curve.bpp_low[i], curve.bpp_high[i], 4)}${curve.bpp_low[i] === null ? "" : " of the mean rate"}` +
    (curve.source ? `<br>${escaped(curve.source)}` : ""));
  return {
    x: curve.bpp, y, text, hoverinfo: "text", mode: "lines+markers", name: curve.name,
    line: { color, dash: curve.dash, width: curve.codec ? 3 : 1.8 },
    marker: { color, symbol: curve.symbol, size: curve.codec ? 9 : 8, line: { width: 1.5, color } },
  };
}

function frame(curves, state) {
  const measured = curves.filter((c) => c.measured);
  const of = (key) => measured.flatMap((c) => c[key]).filter((v) => v !== null);
  const bpp = of("bpp"), quality = of(state.distortion);
  const margin = 0.08 * (Math.max(...quality) - Math.min(...quality)) + 0.3;
  const log = state.rate === "log";
  // intervals of few images may be many times as long as the curves
  const low = Math.max(Math.min(...bpp, ...of("bpp_low")) * 0.8, Math.min(...bpp) / 2, 1e-4);
  const high = Math.min(Math.max(...bpp, ...of("bpp_high")), Math.max(...bpp) * 1.5);
  const x = log ? { type: "log", range: [Math.log10(low), Math.log10(high * 1.1)], ...LOG_TICKS } : { range: [0, high * 1.05] };
  const y = axis(QUALITY_TITLES[state.distortion], { range: [Math.min(...quality) - margin, Math.max(...quality) + margin] });
  return { xaxis: axis("rate, bit/pixel", x), yaxis: y };
}

CHARTS.bounds = (element, run, state) => {
  const shown = run.curves.filter((c) => !state.off.has(c.name));
  if (state.view !== "curves") return savings(element, run, shown, state);
  const axes = frame(run.curves, state), traces = shown.map((c) => curveTrace(c, state));
  const named = shown.filter((c) => c.codec || c.shared || Object.values(run.best).includes(c.name));
  const annotations = named.map((c) => nameAtEnd(c, traces[shown.indexOf(c)], axes, run)).filter(Boolean);
  return plot(element, [...traces, ...gap(shown, traces, run), ...bands(shown, run, state)], { ...axes, annotations });
};

const area = (x, y, name, fillcolor) => ({
  x, y, name, mode: "lines", fill: "toself", fillcolor, hoverinfo: "skip", line: { width: 0, dash: "solid" }, marker: { symbol: "circle" },
});

// Around the best bound and the best code, the rates that the interval of their difference from the codec allows.
function bands(shown, run, state) {
  const saved = run.savings[state.distortion], best = Object.values(run.best);
  return shown.filter((c) => best.includes(c.name) && saved[c.name]).flatMap((curve) => {
    const { at, bpp, saved_low, saved_high } = saved[curve.name];
    const known = at.map((_, i) => i).filter((i) => saved_low[i] !== null), back = [...known].reverse();
    if (!known.length) return [];
    const rates = [...known.map((i) => bpp[i] - saved_high[i]), ...back.map((i) => bpp[i] - saved_low[i])];
    return [area(rates, [...known, ...back].map((i) => at[i]), `${curve.name}, interval`, `${curve.color}33`)];
  });
}

// The area between the codec and its best bound.
function gap(shown, traces, run) {
  const ends = [shown.findIndex((c) => c.codec), shown.findIndex((c) => c.name === run.best.bound)];
  if (Math.min(...ends) < 0) return [];
  const [codec, bound] = ends.map((i) => traces[i]);
  return [area([...codec.x, ...[...bound.x].reverse()], [...codec.y, ...[...bound.y].reverse()], "gap", "#5a5a5a22")];
}

// The name of a curve at its last point in the frame: above those of the codec, below the others.
function nameAtEnd(curve, trace, axes, run) {
  const place = (axis, v) => (axis.type === "log" ? Math.log10(v) : v);
  const inside = (axis, v) => v !== null && place(axis, v) >= Math.min(...axis.range) && place(axis, v) <= Math.max(...axis.range);
  const last = trace.x.findLastIndex((x, i) => inside(axes.xaxis, x) && inside(axes.yaxis, trace.y[i]));
  if (last < 0) return null;
  const step = [run.best.bound, run.best.code].indexOf(curve.name), own = !curve.shared;
  return {
    x: place(axes.xaxis, trace.x[last]), y: place(axes.yaxis, trace.y[last]), text: escaped(curve.codec ? "the codec" : curve.label),
    showarrow: true, arrowhead: 0, arrowwidth: 1, arrowcolor: curve.color, font: { size: 11 },
    ax: own ? -40 : 20, ay: own ? -18 - 15 * (step < 0 ? 2 : step) : 22, xanchor: own ? "right" : "left",
  };
}

function savings(element, run, shown, state) {
  const all = run.savings[state.distortion], percent = state.view === "percent";
  const traces = shown.filter((c) => all[c.name]).map((curve) => {
    const s = all[curve.name], unit = (list) => list.map((v, i) => (percent && v !== null ? (100 * v) / s.bpp[i] : v));
    const y = unit(s.saved), [low, high] = [s.saved_low, s.saved_high].map(unit);
    const error = (ends) => y.map((v, i) => (ends[i] === null ? 0 : Math.abs(ends[i] - v)));
    return {
      x: s.at, y, name: curve.name, mode: "lines+markers", hoverinfo: "text",
      text: s.saved.map((v, i) => `<b>${escaped(curve.label)}</b><br>${escaped(curve.name)}: ${escaped(curve.kind)}<br>saves ${fixed(v, 4)} of ${fixed(s.bpp[i], 4)} bpp (${fixed((100 * v) / s.bpp[i], 1)} %) at ${fixed(s.at[i], 2)} dB${between(low[i], high[i], percent ? 1 : 4)}${percent ? " %" : ""}`),
      line: { color: curve.color, dash: curve.dash, width: 1.8 },
      marker: { color: curve.color, symbol: curve.symbol, size: 8, line: { width: 1.5, color: curve.color } },
      error_y: { type: "data", array: error(high), arrayminus: error(low), thickness: 1, width: 2, color: curve.color },
    };
  });
  return plot(element, traces, {
    xaxis: axis(QUALITY_TITLES[state.distortion], { zeroline: false }),
    yaxis: axis(`saved against the codec, ${percent ? "% of its bits" : "bit/pixel"}`, { zeroline: true, zerolinewidth: 2, zerolinecolor: "#000" }),
  });
}

CHARTS.waterfall = (element, run, state) => {
  const t = run.terms[state.limit][state.quality];
  let at = 0;
  const starts = t.term.map((term, i) => {
    if (term === "total") return 0;
    const start = at;
    at += t.bpp[i];
    return start;
  });
  const differing = t.term.map((_, i) => i).filter((i) => Math.abs(t.shapley[i] - t.bpp[i]) > 1e-9);
  const bars = {
    type: "bar", x: t.term, y: t.bpp, base: starts, hoverinfo: "text", width: 0.7,
    marker: { color: t.color, pattern: { shape: t.bpp.map((v, i) => (v < 0 ? "/" : "")), fgcolor: "#fff" } },
    hovertext: t.term.map((term, i) => `<b>${term}</b><br>${fixed(t.bpp[i], 4)} bpp${between(t.bpp_low[i], t.bpp_high[i], 4)}<br>Shapley ${fixed(t.shapley[i], 4)}`),
  };
  const whiskers = {
    x: t.term, y: t.bpp.map((v, i) => starts[i] + v), mode: "markers", marker: { size: 1, color: "#000" }, hoverinfo: "skip",
    error_y: { type: "data", array: t.bpp.map((v, i) => (t.bpp_high[i] ?? v) - v), arrayminus: t.bpp.map((v, i) => v - (t.bpp_low[i] ?? v)), thickness: 1.2, width: 4, color: "#000" },
  };
  const shapley = {
    x: differing.map((i) => t.term[i]), y: differing.map((i) => starts[i] + t.shapley[i]), mode: "markers", hoverinfo: "skip",
    marker: { symbol: "diamond", size: 8, color: "#fff", line: { color: "#000", width: 1.2 } },
  };
  const label = (v) => (v === null ? "not measured" : Math.abs(v) < 5e-4 ? "0" : v.toFixed(3));
  const labels = t.term.map((term, i) => ({
    x: term, y: starts[i] + Math.max(t.bpp[i], t.bpp_high[i], 0), text: label(t.bpp[i]), showarrow: false, yshift: 10, font: { size: 11 },
  }));
  const ratio = { text: `ratio of latent distortions ${fixed(t.ratio, 3)}`, showarrow: false, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom" };
  return plot(element, [bars, whiskers, shapley], {
    xaxis: axis("", { tickangle: -35 }), annotations: [...labels, ratio],
    yaxis: axis(`to “${escaped(state.limit)}”, bit/pixel`, { zeroline: true }),
  });
};

CHARTS.stacks = (element, run, state) => {
  const terms = run.terms[state.limit], qualities = run.qualities.map(String), codec = run.curves.find((c) => c.codec);
  const bpp = qualities.map((q) => codec.bpp[codec.quality.indexOf(Number(q))]);
  const of = (q, term) => terms[q].bpp[terms[q].term.indexOf(term)];
  const bar = (name, color, value) => ({
    type: "bar", name, x: qualities.map((q) => `q${q}`), y: qualities.map(value), marker: { color }, hoverinfo: "text", width: 0.6,
    hovertext: qualities.map((q, i) => `<b>${escaped(name)}</b>, quality ${q}<br>${fixed(value(q, i), 4)} bpp, ${(100 * value(q, i) / bpp[i]).toFixed(1)} % of ${fixed(bpp[i], 4)}`),
  });
  const isMeasured = (term) => qualities.some((q) => of(q, term) !== null);
  const parts = Object.values(terms)[0].term.filter((term) => term !== "total" && isMeasured(term));
  return plot(element, [
    bar(`“${state.limit}”`, "#c4c8cc", (q, i) => bpp[i] - of(q, "total")),
    ...parts.map((term) => bar(term, DATA.termColors[term], (q) => of(q, term))),
  ], { barmode: "relative", ...below, xaxis: axis(""), yaxis: axis("codec, bit/pixel", { zeroline: true }) });
};

const intervalOf = (low, high) =>
  low === null || high === null ? "" : `<br>95 % interval ${low.toFixed(2)} to ${high.toFixed(2)} %`;

// Bars of a change of the rate, per cent. Positive values save bits.
function savingBars(element, rows, title, nothing) {
  const name = rows.map((r) => r.name), saved = rows.map((r) => -r.value);
  const bars = {
    type: "bar", orientation: "h", y: name, x: saved, width: 0.6, hoverinfo: "text",
    marker: { color: rows.map((r) => r.color), pattern: { shape: rows.map((r) => (r.real ? "" : "/")), fillmode: "replace" }, line: { color: rows.map((r) => r.color), width: 1.2 } },
    hovertext: rows.map((r) => `<b>${escaped(r.name)}</b><br>${escaped(r.text)}<br>${r.value.toFixed(2)} %${intervalOf(r.low, r.high)}`),
    error_x: { type: "data", array: rows.map((r) => -(r.low ?? r.value) + r.value), arrayminus: rows.map((r) => (r.high ?? r.value) - r.value), thickness: 1.2, width: 4, color: "#000" },
  };
  return plot(element, [bars], {
    yaxis: axis("", { autorange: "reversed" }), xaxis: axis(title, { zeroline: true }),
    annotations: rows.length ? [] : [message(nothing)],
  });
}

CHARTS.levers = (element, run) => {
  const rows = run.levers.map((r) => ({
    name: r.curve, text: `${r.change}; ${r.kind}`, value: r.bd_rate, low: r.bd_rate_low, high: r.bd_rate_high, real: r.real, color: r.color,
  }));
  return savingBars(element, rows, `saved at equal ${run.measure}, % (BD-rate)`, `no curve is known to save bits at equal ${run.measure}`);
};

CHARTS.changes = (element, run, state) => {
  const rows = run.changes.filter((r) => r.limit === state.limit && r.term !== "total" && r.latent_matched_change !== null).map((r) => ({
    name: r.term, value: r.latent_matched_change, low: r.latent_matched_change_low, high: r.latent_matched_change_high, real: false, color: DATA.termColors[r.term],
    text: `latent MSE × ${fixed(r.latent_mse_ratio_min, 3)} to ${fixed(r.latent_mse_ratio_max, 3)}`,
  }));
  return savingBars(element, rows, "saved at equal latent distortion, % of the rate", "needs two qualities or more");
};

CHARTS.compare = (element, _, state) => {
  const chosen = [...state.compared].map(Number);
  const pick = (run) => run.curves.filter((c) => c.codec || c.name === state.comparedCurve);
  const traces = chosen.flatMap((index) => pick(DATA.runs[index]).map((curve) =>
    curveTrace(curve, { distortion: "psnr" }, { title: `${DATA.runs[index].title}: ${curve.name}`, color: DATA.colors[index % DATA.colors.length] })));
  const curves = chosen.flatMap((index) => pick(DATA.runs[index]));
  if (!curves.length) return plot(element, [], {});
  return plot(element, traces.map((t, i) => ({ ...t, name: DATA.runs[chosen.find((c) => pick(DATA.runs[c]).includes(curves[i]))].title + (curves[i].codec ? "" : ": " + curves[i].name) })), {
    ...frame(curves, { rate: "linear", distortion: "psnr" }), showlegend: true, legend: { orientation: "h", y: -0.16 },
  });
};
