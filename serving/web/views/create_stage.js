// The stage: nothing yet, or a clip while it is made, and then the clip.

import * as api from "../api.js";
import { fill, h, icon, setVars, svg } from "../dom.js";
import { count, sentence, words } from "../format.js";
import { busy, failed } from "../notices.js";
import { showClip } from "./create_clip.js";

const POLL_MS = 1000;
const OVER = new Set(["completed", "failed"]);
const STEPS = ["Queued", "Filming", "Signing"];
/** From this percentage on, the pictures and the sound are done. */
const SIGNING_FROM = 95;

/** The stage before anything is on it. */
export function idleStage() {
  return h(
    "div",
    { class: "stage", testid: "stage-idle" },
    h("div", { class: "state" }, icon("feed"), h("p", {}, "Your clip appears here while it is being made.")),
  );
}

/**
 * Follows `video` on `area` until it is over, then shows the clip. `onchange` is called when its
 * state changed for good, `ongone` when it is no more. Ends when `signal` aborts.
 */
export async function followJob(area, video, { signal, onchange, ongone }) {
  let state = video;
  if (!OVER.has(state.status)) {
    const making = makingStage(video, ongone);
    fill(area, making.element);
    for await (const next of progress(video.id, signal)) making.paint(next);
    signal.throwIfAborted();
    state = await api.getVideo(video.id, signal);
    onchange();
  }
  if (state.status === "completed") await showClip(area, state, { signal, onchange, ongone });
  else fill(area, h("div", { class: "stage" }, failed(notMade(state))));
}

function notMade(state) {
  return { title: "This clip was not made", detail: sentence(state.error?.message ?? words(state.status)) };
}

/** The job's states, from the event stream, or by asking again where the stream breaks. */
async function* progress(video, signal) {
  try {
    for await (const event of api.generationEvents(video, signal)) {
      yield event;
      if (OVER.has(event.status)) return;
    }
  } catch {
    // A stream can be cut off by what lies between: asking again goes on, or says what is wrong.
  }
  for (;;) {
    signal.throwIfAborted();
    const state = await api.getVideo(video, signal);
    yield state;
    if (OVER.has(state.status)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function makingStage(video, ongone) {
  const label = svg("text", { x: 74, y: 74 }, "0%");
  const ring = svg(
    "svg",
    { class: "ring", viewBox: "0 0 148 148", role: "img", "aria-label": "Progress" },
    svg("circle", { cx: 74, cy: 74, r: 66 }),
    svg("circle", { class: "ring__done", cx: 74, cy: 74, r: 66, pathLength: 100 }),
    label,
  );
  const steps = STEPS.map((name) => h("li", {}, name));
  const queue = h("p", { class: "hint", testid: "queue" });
  const cancel = h(
    "button",
    { class: "button button--quiet button--small", type: "button", testid: "cancel", onclick: stop },
    "Cancel",
  );
  const element = h(
    "div",
    { class: "stage", testid: "stage-making" },
    h(
      "div",
      { class: "making" },
      ring,
      h("ol", { class: "steps" }, steps),
      queue,
      h("p", { class: "making__prompt" }, video.prompt),
      cancel,
    ),
  );
  paint(video);
  return { element, paint };

  function paint(state) {
    const percent = Math.round(state.progress ?? 0);
    setVars(ring, { "--percent": percent });
    label.textContent = `${percent}%`;
    ring.setAttribute("aria-label", `${percent} percent done`);
    element.dataset.progress = percent;
    queue.hidden = !state.ahead;
    fill(
      queue,
      state.ahead === 1
        ? "One clip is made before yours."
        : `${count(state.ahead)} clips are made before yours.`,
    );
    const now = state.status === "queued" ? 0 : percent < SIGNING_FROM ? 1 : 2;
    steps.forEach(
      (step, index) => (step.dataset.state = index < now ? "done" : index === now ? "now" : "next"),
    );
  }

  async function stop() {
    if (await busy(cancel, () => api.deleteVideo(video.id))) ongone();
  }
}
