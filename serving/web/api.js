// The public JSON API, one function a call. Paths and field names are spoken here and nowhere
// else; a refusal is an `ApiProblem` whose `detail` is the server's own sentence.

import { sentence } from "./format.js";
import { token } from "./session.js";

/** A refusal, or a server out of reach (`status` 0). */
export class ApiProblem extends Error {
  constructor(status, body, response) {
    const openai = body?.error;
    super(openai?.message ?? body?.detail ?? body?.title ?? `the server answered ${status}`);
    this.name = "ApiProblem";
    this.status = status;
    this.kind = openai?.code?.replaceAll("_", "-") ?? body?.type ?? "";
    this.detail = sentence(this.message);
    this.title = TITLES[this.kind] ?? TITLES[status] ?? "That did not work";
    this.quote = openai?.quote ?? body?.quote;
    this.resetsAtMs = body?.resets_at_ms;
    this.requestId = response?.headers.get("x-request-id") ?? body?.instance;
    this.retryAfterMs = Number(response?.headers.get("retry-after") ?? 0) * 1000;
  }
}

/** A batch of events that takes longer is sent again. */
const EVENTS_MS = 10_000;
const MOST_POSTS = 100;

const TITLES = {
  0: "Kinora is out of reach",
  401: "Please sign in again",
  402: "This one has a price",
  403: "This is not allowed",
  404: "This is not here",
  409: "This changed meanwhile",
  412: "This changed meanwhile",
  413: "That file is too large",
  429: "A moment, please",
  503: "Not ready yet",
  "prompt-refused": "That prompt cannot be made",
  "words-refused": "Those words cannot be used here",
  "moderation-blocked": "That prompt cannot be made",
  "feed-limit-reached": "That is today's feed",
  "insufficient-credits": "Not enough credits",
};

/**
 * One call. `json` or `form` is the body; `signal`, `headers` and `keepalive` are as for
 * `fetch`. Gives the response, or throws an `ApiProblem`.
 */
export async function call(method, path, { json, form, headers = {}, signal, keepalive } = {}) {
  const all = { ...headers };
  const bearer = token();
  if (bearer) all.authorization = `Bearer ${bearer}`;
  if (json !== undefined) all["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: all,
      body: json === undefined ? form : JSON.stringify(json),
      signal,
      keepalive,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiProblem(0, { detail: "the server does not answer; check that it runs, then try again" });
  }
  if (!response.ok) {
    const problem = new ApiProblem(response.status, await response.json().catch(() => null), response);
    // A late refusal of a token that was replaced meanwhile says nothing about the one in its place.
    if (response.status === 401 && bearer === token()) dispatchEvent(new CustomEvent("kinora:signed-out"));
    throw problem;
  }
  return response;
}

async function read(path, signal) {
  return (await call("GET", path, { signal })).json();
}

async function send(method, path, json, more = {}) {
  const response = await call(method, path, { json, ...more });
  return response.status === 204 || response.headers.get("content-length") === "0" ? null : response.json();
}

const id = encodeURIComponent;
const query = (params) => {
  const set = new URLSearchParams(
    Object.entries(params).filter(([, value]) => value !== undefined && value !== null),
  );
  return set.size ? `?${set}` : "";
};

// People
export const getMe = (signal) => read("/v1/me", signal);
export const putMe = (profile) => send("PUT", "/v1/me", profile);

/** The switches with the version that a change must name. */
export async function getSwitches(signal) {
  const response = await call("GET", "/v1/me/switches", { signal });
  return { switches: await response.json(), version: response.headers.get("etag") };
}

export async function putSwitches(switches, version) {
  const response = await call("PUT", "/v1/me/switches", {
    json: switches,
    headers: version ? { "if-match": version } : {},
  });
  return { switches: await response.json(), version: response.headers.get("etag") };
}

export const getPerson = (name, signal) => read(`/v1/people/${id(name)}`, signal);
export const follow = (person) => send("PUT", `/v1/people/${id(person)}/follow`);
export const unfollow = (person) => send("DELETE", `/v1/people/${id(person)}/follow`);
export const block = (person) => send("PUT", `/v1/people/${id(person)}/block`);
export const unblock = (person) => send("DELETE", `/v1/people/${id(person)}/block`);
export const notifications = async (signal) => (await read("/v1/notifications", signal)).notifications;

// Feed and posts
export const getFeed = (cursor, signal) => read(`/v1/feed${query({ limit: 8, cursor })}`, signal);
export const explain = (impression, signal) => read(`/v1/feed/explain/${id(impression)}`, signal);
export const getSteering = (signal) => read("/v1/feed/steering", signal);
export const steer = (text) => send("PUT", "/v1/feed/steering", { text });
export const unsteer = () => send("DELETE", "/v1/feed/steering");
export const getLess = async (signal) => (await read("/v1/feed/less", signal)).clips;
export const takeBackLess = (video) => send("DELETE", `/v1/feed/less/${id(video)}`);
export const getPost = (post, signal) => read(`/v1/posts/${id(post)}`, signal);
/** A page of a person's posts, newest first, after the one that `after` names; yours without a name. */
export const listPosts = ({ creator, after, limit = MOST_POSTS }, signal) =>
  read(`/v1/posts${query({ creator, after, limit })}`, signal);
export const publish = (video, caption) => send("POST", "/v1/posts", { video_id: video, caption });
export const unpublish = (post) => send("POST", `/v1/posts/${id(post)}/unpublish`);

/** Your published posts of these videos, by video. A post is no older than its video. */
export async function postsOf(videos, signal) {
  const wanted = new Set(videos.map((video) => video.id));
  const oldestMs = Math.min(...videos.map((video) => video.created_at * 1000));
  const found = new Map();
  for (let after, more = wanted.size > 0; more;) {
    const page = await listPosts({ after }, signal);
    for (const post of page.posts) if (wanted.has(post.video_id)) found.set(post.video_id, post);
    const last = page.posts.at(-1);
    after = last?.id;
    more = page.has_more && last?.published_ms >= oldestMs && found.size < wanted.size;
  }
  return found;
}

// Reports, decisions and appeals
export const report = (video, reason, details) =>
  send("POST", "/v1/reports", { video_id: video, reason, details });
export const listStatements = async (signal) => (await read("/v1/statements", signal)).statements;
export const listAppeals = async (signal) => (await read("/v1/appeals", signal)).appeals;
export const appeal = (statement, text) => send("POST", "/v1/appeals", { statement_id: statement, text });
export const listCases = async (state, signal) =>
  (await read(`/v1/moderation/cases${query({ state })}`, signal)).cases;
export const decideCase = (moderationCase, decision) =>
  send("POST", `/v1/moderation/cases/${id(moderationCase)}/decision`, decision);
export const openAppeals = async (signal) => (await read("/v1/moderation/appeals", signal)).appeals;
export const decideAppeal = (appealed, decision) =>
  send("POST", `/v1/moderation/appeals/${id(appealed)}/decision`, decision);

// Generation
export const credits = (signal) => read("/v1/credits", signal);
export const quote = (signal) => send("POST", "/v1/generations/quote", undefined, { signal });
export const createVideo = (request, key) =>
  send("POST", "/v1/videos", request, { headers: { "idempotency-key": key } });
export const remixVideo = (video, request, key) =>
  send("POST", `/v1/videos/${id(video)}/remix`, request, { headers: { "idempotency-key": key } });
export const getVideo = (video, signal) => read(`/v1/videos/${id(video)}`, signal);
export const listVideos = (after, signal, limit = 24) =>
  read(`/v1/videos${query({ limit, after, order: "desc" })}`, signal);
export const deleteVideo = (video) => send("DELETE", `/v1/videos/${id(video)}`);
export const contentPath = (video, variant) => `/v1/videos/${id(video)}/content${query({ variant })}`;

/** Server-sent events of a generation, as parsed objects, until it ends or `signal` aborts. */
export async function* generationEvents(video, signal) {
  const response = await call("GET", `/v1/generations/${id(video)}/events`, {
    signal,
    headers: { accept: "text/event-stream" },
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value.replaceAll("\r\n", "\n");
    for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
      const data = buffer
        .slice(0, end)
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trim())
        .join("\n");
      buffer = buffer.slice(end + 2);
      if (data) yield JSON.parse(data);
    }
  }
}

// Cameos
export const listCameos = (signal) => read("/v1/cameos", signal);
export const enrolCameo = async (form) => (await call("POST", "/v1/cameos", { form })).json();
export const setAudience = (cameo, audience) => send("PUT", `/v1/cameos/${id(cameo)}/audience`, { audience });
export const listGrants = async (cameo, signal) =>
  (await read(`/v1/cameos/${id(cameo)}/grants`, signal)).grants;
export const offerGrant = (cameo, grant) => send("POST", `/v1/cameos/${id(cameo)}/grants`, grant);
export const answerGrant = (cameo, grant, answer) =>
  send("POST", `/v1/cameos/${id(cameo)}/grants/${id(grant)}/${answer}`);
export const revokeGrant = (cameo, grant) => send("DELETE", `/v1/cameos/${id(cameo)}/grants/${id(grant)}`);
export const revokeCameo = (cameo, scope) => send("POST", `/v1/cameos/${id(cameo)}/revoke`, { scope });
export const cameoUses = async (cameo, signal) => (await read(`/v1/cameos/${id(cameo)}/uses`, signal)).uses;

// Insights
export const summary = (days, scope, signal) =>
  read(`/v1/analytics/summary${query({ days, scope })}`, signal);
export const runSql = (text, signal) => send("POST", "/v1/sql", { query: text, format: "json" }, { signal });

// Guardians
export const guardianLinks = async (signal) => (await read("/v1/guardians/links", signal)).links;
export const offerGuardianship = () => send("POST", "/v1/guardians/links");
export const acceptGuardianship = (code) => send("POST", "/v1/guardians/links/accept", { code });
export const setLimits = (link, limits) => send("PUT", `/v1/guardians/links/${id(link)}/limits`, limits);
export const endLink = (link) => send("DELETE", `/v1/guardians/links/${id(link)}`);

// Messages
export const conversations = (signal) => read("/v1/messages", signal);
export const conversation = (person, signal) => read(`/v1/messages/${id(person)}`, signal);
export const sendMessage = (to, text) => send("POST", "/v1/messages", { to, text });

// Events
export const postEvents = (events, keepalive) =>
  send("POST", "/v1/events", events, { keepalive, signal: AbortSignal.timeout(EVENTS_MS) });
