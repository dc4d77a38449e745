// Who is signed in: the bearer token, kept in this browser, and the person it stands for.

import { decoded } from "./router.js";

export const TOKEN_KEY = "kinora.token";
/** Every token is made of these; anything else could not even be sent. */
const TOKEN = /^[!-~]+$/;

/**
 * Takes a token out of `#token=…`, so that it stays neither in the address nor in the history, and
 * gives it. Whether it may take the place of one that is kept is for the person to say: anyone can
 * make such a link.
 */
export function takeTokenFromAddress() {
  const match = /^#\/?token=([^&]+)(?:&(.*))?$/.exec(location.hash);
  if (!match) return null;
  const next = match[2]?.startsWith("next=") ? decoded(match[2].slice(5)) : "/feed";
  history.replaceState(null, "", `${location.pathname}#${next.startsWith("/") ? next : "/feed"}`);
  return decoded(match[1]).trim();
}

/** The token that is kept, or null. */
export function token() {
  const kept = localStorage.getItem(TOKEN_KEY);
  return kept && TOKEN.test(kept) ? kept : null;
}

let person = null;
let bearer = null;

/** The signed-in person, as `GET /v1/me` gave it. */
export const me = () => person;

export function setMe(value) {
  person = value;
  bearer = token();
}

/** Whether what is sent now is sent as the person: another tab may have signed in as someone else. */
export const speaksForMe = () => person !== null && bearer === token();

/** Whether the signed-in person decides on reports. An admin may do everything. */
export const isModerator = () => ["moderator", "admin"].includes(person?.role);

/** Keeps a token; whom it stands for is still to be asked. */
export function signIn(value) {
  localStorage.setItem(TOKEN_KEY, value.trim());
  person = null;
}

/** Forgets the token and the person in this browser. */
export function signOut() {
  localStorage.removeItem(TOKEN_KEY);
  person = null;
}
