// The one module that talks to the server. All addresses are relative, so that the page works below any prefix of a proxy.

/** An answer of the server that is not a success. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const BASE = new URL("./", document.baseURI);

/** @param {string} path such as `api/status` */
export function url(path) {
  return new URL(path, BASE).href;
}

/** @param {string} path */
export function socketUrl(path) {
  const address = new URL(path, BASE);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}

/** @type {Set<() => void>} */
const signedOut = new Set();

/** @param {() => void} listener called when the server wants credentials */
export function onSignedOut(listener) {
  signedOut.add(listener);
}

/**
 * @param {string} method @param {string} path @param {unknown} [body] @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function request(method, path, body, signal) {
  /** @type {RequestInit} */
  const options = { method, signal, credentials: "same-origin", headers: {} };
  if (method !== "GET") {
    options.headers = { "Content-Type": "application/json" };
    options.body = body === undefined ? "{}" : JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(url(path), options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  const text = await answer.text();
  let json;
  try {
    json = text === "" ? null : JSON.parse(text);
  } catch {
    json = text;
  }
  if (answer.ok) return json;
  if (answer.status === 401) signedOut.forEach((listener) => listener());
  throw new ApiError(answer.status, json?.error ?? `${answer.status} ${answer.statusText}`);
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = (path, signal) => request("GET", path, undefined, signal);
/** @param {string} path @param {unknown} [body] */
export const post = (path, body) => request("POST", path, body);
/** @param {string} path @param {unknown} [body] */
export const patch = (path, body) => request("PATCH", path, body);
/** @param {string} path @param {unknown} [body] */
export const put = (path, body) => request("PUT", path, body);
/** @param {string} path */
export const del = (path) => request("DELETE", path);

/** @param {string} name */
export const camera = (name) => `api/cameras/${encodeURIComponent(name)}`;

/** Values of a query, without those that are empty. @param {Record<string, unknown>} values */
export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? "" : `?${text}`;
}
