"use strict";
// Maps over the images: bytes from 0 to 255, drawn with a palette into canvases.
const PICTURES = [];
const SEQUENTIAL = [[0, 32, 76], [64, 77, 107], [124, 123, 120], [186, 175, 108], [255, 233, 69]]; // cividis
const DIVERGING = [[0, 68, 136], [102, 153, 204], [245, 245, 245], [238, 153, 68], [170, 68, 0]];

const picturesOf = (run) => (PICTURES[run] ??= JSON.parse(document.getElementById(`pictures-${run}`).textContent));

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

function overlay(element, maps, image, k, opacity) {
  const canvas = document.createElement("canvas");
  drawMap(canvas, maps, image, k);
  canvas.id = "map-canvas";
  canvas.style.cssText = `width:${100 * image.across}%;height:${100 * image.down}%;opacity:${opacity / 100};image-rendering:pixelated`;
  element.append(canvas);
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.min(image.columns - 1, Math.floor(((event.clientX - box.left) / box.width) * image.columns));
    const row = Math.min(image.rows - 1, Math.floor(((event.clientY - box.top) / box.height) * image.rows));
    const value = bytesOf(image)[(k * image.rows + row) * image.columns + column];
    const [low, high] = maps.ends[k];
    document.getElementById("pointed").textContent =
      `${maps.names[k]}, row ${row}, column ${column}: ${(low + (value / 255) * (high - low)).toFixed(3)} bit/pixel`;
  });
}

function smallMaps(maps, image, k) {
  const holder = document.getElementById("small");
  holder.replaceChildren(...maps.names.map((name, i) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas"), label = document.createElement("span");
    drawMap(canvas, maps, image, i);
    label.textContent = name;
    button.type = "button";
    button.setAttribute("aria-pressed", String(i === k));
    button.append(canvas, label);
    button.addEventListener("click", () => {
      document.getElementById("map").value = String(i);
      drawPictures();
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

// The places of some images in the order that is selected; points have bit/pixel and PSNR.
function orderOf(names, points) {
  const by = document.getElementById("order").value, places = names.map((_, i) => i), value = (i, k) => points[names[i]]?.[k] ?? 0;
  if (by === "bpp") places.sort((i, j) => value(j, 0) - value(i, 0));
  if (by === "psnr") places.sort((i, j) => value(i, 1) - value(j, 1));
  return places;
}

// Shows the decoded image in the place of the original, and the original again.
function alternate() {
  const [shown, decoded] = ["original", "decoded"].map((id) => document.querySelector(`#${id} img`));
  if (!shown || !decoded) return;
  shown.dataset.source ??= shown.src;
  const on = document.getElementById("flicker").checked && shown.src !== decoded.src;
  shown.src = on ? decoded.src : shown.dataset.source;
}
setInterval(() => { if (document.getElementById("flicker").checked) alternate(); }, 700);

function drawPictures() {
  const pictures = picturesOf(STATE.run), maps = pictures.maps[STATE.quality];
  const choose = ["image", "map"].map((id) => document.getElementById(id));
  const names = maps.images.map((entry) => entry.name), points = DATA.runs[STATE.run].images[STATE.quality];
  options(choose[0], names, orderOf(names, points));
  options(choose[1], maps.names);
  const linked = maps.images.findIndex((entry) => entry.name === LINKED.get("image"));
  if (linked >= 0) choose[0].value = String(linked);
  LINKED.delete("image");
  writeLink();
  const [i, k] = choose.map((select) => Number(select.value)), image = maps.images[i];
  picture(document.getElementById("original"), pictures.originals[i], `${image.name}, original`);
  picture(document.getElementById("decoded"), pictures.decoded[STATE.quality][i], `${image.name}, decoded at quality ${STATE.quality}`);
  const [bpp, psnr] = points[image.name] ?? [null, null];
  document.getElementById("decoded-caption").textContent = `decoded at q${STATE.quality}: ${fixed(bpp, 3)} bpp at ${fixed(psnr, 2)} dB`;
  const pane = document.getElementById("overlay");
  picture(pane, pictures.originals[i], `${image.name}, under the map`);
  overlay(pane, maps, image, k, document.getElementById("opacity").value);
  document.getElementById("pointed").textContent = `${maps.names[k]} over the original; hover over it for values`;
  document.getElementById("unplaced").textContent = image.remark;
  drawScale(maps, k);
  smallMaps(maps, image, k);
}
