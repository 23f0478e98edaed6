// Builds elements without markup in strings: text is always text, whatever a camera or a file is called.

/**
 * @param {string} tag
 * @param {Record<string, unknown> | null} [properties] attributes; `on*` are listeners; false, null and undefined are left out
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on") && typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => child instanceof Node ? child : String(child)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Outlines on a 24x24 grid, drawn for this page. */
const ICONS = /** @type {Record<string, string>} */ ({
  live: "M3 7h13v10H3zM16 11l5-3v8l-5-3",
  review: "M4 6h16M4 12h10M4 18h7M16 15l2.5 2.5L22 13",
  media: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9.5h.01",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
  system: "M4 18V6M4 18h16M8 14l4-5 3 3 5-6",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  tick: "M5 12.5l4.5 4.5L19 7",
  triangle: "M12 4l9 16H3z",
  square: "M5 5h14v14H5z",
  bars: "M6 18v-6M12 18V6M18 18v-9",
  record: "M12 12m-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  key: "M8 12m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M12 12h9M18 12v4",
  ring: "M12 12m-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0",
  hollow: "M12 12m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0",
  photo: "M4 8h4l2-3h4l2 3h4v11H4zM12 13m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
  series: "M3 8h12v12H3zM7 8V4h14v12h-6",
  sound: "M4 10v4h4l5 4V6L8 10zM17 9c1.5 2 1.5 4 0 6",
  silent: "M4 10v4h4l5 4V6L8 10zM17 10l4 4M21 10l-4 4",
  boxes: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4",
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  back: "M14 5l-7 7 7 7",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  user: "M12 8m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M4 21c1-5 4-6 8-6s7 1 8 6",
  plus: "M12 5v14M5 12h14",
  stop: "M6 6h12v12H6z",
});

const FILLED = new Set(["triangle", "square", "record", "play", "stop"]);

/** @param {string} name @returns {SVGSVGElement} */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.ring);
  path.setAttribute("fill", FILLED.has(name) ? "currentColor" : "none");
  path.setAttribute("stroke", "currentColor");
  path.setAttribute("stroke-width", "2");
  path.setAttribute("stroke-linecap", "round");
  path.setAttribute("stroke-linejoin", "round");
  svg.append(path);
  return svg;
}

const PSEUDO = new URLSearchParams(location.search).has("pseudo");

/**
 * The text that is shown for an English text. `{name}` is replaced by the value of that name. With `?pseudo` every text is
 * bracketed and 40 % longer, so that a test finds texts that do not pass through here, and layouts that clip.
 * @param {string} text
 * @param {Record<string, string | number>} [values]
 */
export function t(text, values = {}) {
  const filled = text.replace(/\{(\w+)\}/g, (whole, name) => name in values ? String(values[name]) : whole);
  return PSEUDO ? `[${filled}${"~".repeat(Math.ceil(filled.length * 0.4))}]` : filled;
}

/** @param {Element} parent @param {...(Node | string)} children */
export function fill(parent, ...children) {
  parent.replaceChildren(...children);
}

/**
 * Defines a custom element once.
 * @param {string} name @param {CustomElementConstructor} type
 */
export function define(name, type) {
  if (!customElements.get(name)) customElements.define(name, type);
}
