// The page works without any of this: scripts keep it up to date and spare it reloading.

import { askInDialog } from "./dialog.js";
import { filterWhileTyping } from "./filter.js";
import { begin } from "./stream.js";
import { keepTimes } from "./times.js";

keepTimes();
askInDialog();
filterWhileTyping();
begin();
