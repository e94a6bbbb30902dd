// The page: palette, buttons, keys and views around the desk.

import { api } from "./api.js";
import { colorsOf, css } from "./colors.js";
import { Desk } from "./desk.js";
import { $, bar, count, el, percent } from "./dom.js";
import { Editor } from "./editor.js";
import { RoundView } from "./round.js";
import { ResultsView } from "./results.js";
import { Stage } from "./stage.js";

const stage = new Stage($("slide"), $("overlay"));
const editor = new Editor(stage, { changed, say, usedDraft: () => desk.usedDraft() });
let project, desk, views, ownColors = false;

const colors = () => colorsOf(project.classes, ownColors);
const seen = () => project.classes.filter((c) => c.seen);

function say(text) {
  notice(`${text}.`);
}

function notice(text, actionName = null, action = null) {
  $("notice").hidden = !text;
  $("notice-text").textContent = text ? text[0].toUpperCase() + text.slice(1) : "";
  $("notice-action").hidden = !actionName;
  $("notice-action").textContent = actionName ?? "";
  $("notice-action").onclick = () => {
    notice(null);
    attempt(action);
  };
}

/** Run something that may be refused; say why. */
async function attempt(work) {
  try {
    return await work();
  } catch (refused) {
    if (refused.status === undefined) throw refused;
    notice(refused.message);
    return undefined;
  }
}

function changed() {
  refresh();
  desk.touched();
}

/** What depends on the mask: shares per class, undo and redo. */
function refresh() {
  const { mask } = editor;
  const counts = mask ? mask.counts() : new Map();
  const area = mask ? mask.inner.width * mask.inner.height : 1;
  for (const c of seen()) {
    const share = (counts.get(c.id) ?? 0) / area;
    $(`class-${c.id}`).querySelector(".share").textContent = share > 0 ? percent(share) : "";
  }
  $("undo").disabled = !editor.history.canUndo;
  $("redo").disabled = !editor.history.canRedo;
  $("take-back").disabled = desk?.previous === null;
  const drawn = mask && [...counts.keys()].some((label) => label !== 255);
  $("hand-in").disabled = !drawn;
  for (const id of ["accept-all", "show-draft"]) $(id).disabled = !editor.draft;
  for (const id of ["fill-rest", "clear", "no-seen", "cannot-tell", "skip"]) $(id).disabled = !mask;
}

async function showTask(task, left) {
  if (task) $("empty").hidden = true;
  if (left !== null) $("progress").textContent = task ? `Round ${task.round} · ${left} left` : "";
  notice(null);
  if (!task) return showEmpty(left);
  const slide = project.slides[task.tile.slide];
  $("rank").textContent = task.rank > 0 ? `number ${task.rank} of its round` : "";
  $("where").textContent = `${slide.id} · ${task.tile.mpp ? `${task.tile.mpp} µm per pixel` : "resolution not stated"}${task.draft ? " · striped: the model's draft" : ""}`;
  $("comment").value = "";
  $("comments").replaceChildren(...task.comments.map((text) => el("div", {}, text)));
  showWhy(task);
  await stage.show(task.tile, slide);
  if (task.verdict) notice(`This tile has an answer (${task.verdict.replaceAll("_", " ")}). Handing in again replaces it; the old one is kept.`);
}

async function showEmpty(left) {
  const none = left === 0 && (await api.round()).tiles.length === 0;
  const text = none ? "No tiles are asked for yet." : left > 0
    ? `Nothing is free for you: what is left (${count(left, "tile")}) is with others, or waits for a second reader.`
    : "All tiles of this round are answered.";
  $("empty").replaceChildren(el("div", {}, text), el("button", { className: "primary", onclick: () => show("round") }, "Go to the round"));
  $("empty").hidden = false;
  $("why").replaceChildren();
  $("rank").textContent = "";
  $("where").textContent = "";
  refresh();
}

/** Score components as bars; those outside 0..1 as numbers only. */
function showWhy(task) {
  const rows = task.why.map(({ name, value, meaning }) => el("div", { className: "score" },
    el("span", {}, name.replaceAll("_", " ")), bar(value ?? 0), el("output", {}, value === null ? "–" : value.toFixed(2)),
    meaning ? el("small", {}, meaning) : null));
  if (rows.length === 0) rows.push(el("small", {}, "Chosen without scores, for example by chance."));
  $("why").replaceChildren(...rows);
}

function buildPalette() {
  const palette = colors();
  const rows = seen().map((c, i) => el("button", {
    id: `class-${c.id}`, role: "radio", title: c.description, onclick: () => pick(c.id),
  }, el("span", { className: "swatch", style: { background: css(palette[c.id]) } }),
  el("span", { className: "name" }, c.name), el("span", { className: "share" }), el("kbd", {}, i < 9 ? String(i + 1) : "")));
  const others = project.classes.filter((c) => !c.seen).map((c) => el("div", { className: "unseen", title: c.description },
    el("span", { className: "swatch", style: { background: css(palette[c.id]) } }),
    el("span", { className: "name" }, c.name), el("small", {}, "from words, not drawn")));
  $("palette").replaceChildren(...rows, ...others);
  $("palette").classList.toggle("many", rows.length > 9);
  editor.colors = palette;
  editor.seen = new Set(seen().map((c) => c.id));
  pick(editor.seen.has(editor.label) ? editor.label : seen()[0].id);
}

function pick(label) {
  editor.label = label;
  for (const c of seen()) $(`class-${c.id}`).setAttribute("aria-checked", String(c.id === label));
  if (["pan", "erase", "accept"].includes(editor.tool)) choose("polygon");
  stage.draw();
}

function choose(tool) {
  editor.choose(tool);
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", String(button.dataset.tool === tool));
  }
}

function look(change) {
  Object.assign(stage.look, change);
  $("outline").setAttribute("aria-pressed", String(stage.look.style === "outline"));
  $("hide").setAttribute("aria-pressed", String(stage.look.hidden));
  $("show-draft").setAttribute("aria-pressed", String(stage.look.draft));
  $("opacity-out").textContent = `${$("opacity").value} %`;
  editor.repaint();
}

function setRadius(radius) {
  editor.radius = Math.max(1, Math.min(60, radius));
  $("radius").value = editor.radius;
  $("radius-out").textContent = `${editor.radius} px`;
  stage.draw();
}

async function show(name) {
  for (const id of ["annotate", "round", "results"]) $(id).hidden = id !== name;
  for (const button of document.querySelectorAll("[data-view]")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (name === "annotate" && !desk.task) await attempt(() => desk.next());
  if (views[name]) await attempt(() => views[name].show());
  stage.draw();
}

async function hand(verdict) {
  if (!desk.task || (verdict === "drawn" && $("hand-in").disabled)) return;
  if (editor.closePolygon()) return;
  const whole = verdict === "drawn" && desk.draftId !== null && sameAsDraft();
  desk.comment = $("comment").value;
  await attempt(() => desk.hand(whole ? "accepted" : verdict));
  refresh();
  stage.canvas.focus({ preventScroll: true });
}

/** Whether the drawing is the draft's seen classes and nothing else. */
function sameAsDraft() {
  const { mask, draft } = editor;
  return mask.data.every((label, i) => label === (editor.seen.has(draft[i]) && mask.contains(i % mask.size, Math.floor(i / mask.size)) ? draft[i] : 255));
}

const actions = {
  undo: () => (editor.undo(), refresh()),
  redo: () => (editor.redo(), refresh()),
  "accept-all": () => editor.acceptAll(),
  "fill-rest": () => editor.fillRest(),
  clear: () => editor.clear(),
  "take-back": () => attempt(() => desk.takeBack()).then(refresh),
  outline: () => look({ style: stage.look.style === "fill" ? "outline" : "fill" }),
  hide: () => look({ hidden: !stage.look.hidden }),
  "show-draft": () => look({ draft: !stage.look.draft }),
  "own-colors": () => {
    ownColors = !ownColors;
    $("own-colors").setAttribute("aria-pressed", String(ownColors));
    buildPalette();
    editor.repaint();
    refresh();
  },
  "hand-in": () => hand("drawn"),
  "no-seen": () => hand("no_seen_class"),
  "cannot-tell": () => hand("cannot_tell"),
  skip: () => hand("skipped"),
  "to-tile": () => stage.toTile(),
  "to-context": () => stage.toContext(),
  "zoom-in": () => stage.zoom(1.4),
  "zoom-out": () => stage.zoom(1 / 1.4),
  "help-open": () => $("help").showModal(),
  theme: () => {
    const { dataset } = document.documentElement;
    dataset.theme = dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("aczerots-theme", dataset.theme);
  },
  "notice-close": () => notice(null),
};

const KEYS = {
  z: "undo", y: "redo", w: "accept-all", r: "fill-rest", x: "clear", o: "outline", h: "hide", d: "show-draft",
  n: "no-seen", u: "cannot-tell", s: "skip", c: "to-context", Home: "to-tile", "+": "zoom-in", "=": "zoom-in",
  "-": "zoom-out", "?": "help-open",
};
const TOOLS = { v: "pan", p: "polygon", f: "freehand", b: "brush", e: "erase", a: "accept" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function key(event) {
  const typing = ["TEXTAREA", "INPUT"].includes(event.target.tagName);
  if (typing && event.key === "Escape") stage.canvas.focus();
  if (typing || $("annotate").hidden || $("help").open || event.altKey || event.metaKey) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey && !["z", "y"].includes(name)) return;
  const onButton = event.target.tagName === "BUTTON" && ["Enter", " "].includes(name);
  if (!onButton && press(name, event)) event.preventDefault();
}

/** What a key does; returns whether it does anything. */
function press(name, event) {
  const step = event.shiftKey ? 10 : 1;
  if (name === "z" && event.ctrlKey && event.shiftKey) actions.redo();
  else if (name === "z") actions.undo(); // also corners of a polygon, of which the button knows nothing
  else if (KEYS[name]) $(KEYS[name]).disabled || actions[KEYS[name]]();
  else if (TOOLS[name]) choose(TOOLS[name]);
  else if (ARROWS[name]) editor.moveCursor(ARROWS[name][0] * step, ARROWS[name][1] * step);
  else if (/^[1-9]$/.test(name)) seen()[Number(name) - 1] && pick(seen()[Number(name) - 1].id);
  else if (name === "[") setRadius(editor.radius - (editor.radius > 10 ? 3 : 1));
  else if (name === "]") setRadius(editor.radius + (editor.radius >= 10 ? 3 : 1));
  else if (name === " ") editor.press();
  else if (name === "Escape") editor.giveUp();
  else if (name === "Delete" || name === "Backspace") return editor.deleteCorner();
  else if (name === "t") $("comment").focus();
  else if (name === "Enter") editor.closePolygon() || hand("drawn");
  else return false;
  return true;
}

async function start() {
  project = await api.project();
  document.title = `${project.name} – aczerots`;
  $("project").textContent = project.name;
  $("user").textContent = project.user;
  desk = new Desk(project.user, editor, {
    task: showTask,
    changed: () => {
      $("comment").value = desk.comment;
      refresh();
    },
    saved: (text, bad = false) => {
      $("saved").textContent = text;
      $("saved").classList.toggle("bad", bad);
    },
    notice,
  });
  const open = async (position, reading) => {
    await desk.save();
    await attempt(() => desk.open(position, reading));
    await show("annotate");
  };
  const advanced = async (job, first) => {
    const done = job.state === "done";
    if (!$("annotate").hidden && desk.task) {
      // Somebody who went on while the round before was measured is not torn away from the drawing.
      return notice(done ? "The round before is measured." : `It failed: ${job.message}`, "Look", () => show(done ? "results" : "round"));
    }
    desk.task = null;
    editor.end();
    await live();
    if (done && first) return show("annotate");
    await show(done ? "results" : "round");
    if (done) notice("The model is fitted and the next tiles are chosen.", "Annotate them", () => show("annotate"));
  };
  views = {
    round: new RoundView($("round"), { project, colors, open, advanced }),
    results: new ResultsView($("results"), { project, colors }),
  };
  buildPalette();
  const safe = colorsOf(project.classes, false);
  $("own-colors").disabled = project.classes.every((c, i) => css(c.color) === css(safe[i])); // there is nothing to switch
  choose("polygon");
  look({});
  setRadius(10);
  for (const [id, action] of Object.entries(actions)) $(id).onclick = action;
  for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => choose(button.dataset.tool);
  for (const button of document.querySelectorAll("[data-view]")) {
    button.onclick = () => {
      if (button.dataset.view !== "annotate") notice(null); // it was about the tile
      show(button.dataset.view);
    };
  }
  $("radius").oninput = () => setRadius(Number($("radius").value));
  $("opacity").oninput = () => look({ opacity: Number($("opacity").value) / 100 });
  $("comment").oninput = () => {
    desk.comment = $("comment").value;
    desk.touched();
  };
  addEventListener("keydown", key);
  for (const id of ["panel", "stage-tools"]) {
    // After a click of the mouse (not after Enter on a button) the keys belong to the drawing again.
    $(id).addEventListener("click", (e) => e.detail > 0 && e.target.closest("button") && stage.canvas.focus({ preventScroll: true }));
  }
  setInterval(() => attempt(() => live()), 5000);
  await show("annotate");
}

/** Live progress in the header, and in the round view while it is open. */
async function live() {
  if (document.hidden) return;
  const round = await api.round();
  $("progress").textContent = `Round ${round.number} · ${round.left} left`;
  if (!$("round").hidden && !views.round.running) await views.round.show();
}

window.aczerotsStage = stage; // for tests, which need to know where a pixel of the tile is on the screen
attempt(start);
