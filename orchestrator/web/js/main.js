// Start of the page: theme, shell, connection. The view is named by the address (#/live, #/camera/front/settings, ...).

import { start } from "./store.js";
import { followTheme } from "./theme.js";
import "../components/wp-shell.js";

followTheme();
document.body.append(document.createElement("wp-shell"));
start();
