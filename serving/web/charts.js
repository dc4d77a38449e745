// Small charts in SVG. Values enter, an element leaves; the numbers are also in words for those
// who do not see it.

import { fill, h, svg } from "./dom.js";
import { count, dayName, percent, shortCount } from "./format.js";

// A phone gets a narrower drawing, so that its labels stay as large as the text around them.
const WIDTH = matchMedia("(width < 560px)").matches ? 340 : 640;
const HEIGHT = 220;
const PAD = { top: 12, right: 12, bottom: 26, left: 44 };
const TICKS = 4;

/**
 * Lines over days: `days` are ISO dates, `series` are `{ name, values }` of the same length. The
 * legend shows the day under the pointer.
 */
export function lineChart({ title, days, series, format = count, most }) {
  const top = most ?? niceTop(Math.max(1, ...series.flatMap(({ values }) => values)));
  const step = days.length > 1 ? (WIDTH - PAD.left - PAD.right) / (days.length - 1) : 0;
  const x = (index) => (days.length > 1 ? PAD.left + index * step : (PAD.left + WIDTH - PAD.right) / 2);
  const y = (value) => HEIGHT - PAD.bottom - (Math.min(value, top) / top) * (HEIGHT - PAD.top - PAD.bottom);
  const path = (values) =>
    values
      .map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`)
      .join("");
  const area = `${path(series[0].values)}L${x(days.length - 1)} ${y(0)}L${x(0)} ${y(0)}Z`;

  const cursor = svg("line", { class: "cursor", y1: PAD.top, y2: HEIGHT - PAD.bottom, hidden: true });
  const dots = series.map((_, index) => svg("circle", { class: `dot series-${index}`, r: 4 }));
  const legend = h("ul", { class: "legend" });
  const chart = svg(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `${title}: ${inWords(days, series, format)}`,
    },
    ticks(top).map((value) => [
      svg("line", { class: "grid-line", x1: PAD.left, x2: WIDTH - PAD.right, y1: y(value), y2: y(value) }),
      svg(
        "text",
        { x: PAD.left - 8, y: y(value) + 4, "text-anchor": "end" },
        format === count ? shortCount(value) : format(value),
      ),
    ]),
    labelled(days).map((index) =>
      svg(
        "text",
        { x: x(index), y: HEIGHT - 6, "text-anchor": anchor(index, days.length) },
        dayName(days[index]),
      ),
    ),
    svg("path", { class: "area", d: area }),
    series.map(({ values }, index) => svg("path", { class: `line series-${index}`, d: path(values) })),
    cursor,
    dots,
    svg("rect", {
      class: "hit",
      x: PAD.left,
      y: 0,
      width: WIDTH - PAD.left - PAD.right,
      height: HEIGHT,
      onpointermove: point,
      onpointerleave: () => rest(),
    }),
  );
  rest();
  return h("figure", { class: "stack" }, chart, legend);

  function rest() {
    cursor.setAttribute("visibility", "hidden");
    mark(days.length - 1);
  }

  function point(event) {
    const box = chart.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    cursor.setAttribute("visibility", "visible");
    mark(Math.min(days.length - 1, Math.max(0, step ? Math.round((at - PAD.left) / step) : 0)));
  }

  function mark(index) {
    cursor.setAttribute("x1", x(index));
    cursor.setAttribute("x2", x(index));
    series.forEach(({ values }, at) => {
      dots[at].setAttribute("cx", x(index));
      dots[at].setAttribute("cy", y(values[index]));
    });
    fill(
      legend,
      series.map(({ name, values }, at) =>
        h("li", { class: `legend-${at}` }, `${name} ${format(values[index])}`),
      ),
      h("li", { class: "legend-day" }, dayName(days[index])),
    );
  }
}

/** Bars over days. */
export function barChart({ title, days, values }) {
  const top = niceTop(Math.max(1, ...values));
  const slot = (WIDTH - PAD.left - PAD.right) / days.length;
  const wide = Math.min(28, slot * 0.66);
  const y = (value) => HEIGHT - PAD.bottom - (value / top) * (HEIGHT - PAD.top - PAD.bottom);
  const x = (index) => PAD.left + slot * (index + 0.5);
  return svg(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `${title}: ${inWords(days, [{ name: title, values }], count)}`,
    },
    ticks(top).map((value) => [
      svg("line", { class: "grid-line", x1: PAD.left, x2: WIDTH - PAD.right, y1: y(value), y2: y(value) }),
      svg("text", { x: PAD.left - 8, y: y(value) + 4, "text-anchor": "end" }, shortCount(value)),
    ]),
    values.map((value, index) =>
      svg(
        "rect",
        {
          class: "bar",
          x: x(index) - wide / 2,
          y: y(value),
          width: wide,
          height: Math.max(0, HEIGHT - PAD.bottom - y(value)),
          rx: Math.min(5, wide / 3),
        },
        svg("title", {}, `${dayName(days[index])}: ${count(value)}`),
      ),
    ),
    labelled(days).map((index) =>
      svg("text", { x: x(index), y: HEIGHT - 6, "text-anchor": "middle" }, dayName(days[index])),
    ),
  );
}

/** Steps of which each is a part of the first. */
export function funnel(steps) {
  const first = Math.max(1, steps[0]?.value ?? 0);
  return h(
    "ol",
    { class: "funnel" },
    steps.map(({ name, value }) =>
      h(
        "li",
        {},
        h("span", {}, name),
        h("span", { class: "meter" }, h("i", { vars: { "--part": Math.min(1, value / first) } })),
        h("span", {}, h("b", {}, count(value)), h("small", {}, percent(value / first))),
      ),
    ),
  );
}

function ticks(top) {
  return Array.from({ length: TICKS + 1 }, (_, index) => (top / TICKS) * index);
}

/** The least of 1, 2, 4, 5, 10, 20, … that is no less than `value`, so that the ticks are round. */
function niceTop(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  const top = [1, 2, 4, 5, 10].find((times) => times * size >= value) * size;
  return Math.max(4, top);
}

/** A day in about eighty units of width gets a label. */
function labelled(days) {
  const every = Math.max(1, Math.ceil(days.length / Math.floor(WIDTH / 80)));
  return days.map((_, index) => index).filter((index) => (days.length - 1 - index) % every === 0);
}

function anchor(index, length) {
  if (length === 1) return "middle";
  return index === 0 ? "start" : index === length - 1 ? "end" : "middle";
}

function inWords(days, series, format) {
  return series
    .map(
      ({ name, values }) =>
        `${name} from ${format(values[0] ?? 0)} on ${days[0]} to ${format(values.at(-1) ?? 0)} on ${days.at(-1)}`,
    )
    .join("; ");
}
