// The address after # names the view: view, then its parts.

/** @typedef {{ view: string, parts: string[], query: URLSearchParams }} Route */

/** @returns {Route} */
export function route() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter((part) => part !== "").map(decodeURIComponent);
  return { view: parts[0] ?? "live", parts: parts.slice(1), query: new URLSearchParams(search) };
}

/** @param {string} view @param {...string} parts */
export function link(view, ...parts) {
  return `#/${[view, ...parts].map(encodeURIComponent).join("/")}`;
}

/** @param {string} address */
export function go(address) {
  location.hash = address;
}
