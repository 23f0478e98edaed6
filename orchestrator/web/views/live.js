// The wall of all cameras.

import { h } from "../js/dom.js";
import "../components/wp-wall.js";

export function live() {
  return h("wp-wall", null);
}
