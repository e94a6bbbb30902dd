// Undo and redo: states of a mask before each step, the oldest forgotten first.

const DEPTH = 100;

export class History {
  #past = [];
  #future = [];

  /** Remember the state before a step. */
  push(data) {
    this.#past.push(data.slice());
    if (this.#past.length > DEPTH) this.#past.shift();
    this.#future = [];
  }

  /** Forget the newest remembered state: the step changed nothing. */
  drop() {
    this.#past.pop();
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** The state before the newest step, given the present one; null if there is none. */
  undo(now) {
    if (!this.canUndo) return null;
    this.#future.push(now.slice());
    return this.#past.pop();
  }

  redo(now) {
    if (!this.canRedo) return null;
    this.#past.push(now.slice());
    return this.#future.pop();
  }
}
