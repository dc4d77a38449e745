// State lives in the address: `#/create?video=abc` is a view, its path and its parameters.

/** The route that the address names. */
export function current() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", ...rest] = path.split("/").map(decoded);
  return { name, path: rest, params: new URLSearchParams(query) };
}

/** An address for a route. */
export function href(name, path = [], params = {}) {
  const query = new URLSearchParams(
    Object.entries(params).filter(([, value]) => value !== undefined && value !== ""),
  );
  const tail = path.map((part) => `/${encodeURIComponent(part)}`).join("");
  return `#/${name}${tail}${query.size ? `?${query}` : ""}`;
}

/** The page of a person, by handle. */
export const hrefOf = (handle) => `#/people/@${encodeURIComponent(handle)}`;

/** Goes to an address, which renders it. */
export function go(to) {
  if (location.hash === to) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = to;
}

/** Writes the view's state to the address without rendering again. */
export function remember(to) {
  if (location.hash !== to) history.replaceState(null, "", to);
}

/** A part of an address without its percent signs; as it stands, where they are not well formed. */
export function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
