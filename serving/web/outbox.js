// What the person did, on its way to the server. Each event has a UUIDv7 of its own, so a retry
// is stored once; unsent events survive a reload and are sent only as the person who caused them;
// nothing is dropped before it is acknowledged, except what the server refuses for good.

import { postEvents } from "./api.js";
import { me } from "./session.js";

const KEY = "kinora.outbox";
const BATCH = 50;
const KEPT = 1000;
const FLUSH_MS = 2500;
const MAX_WAIT_MS = 60_000;

let queue = restore();
let timer = 0;
let sending = false;
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
  queue.push({
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
  queue = queue.slice(-KEPT);
  keep();
  plan(queue.length >= BATCH ? 0 : FLUSH_MS);
}

/** Sends what waits. `leaving` lets the request outlive the page. */
export async function flush({ leaving = false } = {}) {
  clearTimeout(timer);
  const batch = waiting().slice(0, BATCH);
  if (!batch.length || (sending && !leaving)) return;
  sending = true;
  try {
    await postEvents(batch, leaving);
    settle(batch);
    failures = 0;
    if (waiting().length) plan(0);
  } catch (error) {
    if (refusedForGood(error)) {
      settle(batch);
    } else {
      failures += 1;
      plan(Math.max(error.retryAfterMs ?? 0, backoff()));
    }
  } finally {
    sending = false;
  }
}

/** What the signed-in person did; the events of another person wait until they are back. */
function waiting() {
  return queue.filter((event) => event.user_id === me()?.user_id);
}

/** Drops what waits, when a person leaves this browser for good. */
export function forget() {
  queue = [];
  keep();
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

function settle(batch) {
  const done = new Set(batch.map((event) => event.event_id));
  queue = queue.filter((event) => !done.has(event.event_id));
  keep();
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(queue));
  } catch {
    // The browser's storage is full: the events are still in memory.
  }
}

function restore() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

document.addEventListener(
  "visibilitychange",
  () => document.visibilityState === "hidden" && flush({ leaving: true }),
);
addEventListener("pagehide", () => flush({ leaving: true }));
addEventListener("online", () => flush());
