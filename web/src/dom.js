// Small helpers to build elements. Text is always set as text.

export const $ = (id) => document.getElementById(id);

/** An element with properties (`style` as an object, `data` as dataset) and children (elements or text). */
export function el(tag, props = {}, ...children) {
  const { style, data, ...rest } = props;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.style, style);
  Object.assign(element.dataset, data);
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function bar(share) {
  return el("div", { className: "bar" }, el("i", { style: { width: `${100 * Math.max(0, Math.min(1, share))}%` } }));
}

export function minutes(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A number with its noun. */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
