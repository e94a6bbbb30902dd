// One tile after the other: fetch, autosave, hand in. Keeps a copy of unfinished work in the browser as well, for the
// time that the server cannot be reached.

import { api } from "./api.js";
import { decodeRuns, encodeRuns, Mask } from "./mask.js";

const PAUSE = 800;
const RENEW = 60_000;
const RETRY = 4_000;
const IDLE = 60_000;

export class Desk {
  /** `editor` draws; `tell` = {saved(text, bad), notice(text, action), task(task, left)}. */
  constructor(user, editor, tell) {
    this.user = user;
    this.editor = editor;
    this.tell = tell;
    this.task = null;
    this.timer = null;
    this.previous = null;
    this.comment = "";
    this.draftId = null;
    this.#startClock();
    setInterval(() => this.task && this.save(), RENEW);
    addEventListener("pagehide", () => this.#keepHere());
    document.addEventListener("visibilitychange", () => document.hidden && this.#flush());
  }

  /** Time at work: seconds with the page in front and something done in the last minute. */
  #startClock() {
    this.seconds = 0;
    let active = Date.now();
    for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) {
      addEventListener(kind, () => (active = Date.now()), { passive: true });
    }
    setInterval(() => {
      if (!document.hidden && this.task && Date.now() - active < IDLE) this.seconds += 1;
    }, 1000);
  }

  async next() {
    const { task, left } = await api.next();
    await this.#begin(task, left);
  }

  async open(position, reading) {
    const task = await api.open(position, reading);
    await this.#begin(task, null);
  }

  async #begin(task, left) {
    this.task = task;
    this.seconds = 0;
    this.comment = "";
    this.draftId = null;
    this.key = crypto.randomUUID?.() ?? randomKey();
    if (!task) {
      this.editor.end();
      this.tell.saved("");
      this.tell.task(null, left);
      return;
    }
    const { size, inner } = task.tile;
    await this.tell.task(task, left);
    const work = this.#unfinished(task);
    const runs = work?.mask ?? task.answer;
    const mask = new Mask(size, inner, runs ? decodeRuns(runs, size) : null);
    this.editor.begin(mask, task.draft ? decodeRuns(task.draft, size) : null);
    if (work) this.#resume(work);
    else this.tell.saved("");
    this.tell.changed();
  }

  /** Newest unfinished work on a tile: the server's, or the browser's where the server never got it. */
  #unfinished(task) {
    const here = readHere(this.#shelf(task));
    if (!here) return task.work;
    return task.work && task.work.seconds >= here.seconds ? task.work : here;
  }

  #resume(work) {
    this.seconds = work.seconds;
    this.comment = work.comment;
    this.draftId = work.draft_id;
    this.tell.saved("Unfinished work restored");
    if (work.version === this.task.version) return;
    const text = "Somebody has answered this tile since you began. Your drawing is shown; handing it in replaces theirs.";
    if (this.task.answer) this.tell.notice(text, "Show theirs", () => this.#showTheirs());
    else this.tell.notice(text);
  }

  /** The answer that counts in place of one's own drawing, which undo brings back. */
  #showTheirs() {
    if (!this.task?.answer) return;
    this.draftId = null;
    this.editor.replace(decodeRuns(this.task.answer, this.task.tile.size));
    this.tell.notice("The newest drawing is shown. Undo (Z) brings yours back.");
  }

  #shelf(task) {
    return `aczerots-work/${this.user}/${task.tile.slide}/${task.tile.position}/${task.reading}`;
  }

  #work() {
    return {
      mask: encodeRuns(this.editor.mask.data), version: this.task.version, comment: this.comment, seconds: this.seconds,
      draft_id: this.draftId, reading: this.task.reading,
    };
  }

  #keepHere() {
    if (!this.task || !this.editor.mask) return;
    try {
      localStorage.setItem(this.#shelf(this.task), JSON.stringify(this.#work()));
    } catch {
      this.tell.saved("The browser has no room for a copy", true);
    }
  }

  /** The model's draft was taken over, in part or whole. */
  usedDraft() {
    this.draftId = this.task?.draft_id ?? null;
  }

  /** Something was drawn or written: keep it soon. */
  touched() {
    if (!this.task) return;
    this.#keepHere();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
    this.tell.saved("…");
  }

  #flush() {
    if (this.timer !== null) this.save();
  }

  async save() {
    const { task } = this;
    clearTimeout(this.timer);
    this.timer = null;
    if (!task || !this.editor.mask || this.sending) return;
    try {
      await api.save(task.tile.position, this.#work());
      if (this.task === task) this.tell.saved("Saved");
    } catch (refused) {
      if (this.task !== task) return;
      this.tell.saved("Not saved", true);
      if (refused.passing) this.timer = setTimeout(() => this.save(), RETRY);
      else this.tell.notice(refused.message);
    }
  }

  /** Hand in an answer and fetch the next tile. Returns whether it was kept. */
  async hand(verdict) {
    const { task } = this;
    if (!task || this.sending) return false;
    clearTimeout(this.timer);
    this.timer = null;
    this.#keepHere();
    this.sending = true;
    try {
      const work = this.#work();
      const drawn = verdict === "drawn" || verdict === "accepted";
      const mask = drawn ? work.mask : null;
      await api.answer(task.tile.position, { ...work, key: this.key, verdict, mask, draft_id: drawn ? this.draftId : null });
    } catch (refused) {
      this.tell.saved("Not handed in", true);
      const again = refused.status === 409 ? () => this.#openTheirs(task) : () => this.hand(verdict);
      this.tell.notice(`Not handed in: ${refused.message}`, refused.status === 409 ? "Load the newest" : "Try again", again);
      return false;
    } finally {
      this.sending = false;
    }
    localStorage.removeItem(this.#shelf(task));
    this.previous = { position: task.tile.position, reading: task.reading };
    this.tell.notice(null);
    await this.next();
    return true;
  }

  async #openTheirs(task) {
    await this.open(task.tile.position, task.reading);
    this.#showTheirs();
  }

  /** Take back the answer handed in last and open its tile. */
  async takeBack() {
    if (this.previous === null) return;
    await this.save();
    const { position, reading } = this.previous;
    await api.undo(position, reading);
    this.previous = null;
    await this.open(position, reading);
  }
}

function readHere(shelf) {
  try {
    return JSON.parse(localStorage.getItem(shelf));
  } catch {
    return null;
  }
}

/** Where the page is not served over https or from this machine there is no randomUUID. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}
