// Class colours. The default palette is safe for the common kinds of colour blindness: Okabe and Ito (2008), the
// purples last because they vanish on eosin, between them Tol's "muted" set. Classes without a colour get the same from
// `init`, so that QuPath and the page agree.

const SAFE = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [240, 228, 66], [86, 180, 233], [213, 94, 0],
  [51, 34, 136], [68, 170, 153], [153, 153, 51], [136, 34, 85], [204, 121, 167], [170, 68, 153],
];

/** RGB per class; `own` takes the project's colours. Beyond the palette the colours repeat. */
export function colorsOf(classes, own) {
  return classes.map((c, i) => (own ? c.color : SAFE[i % SAFE.length]));
}

export const css = ([r, g, b], alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;
