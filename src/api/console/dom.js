// Elements from data. Text becomes text nodes, never markup.

/** Attributes that are properties of an element, not attributes. */
const PROPERTIES = new Set(['checked', 'disabled', 'hidden', 'selected', 'value', 'required', 'readOnly', 'multiple']);
const SVG = 'http://www.w3.org/2000/svg';

/** What there is of some children: null and false stand for nothing. */
const there = (children) => children.flat(Infinity)
  .filter((child) => child !== null && child !== undefined && child !== false);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...there(children));
  return element;
}

/**
 * Makes an element: `h('a', { href: '#/', onclick: go }, 'text', child)`.
 * Children that are null or false are left out.
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Makes these the only children of an element. */
export function put(element, ...children) {
  element.replaceChildren(...there(children));
}

let count = 0;

/** An id that is on the page only once. */
export function unique(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

let telling = 0;

/** Says something to who listens instead of looking; nothing takes back what was said. */
export function announce(text) {
  const status = document.getElementById('status');
  clearTimeout(telling);
  status.textContent = '';
  // An empty region first, or the same words twice would be told once.
  if (text) telling = setTimeout(() => { status.textContent = text; }, 50);
}

/** Calls `work` once things have been quiet for a while. */
export function debounced(work, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), milliseconds);
  };
}
