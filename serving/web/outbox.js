// What the person did, on its way to the server. Each event has a UUIDv7 of its own, so a retry
// is stored once; unsent events survive a reload and are sent only as the person who caused them;
// nothing is dropped before it is acknowledged, except what the server refuses for good. Each
// event is an entry of its own in the browser's storage, so that tabs do not overwrite each other.

import { postEvents } from "./api.js";
import { me, speaksForMe } from "./session.js";

const PREFIX = "kinora.event.";
const BATCH = 50;
const FLUSH_MS = 2500;
const MAX_WAIT_MS = 60_000;

/** Events for which the browser's storage had no room. */
const unstored = new Map();
let timer = 0;
let sending = null;
let failures = 0;

/** A UUIDv7: 48 bits of milliseconds, then random bits. */
export function uuid7(nowMs = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let index = 0; index < 6; index += 1) bytes[index] = Math.floor(nowMs / 2 ** (8 * (5 - index))) % 256;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Records an outcome of a clip: `kind` as in the event schema, `more` its particular fields. */
export function record(kind, clip, more = {}) {
  keep({
    event_id: uuid7(),
    schema_version: 1,
    kind,
    event_time_ms: Date.now(),
    user_id: me().user_id,
    video_id: clip.videoId,
    creator_id: clip.creatorId,
    impression_id: clip.impressionId,
    position: clip.position,
    surface: "feed",
    ...more,
  });
  if (!timer) plan(FLUSH_MS);
}

/** Sends what waits, a batch at a time. `leaving` lets the request outlive the page. */
export function flush({ leaving = false } = {}) {
  clearTimeout(timer);
  timer = 0;
  if (sending && !leaving) return sending;
  const batch = waiting().slice(0, BATCH);
  if (!batch.length) return Promise.resolve();
  const sent = send(batch, leaving).finally(() => {
    if (sending === sent) sending = null;
  });
  sending = sent;
  return sent;
}

/** Sends all that the server takes now. Gives how many events are left, for when the person is back. */
export async function drain() {
  let left = waiting().length;
  for (let before = Infinity; left && left < before; left = waiting().length) {
    before = left;
    await flush();
  }
  return left;
}

async function send(batch, leaving) {
  try {
    await postEvents(batch, leaving);
  } catch (error) {
    if (!refusedForGood(error)) {
      failures += 1;
      plan(Math.max(error.retryAfterMs ?? 0, backoff()));
      return;
    }
  }
  failures = 0;
  drop(batch);
  if (waiting().length) plan(0);
}

function plan(waitMs) {
  clearTimeout(timer);
  timer = setTimeout(flush, waitMs);
}

function backoff() {
  const most = Math.min(MAX_WAIT_MS, 1000 * 2 ** failures);
  return most / 2 + Math.random() * (most / 2);
}

function refusedForGood({ status }) {
  return status >= 400 && status < 500 && ![401, 408, 429].includes(status);
}

/** What the signed-in person did, the oldest first; another person's events wait until they are back. */
function waiting() {
  if (!speaksForMe()) return [];
  const stored = Object.keys(localStorage)
    .filter((key) => key.startsWith(PREFIX))
    .map(restored);
  return [...stored, ...unstored.values()]
    .filter((event) => event?.user_id === me().user_id)
    .sort((one, other) => (one.event_id < other.event_id ? -1 : 1));
}

function restored(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function keep(event) {
  try {
    localStorage.setItem(PREFIX + event.event_id, JSON.stringify(event));
  } catch {
    unstored.set(event.event_id, event);
  }
}

function drop(batch) {
  for (const { event_id: id } of batch) {
    localStorage.removeItem(PREFIX + id);
    unstored.delete(id);
  }
}

document.addEventListener(
  "visibilitychange",
  () => document.visibilityState === "hidden" && flush({ leaving: true }),
);
addEventListener("pagehide", () => flush({ leaving: true }));
addEventListener("online", () => flush());
