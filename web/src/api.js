// Talking to the server. Every refusal becomes a Refused with the server's sentence.

export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }

  /** The server cannot be reached or is in trouble: worth trying again. */
  get passing() {
    return this.status === 0 || this.status >= 500;
  }
}

async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(`api/${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "the server cannot be reached");
  }
  if (answer.status === 401) throw new Refused(401, "your link is not valid any more: ask for a new one. What you drew is kept in this browser.");
  if (!answer.ok) throw new Refused(answer.status, await sentence(answer));
  return answer.json();
}

async function sentence(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

export const api = {
  project: () => ask("GET", "project"),
  next: () => ask("POST", "tasks/next"),
  open: (position, reading) => ask("POST", `tiles/${position}/open?reading=${reading}`),
  save: (position, work) => ask("PUT", `tiles/${position}/work`, work),
  answer: (position, answer) => ask("POST", `tiles/${position}/answer`, answer),
  undo: (position, reading) => ask("POST", `tiles/${position}/undo?reading=${reading}`),
  comment: (position, text) => ask("POST", `tiles/${position}/comment`, { text }),
  prediction: (position) => ask("GET", `tiles/${position}/prediction`),
  round: () => ask("GET", "round"),
  results: () => ask("GET", "results"),
  job: () => ask("GET", "job"),
  startJob: () => ask("POST", "job"),
};
