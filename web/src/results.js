// The results view: curve, IoU per class, unseen classes to judge by eye.

import { api } from "./api.js";
import { css } from "./colors.js";
import { bar, el, percent, svg } from "./dom.js";
import { decodeRuns } from "./mask.js";
import { paintMask } from "./paint.js";
import { advice } from "./round.js";

const LINES = [["miou_seen", "mIoU of drawn classes", "first", ""], ["coverage", "coverage of the pool", "second", "6 3"]];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [540, 240, 40, 34];

export class ResultsView {
  constructor(root, { project, colors }) {
    Object.assign(this, { root, project, colors });
  }

  async show() {
    const results = await api.results();
    this.root.replaceChildren(el("div", {},
      advice(results.advice), curve(results.rounds), this.#ious(results), this.#change(results), this.#overlays(results)));
  }

  #ious({ ious, note }) {
    const colors = this.colors();
    const rows = ious.flatMap(({ id, iou }) => {
      const c = this.project.classes[id];
      return [
        el("span", { className: "swatch", style: { background: css(colors[id]) } }),
        el("span", {}, c.name), bar(iou ?? 0),
        el("span", { className: "num" }, iou === null ? "–" : iou.toFixed(2)),
      ];
    });
    return el("section", { className: "card" }, el("h2", {}, "IoU of drawn classes"),
      el("p", {}, "On drawn tiles, each by a model that was not fitted to it. These tiles were chosen because they are hard: compare rounds and classes, not slides."),
      note === null ? null : el("p", {}, el("b", {}, `${note[0].toUpperCase()}${note.slice(1)}.`)),
      rows.length > 0 ? el("div", { className: "balance" }, ...rows)
        : el("p", {}, "Nothing to measure on yet: it takes drawings on two slides, or two drawn tiles."));
  }

  #change({ change }) {
    const rows = change.map(({ round, share }) => el("tr", {}, el("td", {}, `Round ${round}`), el("td", {}, percent(share))));
    if (rows.length === 0) return null;
    return el("section", { className: "card wide" }, el("h2", {}, "Pixels whose prediction changed"), el("table", {}, ...rows));
  }

  #overlays({ overlays }) {
    const figures = overlays.map((overlay) => this.#figure(overlay));
    return el("section", { className: "card wide" },
      el("h2", {}, "Classes that nobody draws: judge by eye"),
      figures.length > 0 ? el("p", {}, "Click a picture to hide or show what the model found.") : el("p", {}, "Nothing to show yet."),
      el("div", { className: "thumbs" }, ...figures));
  }

  #figure({ tile, label, share }) {
    const place = cropped(tile);
    const canvas = el("canvas", { style: place });
    const name = this.project.classes[label].name;
    const figure = el("figure", { tabIndex: 0 },
      el("div", { className: "stack", style: { aspectRatio: `${tile.inner.width} / ${tile.inner.height}` } },
        el("img", { src: `api/tiles/${tile.position}/image.jpeg`, alt: name, loading: "lazy", style: place }), canvas),
      el("figcaption", {}, `${name}, ${percent(share)} of the tile`));
    figure.onclick = () => figure.classList.toggle("bare");
    figure.onkeydown = (event) => event.key === "Enter" && figure.onclick();
    api.prediction(tile.position).then(({ mask }) => {
      const data = decodeRuns(mask, tile.size);
      paintMask(canvas, data, tile.size, this.colors(), { style: "fill", opacity: 0.45, only: label });
    }).catch((refused) => figure.append(el("div", {}, refused.message)));
    return figure;
  }
}

/** Where a picture of the whole mask goes so that only the tile itself is seen. */
function cropped({ size, inner }) {
  const share = (part, whole) => `${(100 * part) / whole}%`;
  return {
    width: share(size, inner.width), height: share(size, inner.height),
    left: share(-inner.x, inner.width), top: share(-inner.y, inner.height),
  };
}

/** The curve of the scores over the rounds, as SVG. */
function curve(rounds) {
  const lines = LINES.filter(([key]) => rounds.some((r) => Number.isFinite(r.metrics[key])));
  if (lines.length === 0) {
    return el("section", { className: "card" }, el("h2", {}, "Scores over the rounds"), el("p", {}, "No round was measured yet."));
  }
  const last = Math.max(1, ...rounds.map((r) => r.round));
  const x = (round) => LEFT + (round / last) * (WIDTH - LEFT - 14);
  const y = (value) => HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - 10);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - 14, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2)));
  }
  for (const { round, metrics } of rounds) {
    const tiles = Number.isFinite(metrics.drawn_tiles) ? `${metrics.drawn_tiles} tiles` : "";
    const anchor = { x: x(round), "text-anchor": round === last ? "end" : "middle" };
    picture.append(svg("text", { ...anchor, y: HEIGHT - 18 }, `round ${round}`), svg("text", { ...anchor, y: HEIGHT - 4 }, tiles));
  }
  for (const [key, , line, dash] of lines) {
    const points = rounds.filter((r) => Number.isFinite(r.metrics[key])).map((r) => [x(r.round), y(r.metrics[key])]);
    picture.append(svg("polyline", { points: points.map((p) => p.join(",")).join(" "), class: `curve ${line}`, "stroke-dasharray": dash }),
      ...points.map(([cx, cy]) => svg("circle", { cx, cy, r: 3.5, class: `dot ${line}` })));
  }
  const legend = lines.map(([, name, line]) => el("span", {}, el("i", { className: line }), name));
  return el("section", { className: "card" }, el("h2", {}, "Scores over the rounds"), picture, el("div", { className: "legend" }, ...legend), accepted(rounds));
}

/** How many of the tiles behind the scores are drafts that nobody corrected. */
function accepted(rounds) {
  const said = rounds.filter((r) => r.metrics.accepted_fraction > 0).map((r) => `round ${r.round}: ${percent(r.metrics.accepted_fraction)}`);
  return said.length > 0 ? el("p", {}, `Drawn tiles that are drafts accepted unchanged: ${said.join(", ")}.`) : null;
}
