"use strict";
// Charts of the latents.
const DASHES = ["solid", "dash", "dashdot", "longdash", "dot"];

const sortedChannels = (c) => c.channel.map((_, i) => i).sort((a, b) => c.second_moment[b] - c.second_moment[a]);

CHARTS.water = (element, run, state) => {
  const c = run.channels[state.quality];
  if (!c) return plot(element, [], { annotations: [message("nothing is coded")] });
  const order = sortedChannels(c), rank = order.map((_, i) => i), take = (key) => order.map((i) => c[key][i]);
  const text = order.map((i) => `<b>channel ${c.channel[i]}</b><br>second moment ${c.second_moment[i].toPrecision(3)}<br>predicted ${c.predicted[i].toPrecision(3)}<br>water level ${c.theta[i] === null ? "none" : c.theta[i].toPrecision(3)}`);
  const traces = [
    { x: rank, y: take("second_moment"), name: "second moment", mode: "lines", line: { shape: "hvh", color: "#000", width: 1.8 }, text, hoverinfo: "text" },
    { x: rank, y: take("predicted"), name: "predicted", mode: "markers", marker: { symbol: "circle-open", size: 5, color: DATA.termColors.variance }, text, hoverinfo: "text" },
  ];
  if (c.theta.some((theta) => theta !== null)) traces.push({ x: rank, y: take("theta"), name: "water level", mode: "lines", line: { shape: "hvh", color: DATA.termColors.quantization, dash: "dash", width: 2 }, hoverinfo: "name" });
  return plot(element, traces, { ...below, xaxis: axis("channel, by second moment"), yaxis: axis("squared latent units", { type: "log", tickformat: "~g", dtick: 1 }) });
};

CHARTS.channels = (element, run, state) => {
  const c = run.channels[state.quality];
  if (!c) return plot(element, [], { annotations: [message("nothing is coded")] });
  const order = sortedChannels(c), rank = order.map((_, i) => i);
  const names = Object.keys(c).filter((key) => key === "bits" || key.includes(" gap, to "));
  const traces = names.map((name, k) => ({
    x: rank, y: order.map((i) => c[name][i]), name: name === "bits" ? "bits spent" : name, mode: "lines", hoverinfo: "text",
    line: { color: name === "bits" ? "#000" : DATA.termColors[name.split(" gap")[0]], dash: DASHES[k % DASHES.length], width: name === "bits" ? 2 : 1.6 },
    text: order.map((i) => `<b>channel ${c.channel[i]}</b><br>${escaped(name)}: ${fixed(c[name][i], 4)} bit/coded latent`),
  }));
  return plot(element, traces, { ...below, xaxis: axis("channel, by second moment"), yaxis: axis("bit/coded latent") });
};

CHARTS.calibration = (element, run, state) => {
  const c = run.calibration[state.quality] || { predicted: [], actual: [], actual_low: [], actual_high: [], count: [] };
  if (!c.count.length) return plot(element, [], { annotations: [message("no bin of scale has enough elements")] });
  const ends = [Math.min(...c.predicted, ...c.actual), Math.max(...c.predicted, ...c.actual)];
  const error = (list, sign) => c.actual.map((v, i) => sign * ((list[i] ?? v) - v));
  const largest = Math.log10(Math.max(...c.count));
  const traces = [
    { x: ends, y: ends, mode: "lines", name: "as predicted", line: { color: "#767676", width: 1.5 }, hoverinfo: "skip" },
    {
      x: c.predicted, y: c.actual, mode: "lines+markers", name: "the codec", line: { color: DATA.termColors.variance, width: 1.2 }, hoverinfo: "text",
      marker: { color: DATA.termColors.variance, size: c.count.map((n) => 4 + 8 * Math.log10(n) / largest) },
      error_y: { type: "data", array: error(c.actual_high, 1), arrayminus: error(c.actual_low, -1), thickness: 1, width: 2 },
      text: c.predicted.map((p, i) => `predicted ${p.toPrecision(3)}, actual ${c.actual[i].toPrecision(3)}${between(c.actual_low[i], c.actual_high[i], 3)}<br>${c.count[i].toLocaleString("en")} elements`),
    },
  ];
  const log = (title) => axis(title, { type: "log", ...LOG_TICKS });
  return plot(element, traces, { ...below, xaxis: log("predicted scale, latent units"), yaxis: log("actual scale, latent units") });
};

CHARTS.residuals = (element, run, state) => {
  const classes = Object.entries(run.residuals[state.quality] || {});
  if (!classes.length) return plot(element, [], { annotations: [message("nothing is coded")] });
  const traces = classes.map(([name, r], k) => ({
    x: r.normalized, y: r.density.map((d) => d || null), name, mode: "lines", connectgaps: false,
    line: { color: DATA.colors[k % DATA.colors.length], dash: DASHES[k % 4], width: 1.6 },
    hovertemplate: `${escaped(name)}<br>%{x:.2f} sigma: %{y:.3g}<extra></extra>`,
  }));
  const first = classes[0][1];
  traces.push({ x: first.normalized, y: first.gaussian, name: "Gaussian", mode: "lines", line: { color: "#000", dash: "dot", width: 2.5 }, hoverinfo: "skip" });
  return plot(element, traces, { ...below, xaxis: axis("residual / predicted scale", { zeroline: false }), yaxis: axis("density", { type: "log", range: [-5, 0.8], tickformat: "~g", dtick: 1 }) });
};

// Rate in bit/latent and distortion of independent Gaussians that are filled up to a level.
function fillTo(level, variances) {
  const mean = (of) => variances.reduce((sum, v) => sum + of(v), 0) / variances.length;
  return { bits: mean((v) => Math.max(0, 0.5 * Math.log2(v / level))), distortion: mean((v) => Math.min(v, level)) };
}

const geometricMean = (values) => Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);

CHARTS.filling = (element, run, state) => {
  const c = run.channels[state.quality], slider = document.getElementById("level"), output = document.getElementById("filled");
  const variances = (c?.second_moment ?? []).filter((v) => v > 0).sort((a, b) => b - a);
  if (!variances.length) return plot(element, [], { annotations: [message("nothing is coded")] });
  const low = variances.at(-1) / 2, ratio = variances[0] / low, levelAt = (percent) => low * ratio ** (percent / 100);
  const selection = `${state.run} ${state.quality}`, own = c.theta.filter((theta) => theta > 0);
  if (slider.dataset.selection !== selection) {
    slider.dataset.selection = selection;
    slider.value = own.length ? Math.round((100 * Math.log(geometricMean(own) / low)) / Math.log(ratio)) : 50;
  }
  const level = levelAt(Number(slider.value)), point = fillTo(level, variances), rank = variances.map((_, i) => i);
  const curve = Array.from({ length: 101 }, (_, percent) => fillTo(levelAt(percent), variances));
  output.textContent = `${level.toPrecision(3)}: ${point.bits.toFixed(3)} bit/latent, distortion ${point.distortion.toPrecision(3)}; ` +
    `${variances.filter((v) => v > level).length} of ${variances.length} channels are coded`;
  const blue = DATA.termColors.quantization, steps = { shape: "hvh", width: 1.8 };
  return plot(element, [
    { x: rank, y: variances, mode: "lines", line: { ...steps, color: "#000" }, hoverinfo: "skip" },
    { x: rank, y: variances.map((v) => Math.min(v, level)), mode: "lines", line: { ...steps, color: blue }, fill: "tozeroy", fillcolor: `${blue}44`, hoverinfo: "skip" },
    { x: curve.map((p) => p.bits), y: curve.map((p) => p.distortion), mode: "lines", line: { color: "#000" }, hoverinfo: "skip", xaxis: "x2", yaxis: "y2" },
    { x: [point.bits], y: [point.distortion], mode: "markers", marker: { color: blue, size: 12 }, hoverinfo: "skip", xaxis: "x2", yaxis: "y2" },
  ], {
    xaxis: axis("channel, by second moment", { domain: [0, 0.52] }), yaxis: axis("squared latent units", { type: "log", tickformat: "~g", dtick: 1 }),
    xaxis2: axis("bit/latent", { domain: [0.66, 1], anchor: "y2" }), yaxis2: axis("distortion", { type: "log", tickformat: "~g", dtick: 1, anchor: "x2" }),
  });
};
