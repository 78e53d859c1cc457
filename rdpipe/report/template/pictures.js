"use strict";
// Maps over the images: bytes from 0 to 255, drawn with a palette into canvases.
const PICTURES = [];
const SEQUENTIAL = [[0, 32, 76], [64, 77, 107], [124, 123, 120], [186, 175, 108], [255, 233, 69]]; // cividis
const DIVERGING = [[0, 68, 136], [102, 153, 204], [245, 245, 245], [238, 153, 68], [170, 68, 0]];

// Text of an element that the page packs: base64 of gzip.
async function unpacked(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const picturesOf = (run) => (PICTURES[run] ??= unpacked(`pictures-${run}`).then(JSON.parse));

function colorOf(palette, value) {
  const place = (value / 255) * (palette.length - 1), k = Math.min(Math.floor(place), palette.length - 2);
  return palette[k].map((low, i) => low + (place - k) * (palette[k + 1][i] - low));
}

const paletteOf = (maps, k) => (maps.ends[k][0] < 0 ? DIVERGING : SEQUENTIAL);

function bytesOf(image) {
  image.bytes ??= Uint8Array.from(atob(image.values), (c) => c.charCodeAt(0));
  return image.bytes;
}

function drawMap(canvas, maps, image, k) {
  const size = image.rows * image.columns, bytes = bytesOf(image).subarray(k * size, (k + 1) * size);
  [canvas.width, canvas.height] = [image.columns, image.rows];
  const context = canvas.getContext("2d"), pixels = context.createImageData(image.columns, image.rows);
  const table = Array.from({ length: 256 }, (_, v) => colorOf(paletteOf(maps, k), v));
  bytes.forEach((value, i) => pixels.data.set([...table[value], 255], 4 * i));
  context.putImageData(pixels, 0, 0);
}

function drawScale(maps, k) {
  const canvas = document.getElementById("colors"), context = canvas.getContext("2d");
  for (let v = 0; v < 256; v++) {
    context.fillStyle = `rgb(${colorOf(paletteOf(maps, k), v).map(Math.round)})`;
    context.fillRect(v, 0, 1, 1);
  }
  const [low, high] = maps.ends[k];
  document.getElementById("low").textContent = low ? low.toFixed(3) : "0";
  document.getElementById("high").textContent = `${high.toFixed(3)} bit/pixel`;
}

function picture(element, source, name) {
  element.replaceChildren();
  if (!source) return;
  const image = new Image();
  [image.src, image.alt] = [source, name];
  element.append(image);
}

const isError = (maps, k) => k === maps.names.length - 1;

// Draws a map into a pane; the value under the pointer is written into an element.
function overlay(id, maps, image, k, opacity, output) {
  const canvas = document.createElement("canvas");
  drawMap(canvas, maps, image, k);
  canvas.id = `${id}-canvas`;
  canvas.style.cssText = `width:${100 * image.across}%;height:${100 * image.down}%;opacity:${opacity / 100};image-rendering:pixelated`;
  document.getElementById(id).append(canvas);
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.min(image.columns - 1, Math.floor(((event.clientX - box.left) / box.width) * image.columns));
    const row = Math.min(image.rows - 1, Math.floor(((event.clientY - box.top) / box.height) * image.rows));
    const value = bytesOf(image)[(k * image.rows + row) * image.columns + column];
    const [low, high] = maps.ends[k], shown = low + (value / 255) * (high - low);
    output.textContent = `${maps.names[k]}, row ${row}, column ${column}: ` +
      (isError(maps, k) ? `${shown.toFixed(1)} levels` : `${shown.toFixed(3)} bit/pixel`);
  });
}

function smallMaps(maps, image, k) {
  const holder = document.getElementById("small");
  holder.replaceChildren(...maps.names.slice(0, -1).map((name, i) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas"), label = document.createElement("span");
    drawMap(canvas, maps, image, i);
    label.textContent = name;
    button.type = "button";
    button.setAttribute("aria-pressed", String(i === k));
    button.append(canvas, label);
    button.addEventListener("click", async () => {
      document.getElementById("map").value = String(i);
      await drawPictures();
      holder.children[i].focus();
    });
    return button;
  }));
}

function options(select, names, order = names.map((_, i) => i)) {
  const before = select.value;
  select.replaceChildren(...order.map((i) => new Option(names[i], String(i))));
  select.value = before !== "" && Number(before) < names.length ? before : "0";
}

const ORDERS = { bpp: ([bpp]) => -bpp, psnr: ([, psnr]) => psnr, avoidable: ([, , avoidable]) => -avoidable };

// The places of some images in the order that is selected; points have bit/pixel, PSNR and avoidable per cent.
function orderOf(names, points) {
  const value = ORDERS[document.getElementById("order").value], places = names.map((_, i) => i);
  return value ? places.sort((i, j) => value(points[names[i]]) - value(points[names[j]])) : places;
}

const pointText = ([bpp, psnr, avoidable]) =>
  `${fixed(bpp, 3)} bpp at ${fixed(psnr, 2)} dB${avoidable === null ? "" : `; the bound ${fixed(-avoidable, 1)} %`}`;

// Shows the decoded image in the place of the original, and the original again.
function alternate() {
  const [shown, decoded] = ["original", "decoded"].map((id) => document.querySelector(`#${id} img`));
  if (!shown || !decoded) return;
  shown.dataset.source ??= shown.src;
  const on = document.getElementById("flicker").checked && shown.src !== decoded.src;
  shown.src = on ? decoded.src : shown.dataset.source;
}
setInterval(() => { if (document.getElementById("flicker").checked) alternate(); }, 700);

async function drawPictures() {
  const pictures = await picturesOf(STATE.run), maps = pictures.maps[STATE.quality], at = (id) => document.getElementById(id);
  const names = maps.images.map((entry) => entry.name), points = DATA.runs[STATE.run].images[STATE.quality];
  options(at("image"), names.map((name) => `${name}: ${pointText(points[name])}`), orderOf(names, points));
  options(at("map"), maps.names.slice(0, -1));
  const linked = names.indexOf(LINKED.get("image"));
  if (linked >= 0) at("image").value = String(linked);
  LINKED.delete("image");
  STATE.image = names[at("image").value];
  writeLink();
  const image = maps.images[at("image").value], i = maps.images.indexOf(image), k = Number(at("map").value), last = maps.names.length - 1;
  picture(at("original"), pictures.originals[i], `${image.name}, original`);
  picture(at("decoded"), pictures.decoded[STATE.quality][i], `${image.name}, decoded at quality ${STATE.quality}`);
  at("decoded-caption").textContent = `decoded at q${STATE.quality}: ${pointText(points[image.name])}`;
  for (const id of ["map-pane", "error-pane"]) picture(at(id), pictures.originals[i], `${image.name}, under the map`);
  overlay("map-pane", maps, image, k, at("opacity").value, at("pointed"));
  overlay("error-pane", maps, image, last, 100, at("pointed-error"));
  at("pointed").textContent = `${maps.names[k]} over the original; hover over it for values`;
  at("pointed-error").textContent = `error of the decoded image, from 0 (blue) to ${maps.ends[last][1].toFixed(1)} levels (yellow); hover for values`;
  at("unplaced").textContent = image.remark;
  drawScale(maps, k);
  smallMaps(maps, image, k);
}
