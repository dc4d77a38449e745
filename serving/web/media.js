// Bytes of clips and pictures behind the bearer token, as addresses that an element can play.
// They are kept only while something shows them: the next use asks the server again, which
// checks consent again.

import { call } from "./api.js";

/** An object URL of the media at `path`, which `release` gives back. */
export async function hold(path, signal) {
  const response = await call("GET", path, { signal, headers: { accept: "*/*" } });
  return URL.createObjectURL(await response.blob());
}

export function release(url) {
  if (url) URL.revokeObjectURL(url);
}

/** Puts the picture at `path` into `image`; a picture that cannot be had leaves the frame bare. */
export async function picture(image, path, signal) {
  try {
    const url = await hold(path, signal);
    image.addEventListener("load", () => release(url), { once: true });
    image.src = url;
  } catch {
    image.remove();
  }
}

/** Saves the media at `path` under `name`. */
export async function save(path, name) {
  const url = await hold(path);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => release(url), 10_000);
}
