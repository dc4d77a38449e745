// Builds elements. Text enters only as text, never as markup, so nothing a person wrote can run.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: `h("button", { class: "button", onclick }, "Save")`. A property that starts with
 * `on` is a listener; `testid` becomes `data-testid`; `vars` sets CSS variables; true and false
 * set and leave out an attribute.
 */
export function h(tag, props = {}, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

/** A picture from `icons.svg`, decorative: the control around it carries the words. */
export function icon(name, props = {}) {
  return svg(
    "svg",
    { class: "icon", "aria-hidden": "true", ...props },
    svg("use", { href: `/icons.svg#${name}` }),
  );
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "testid") element.dataset.testid = value;
    else if (name === "vars") setVars(element, value);
    else if (name === "value" || name === "checked" || name === "muted") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Sets CSS variables through the object model, which the content policy allows. */
export function setVars(element, vars) {
  for (const [name, value] of Object.entries(vars)) element.style.setProperty(name, String(value));
}

/** Replaces what `element` holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}
