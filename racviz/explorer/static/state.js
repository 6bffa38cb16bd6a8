// One explorer on a page: its elements, its state, and its requests to a session.

import { make } from "./elements.js";

/**
 * The explorer's elements, put into `root`, and its state before anything is known.
 *
 * ask: (request) => Promise of [data, arrays]. options: `bare` hides the controls, `offline` says that
 * no session answers, `view` is the part to show first.
 */
export function createExplorer(root, ask, options) {
  root.classList.add("rvx");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Explorer of reconstruction errors");
  const canvas = make("canvas", {
    tabindex: 0,
    role: "application",
    "aria-roledescription": "heatmap",
    class: "rvx-heat",
  });
  const controls = make("div", { class: "rvx-controls" });
  const status = make("div", { class: "rvx-status", role: "status", "aria-live": "polite" });
  const tip = make("div", { class: "rvx-tip" });
  const detail = make("div", { class: "rvx-detail" });
  root.replaceChildren(controls, canvas, status, tip, detail);
  root.classList.toggle("bare", Boolean(options.bare));
  const state = {
    about: null,
    x: [0, 1],
    y: [0, 1],
    shown: null,
    image: null,
    chosen: null,
    jump: -1,
    timings: [],
  };
  return {
    ...{ root, canvas, controls, status, tip, detail, state, ask, options },
    queue: { busy: false, next: null },
    cursor: { turn: 0, rest: null },
    actions: {},
  };
}

/** Write a sentence into the status line. */
export function tell({ status }, text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

/**
 * Ask the session. Throws an error that is told already where the answer is one.
 *
 * Where another page of the session chose another view, this one follows it and asks again.
 */
export async function request(explorer, what) {
  const { about } = explorer.state;
  const [data, arrays] = await explorer.ask({
    ...what,
    ...(about ? { version: about.version } : {}),
  });
  if (data.error) {
    tell(explorer, data.error, true);
    throw Object.assign(new Error(data.error), { told: true });
  }
  if (data.changed) {
    explorer.actions.follow(data.changed);
    return request(explorer, what);
  }
  return [data, arrays];
}

/** A listener that tells what goes wrong in `work`. */
export function guarded(explorer, work) {
  return async (...args) => {
    try {
      await work(...args);
    } catch (error) {
      if (!error.told) tell(explorer, String(error), true);
    }
  };
}
