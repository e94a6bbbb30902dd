// The round view: what is left, class balance, time, and the button that goes on.

import { api } from "./api.js";
import { css } from "./colors.js";
import { bar, count, el, minutes, percent } from "./dom.js";

const NAMES = {
  drawn: "drawn", accepted: "accepted", no_seen_class: "no seen", cannot_tell: "can't tell", skipped: "skipped",
};

const STAGES = {
  starting: "Starting", "embed pool": "Looking at the tiles", fit: "Fitting the model", select: "Choosing the next tiles",
};

export class RoundView {
  constructor(root, { project, colors, open, advanced }) {
    Object.assign(this, { root, project, colors, open, advanced });
    this.running = false;
  }

  async show() {
    const [round, job, results] = await Promise.all([api.round(), api.job(), api.results()]);
    const state = JSON.stringify([round, job, results.advice, this.colors()]);
    if (state === this.state && this.root.childElementCount > 0) return; // nothing new: focus stays where it is
    this.state = state;
    this.root.replaceChildren(el("div", {},
      this.#summary(round), this.#go(round, job), advice(results.advice), this.#tiles(round), this.#balance(round),
      this.#authors(round)));
    if (job.state === "running") this.#watch();
  }

  #summary(round) {
    const done = round.tiles.length - round.left;
    const noun = round.tiles.some((t) => t.reading > 0) ? "reading" : "tile";
    const fact = (value, text) => el("div", {}, el("div", { className: "big" }, value), el("span", {}, text));
    return el("section", { className: "card" },
      el("h1", {}, round.number === 0 && round.tiles.length === 0 ? "No round yet" : `Round ${round.number}`),
      el("div", { className: "facts" },
        fact(String(round.left), `of ${count(round.tiles.length, noun)} left`),
        fact(minutes(round.seconds), "spent"),
        fact(round.minutes_left === null ? "–" : minutes(round.minutes_left * 60), "expected until done")),
      el("p", {}), bar(round.tiles.length === 0 ? 0 : done / round.tiles.length));
  }

  #go(round, job) {
    this.first = round.number === 0 && round.tiles.length === 0;
    const unanswered = !this.first && round.state === "proposed";
    this.line = el("p", { id: "job-line" }, jobText(job, round));
    this.gauge = el("div", { className: "gauge" }, bar(job.total > 0 && job.state === "running" ? job.done / job.total : 0));
    this.gauge.hidden = job.state !== "running";
    this.button = el("button", { id: "advance", className: "primary" }, this.first ? "Propose the first round" : "Fit and propose the next round");
    this.button.disabled = job.state === "running" || unanswered;
    this.button.onclick = async () => {
      this.button.disabled = true;
      try {
        await api.startJob();
        this.#watch();
      } catch (refused) {
        this.line.textContent = refused.message;
        this.button.disabled = false;
      }
    };
    return el("section", { className: "card" }, el("h2", {}, "Next"), this.line, this.gauge, this.button);
  }

  /** Follow the job until it ends. */
  async #watch() {
    if (this.running) return;
    this.running = true;
    let job = await api.job();
    while (job.state === "running") {
      this.line.textContent = jobText(job);
      this.gauge.hidden = false;
      this.gauge.replaceChildren(bar(job.total > 0 ? job.done / job.total : 0));
      await new Promise((resolve) => setTimeout(resolve, 700));
      job = await api.job();
    }
    this.running = false;
    await this.advanced(job, this.first);
  }

  #tiles(round) {
    const chips = round.tiles.map((tile) => {
      const word = tile.verdict ? NAMES[tile.verdict] : tile.leased ? tile.author : "open";
      const second = tile.reading > 0;
      const title = `Open tile ${tile.rank}${second ? ", second reading" : ""}${tile.author ? `, ${tile.author}` : ""}`;
      const chip = el("button", { title }, second ? `${tile.rank} · 2nd` : String(tile.rank), el("small", {}, word));
      chip.classList.toggle("answered", tile.verdict !== null);
      chip.classList.toggle("leased", tile.leased);
      chip.onclick = () => this.open(tile.position, tile.reading);
      return chip;
    });
    return el("section", { className: "card wide" }, el("h2", {}, "Tiles"), el("div", { className: "chips" }, ...chips));
  }

  #balance(round) {
    const classes = this.project.classes.filter((c) => c.seen);
    const drawn = classes.map((c) => round.pixels[c.id] ?? 0);
    const total = drawn.reduce((a, b) => a + b, 0);
    const most = Math.max(1, ...drawn);
    const colors = this.colors();
    const rows = classes.flatMap((c, i) => [
      el("span", { className: "swatch", style: { background: css(colors[c.id]) } }), el("span", {}, c.name),
      bar(drawn[i] / most),
      el("span", { className: "num" }, total === 0 ? "–" : percent(drawn[i] / total)),
    ]);
    return el("section", { className: "card" }, el("h2", {}, "Drawn so far, per class"), el("div", { className: "balance" }, ...rows));
  }

  #authors(round) {
    const rows = Object.entries(round.authors).map(([name, count]) => el("tr", {}, el("td", {}, name), el("td", {}, String(count))));
    return el("section", { className: "card" }, el("h2", {}, "Annotators"),
      rows.length === 0 ? el("p", {}, "Nobody has answered in this round yet.")
        : el("table", {}, el("tr", {}, el("th", {}, "Name"), el("th", {}, "Tiles answered")), ...rows));
  }
}

export function advice({ stop, reason }) {
  return el("section", { className: `card wide advice${stop ? " stop" : ""}` },
    el("h2", {}, stop ? "You may stop here" : "Worth going on?"), el("div", {}, `${reason}.`));
}

function jobText(job, round = null) {
  if (job.state === "running" && job.stage === "measure") {
    return `The next round is ready: go on with Annotate. The one before is being measured, ${job.done} of ${job.total} …`;
  }
  if (job.state === "running") return `${STAGES[job.stage] ?? job.stage}${job.total > 0 ? ` ${job.done} of ${job.total}` : ""} … (started by ${job.user})`;
  if (job.state === "failed") return `It failed: ${job.message}`;
  if (round?.tiles.length === 0) return "No tiles are asked for yet. The zero-shot model chooses the first ones.";
  if (round?.state === "proposed") return "Nobody has answered in this round yet.";
  if (round && round.left > 0) return `Without an answer yet: ${round.left}. You may go on all the same.`;
  return "All tiles are answered.";
}
