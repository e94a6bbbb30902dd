// Masks as pictures.

import { IGNORE } from "./mask.js";

const HATCH = 6;

/** Whether the pixel's right or lower neighbour (or upper, left) has another label. */
function onEdge(data, size, index) {
  const label = data[index];
  const column = index % size;
  return (
    (column > 0 && data[index - 1] !== label) || (column < size - 1 && data[index + 1] !== label) ||
    (index >= size && data[index - size] !== label) ||
    (index + size < data.length && data[index + size] !== label)
  );
}

/**
 * Paint a mask into a canvas of its size.
 * style: "fill", "outline", or "hatch" (the model's draft: stripes and an outline).
 */
export function paintMask(canvas, data, size, colors, { style, opacity, only = null, edges = true }) {
  canvas.width = size;
  canvas.height = size;
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const strong = Math.round(255 * Math.min(1, opacity + 0.35));
  const weak = Math.round(255 * opacity);
  for (let index = 0; index < data.length; index++) {
    const label = data[index];
    if (label === IGNORE || (only !== null && label !== only) || !colors[label]) continue;
    const alpha = edges && onEdge(data, size, index) ? strong : inside(style, index, size, weak);
    if (alpha === 0) continue;
    const [r, g, b] = colors[label];
    image.data.set([r, g, b, alpha], index * 4);
  }
  context.putImageData(image, 0, 0);
}

function inside(style, index, size, weak) {
  if (style === "outline") return 0;
  if (style === "fill") return weak;
  const column = index % size;
  const row = (index - column) / size;
  return (column + row) % HATCH < 2 ? weak : Math.round(weak * 0.25);
}
