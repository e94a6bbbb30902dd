// The slide with the tile in it, and the layers drawn over it. Knows nothing of tools or of the server.

import OpenSeadragon from "openseadragon";

import { css } from "./colors.js";
import { paintMask } from "./paint.js";

const CONTEXT = 3.2;
const MARGIN = 1.12;

/** OpenSeadragon would insert a style of its own, which the page's content policy forbids; page.css has the rule. */
function keepItFromInsertingStyle() {
  const style = document.createElement("style");
  style.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(style);
}

export class Stage {
  constructor(element, canvas) {
    this.canvas = canvas;
    keepItFromInsertingStyle();
    this.viewer = OpenSeadragon({
      element, showNavigationControl: false, showNavigator: false, animationTime: 0.25, drawer: "canvas",
      maxZoomPixelRatio: 24, minZoomImageRatio: 0.5, visibilityRatio: 0.2,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false },
      gestureSettingsPen: { clickToZoom: false }, keyboardNavEnabled: false,
    });
    this.viewer.innerTracker.keyDownHandler = null;
    this.viewer.innerTracker.keyHandler = null;
    this.layers = { draft: document.createElement("canvas"), drawn: document.createElement("canvas") };
    this.tile = null;
    this.slide = null;
    this.look = { opacity: 0.45, style: "fill", hidden: false, draft: true };
    this.extra = () => {};
    for (const event of ["update-viewport", "open", "resize", "animation"]) {
      this.viewer.addHandler(event, () => this.draw());
    }
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Show a tile; opens its slide where another one is shown. */
  async show(tile, slide) {
    this.tile = tile;
    if (this.slide?.number !== slide.number) {
      this.slide = slide;
      await new Promise((resolve) => {
        const ended = () => {
          this.viewer.removeHandler("open", ended);
          this.viewer.removeHandler("open-failed", ended);
          resolve();
        };
        this.viewer.addHandler("open", ended);
        this.viewer.addHandler("open-failed", ended);
        this.viewer.open(`api/slides/${slide.number}.dzi`);
      });
    }
    this.frame(CONTEXT / 2, true);
  }

  /** Show the tile with surroundings: `times` the side of its box. */
  frame(times, immediately = false) {
    if (!this.tile || !this.viewer.isOpen()) return;
    const { x, y, width, height } = this.tile.box;
    const [w, h] = [width * times, height * times];
    const box = new OpenSeadragon.Rect(x + (width - w) / 2, y + (height - h) / 2, w, h);
    this.viewer.viewport.fitBounds(this.viewer.viewport.imageToViewportRectangle(box), immediately);
  }

  toTile() {
    this.frame(MARGIN);
  }

  toContext() {
    this.frame(CONTEXT);
  }

  zoom(factor, at = null) {
    const { viewport } = this.viewer;
    const point = at ? viewport.pointFromPixel(new OpenSeadragon.Point(...at)) : undefined;
    viewport.zoomBy(factor, point);
    viewport.applyConstraints();
  }

  pan(dx, dy) {
    const { viewport } = this.viewer;
    viewport.panBy(viewport.deltaPointsFromPixels(new OpenSeadragon.Point(-dx, -dy)), true);
  }

  /** Mask pixels of a point of the canvas (CSS pixels). */
  toMask(x, y) {
    const { viewport } = this.viewer;
    const point = viewport.viewportToImageCoordinates(viewport.pointFromPixel(new OpenSeadragon.Point(x, y), true));
    const { window: w, size } = this.tile;
    return [((point.x - w.x) / w.width) * size, ((point.y - w.y) / w.height) * size];
  }

  /** Canvas point (CSS pixels) of a point of the mask. */
  toScreen([x, y]) {
    const { window: w, size } = this.tile;
    return this.#pixel(w.x + (x / size) * w.width, w.y + (y / size) * w.height);
  }

  #pixel(x, y) {
    const { viewport } = this.viewer;
    const p = viewport.pixelFromPoint(viewport.imageToViewportCoordinates(x, y), true);
    return [p.x, p.y];
  }

  /** CSS pixels per mask pixel. */
  get scale() {
    return this.toScreen([1, 0])[0] - this.toScreen([0, 0])[0];
  }

  /** Paint the layers anew: `drawn` and `draft` are masks as Uint8Array, the draft may be null. */
  paint(drawn, draft, colors) {
    const { size } = this.tile;
    const { opacity, style } = this.look;
    paintMask(this.layers.drawn, drawn, size, colors, { style, opacity });
    const shown = draft ?? new Uint8Array(size * size).fill(255);
    const open = shown.map((label, i) => (drawn[i] === 255 ? label : 255));
    const hatch = style === "outline" ? "outline" : "hatch";
    paintMask(this.layers.draft, open, size, colors, { style: hatch, opacity: opacity * 0.9 });
    this.draw();
  }

  draw() {
    const { canvas, viewer } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.tile || !viewer.isOpen()) return;
    const { box, window: w } = this.tile;
    const [left, top] = this.#pixel(box.x, box.y);
    const [right, bottom] = this.#pixel(box.x + box.width, box.y + box.height);
    context.fillStyle = css([20, 24, 28], 0.35);
    context.beginPath();
    context.rect(0, 0, width, height);
    context.rect(left, top, right - left, bottom - top);
    context.fill("evenodd");
    if (!this.look.hidden) {
      const [a, b] = [this.#pixel(w.x, w.y), this.#pixel(w.x + w.width, w.y + w.height)];
      context.imageSmoothingEnabled = false;
      for (const layer of this.look.draft ? ["draft", "drawn"] : ["drawn"]) {
        context.drawImage(this.layers[layer], a[0], a[1], b[0] - a[0], b[1] - a[1]);
      }
    }
    context.lineWidth = 3;
    context.strokeStyle = css([0, 0, 0], 0.75);
    context.strokeRect(left - 1.5, top - 1.5, right - left + 3, bottom - top + 3);
    context.lineWidth = 1;
    context.strokeStyle = css([255, 255, 255], 0.95);
    context.strokeRect(left - 1.5, top - 1.5, right - left + 3, bottom - top + 3);
    this.extra(context);
  }
}
