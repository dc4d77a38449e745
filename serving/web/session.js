// Who is signed in: the bearer token, kept in this browser, and the person it stands for.

const KEY = "kinora.token";

/** Takes a token out of `#token=…`, so that it stays neither in the address nor in the history. */
export function takeTokenFromAddress() {
  const match = /^#\/?token=([^&]+)(?:&(.*))?$/.exec(location.hash);
  if (!match) return false;
  keepToken(decodeURIComponent(match[1]));
  const next = match[2]?.startsWith("next=") ? decodeURIComponent(match[2].slice(5)) : "/feed";
  history.replaceState(null, "", `${location.pathname}#${next.startsWith("/") ? next : "/feed"}`);
  return true;
}

export const token = () => localStorage.getItem(KEY);
export const keepToken = (value) => localStorage.setItem(KEY, value.trim());

let person = null;

/** The signed-in person, as `GET /v1/me` gave it. */
export const me = () => person;

export function setMe(value) {
  person = value;
}

/** Forgets the token and the person in this browser. */
export function signOut() {
  localStorage.removeItem(KEY);
  person = null;
}
