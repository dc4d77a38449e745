// Numbers, times and names in words. Everything here takes a value and returns a string.

const number = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const count = (value) => number.format(value ?? 0);
export const shortCount = (value) => compact.format(value ?? 0);
export const percent = (part) =>
  Number.isFinite(part) ? `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)}%` : "–";
export const dayName = (isoDate) => day.format(new Date(`${isoDate}T00:00:00Z`));
export const dateTime = (ms) => moment.format(new Date(ms));

const STEPS = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86_400, "hour", 3600],
  [604_800, "day", 86_400],
  [2_629_800, "week", 604_800],
  [31_557_600, "month", 2_629_800],
  [Infinity, "year", 31_557_600],
];

/** "3 min. ago", "in 2 hr." */
export function ago(ms, nowMs = Date.now()) {
  const seconds = (ms - nowMs) / 1000;
  const [, unit, size] = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  return relative.format(Math.round(seconds / size), unit);
}

/** `trending_near_you` -> `Trending near you`. */
export function words(name) {
  const text = String(name ?? "")
    .replaceAll(/[_-]+/g, " ")
    .trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A line as a sentence: a capital first, a full stop last. */
export function sentence(text) {
  const line = String(text).trim();
  return line && line.charAt(0).toUpperCase() + line.slice(1) + (/[.!?]$/.test(line) ? "" : ".");
}

/** A hue of its own for each name, so that avatars are told apart. */
export function hue(name) {
  let value = 7;
  for (const char of String(name)) value = (value * 31 + char.codePointAt(0)) % 360;
  return value;
}

export const initial = (name) =>
  (
    String(name)
      .replace(/^@/, "")
      .match(/[\p{L}\p{N}]/u)?.[0] ?? "?"
  ).toUpperCase();
