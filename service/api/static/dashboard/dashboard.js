/** The dashboard: signs in, asks, shows. The other modules each do one part of it; this one knows when. */

import { Unanswered, ask } from "./api.js";
import { Chart } from "./chart.js";
import { define, listen } from "./definitions.js";
import { byId, setText } from "./dom.js";
import { forgetKey, keepKey, storedKey, survivesReload } from "./key_store.js";
import { NOT_STORED, keptFrom, say, sayStale, wordsFor } from "./notice.js";
import { Poller } from "./poller.js";
import { DEFAULT_RANGE, rangeOf } from "./ranges.js";
import { Slots, stackOf } from "./series.js";
import { SignIn } from "./sign_in.js";
import { showNumbers, showSources, showStore, showTotals, showUsers } from "./tables.js";
import { day, second, span } from "./text.js";

// Checked at once: used later, each would look like a service that does not answer.
for (const [name, found] of [
  ["AbortSignal.any", AbortSignal.any],
  ["AbortSignal.timeout", AbortSignal.timeout],
  ["Object.hasOwn", Object.hasOwn],
  ["uPlot", window.uPlot],
]) {
  if (!found) throw new Error(`${name} is missing`);
}

const NOT_A_KEY = new Set(["unknown-key", "forbidden"]);

const chart = new Chart();
let slots = new Slots();
let stack = null; // what the chart shows
let key = storedKey();
let rangeName = DEFAULT_RANGE;
let oldest = 0; // ms; before it no counts are kept, as the service said
let asOf = 0; // ms; of when the figures are, 0 while there are none

const poller = new Poller(refresh, () => rangeOf(rangeName).pauseSeconds);
const signIn = new SignIn(attempt);

/** Ask once and show what comes; tell whether anything came. */
async function refresh(signal) {
  try {
    show(await askKept(signal));
    return true;
  } catch (error) {
    const unanswered = unansweredBy(error);
    if (unanswered.kind !== "superseded") showFailure(unanswered);
    return false;
  }
}

/** An answer that is none, such as a proxy's, fails where it is shown. */
function unansweredBy(error) {
  if (error instanceof Unanswered) return error;
  console.error(error);
  return new Unanswered("failed");
}

/** Ask; when the service says that counts are not kept for so long, ask for as long as they are. */
async function askKept(signal) {
  try {
    return await ask(key, rangeOf(rangeName), oldest, signal);
  } catch (error) {
    const kept = Date.parse(error.problem?.oldest);
    if (!kept || kept === oldest) throw error;
    oldest = kept;
    return ask(key, rangeOf(rangeName), oldest, signal);
  }
}

function show({ sessions, users, store }) {
  asOf = Date.parse(sessions.as_of);
  const from = Date.parse(sessions.from);
  const isCut = oldest && from <= oldest;
  const userDays = span(Date.parse(users.from), Date.parse(users.to));
  stack = stackOf(sessions, slots);
  const { created, others_at_most } = users.definitions;
  define({ ...sessions.definitions, user_created: created, others_at_most });
  showTotals(sessions.totals, isCut ? `since ${day(from)}` : rangeOf(rangeName).words, userDays);
  chart.show(stack);
  if (byId("numbers").open) showNumbers(stack);
  const slotBySource = new Map(stack.series.map(({ label, slot }) => [label, slot]));
  showSources(sessions.sources, (source) => slotBySource.get(source) ?? "other");
  showUsers(users, userDays);
  showStore(store);
  setText(byId("span"), span(from, Date.parse(sessions.to)));
  setText(byId("as-of"), `As of ${second(asOf)} UTC`);
  byId("as-of").dataset.state = "good";
  byId("figures").classList.remove("stale");
  say("information", [isCut && keptFrom(from), !survivesReload && NOT_STORED].filter(Boolean).join(" "));
}

/** Say why there is nothing new. What was shown last stays, greyed. */
function showFailure(error) {
  byId("figures").classList.add("stale");
  byId("as-of").dataset.state = asOf ? "bad" : "";
  if (error.kind === "store") showStore(null);
  if (NOT_A_KEY.has(error.kind)) {
    poller.stop();
    forgetKey();
    say("", "");
    const figures = asOf ? `The figures below are of ${second(asOf)} UTC. ` : "";
    showSignedOut(`${wordsFor(error, asOf > 0)} ${figures}Sign in again.`);
  } else {
    sayStale(error, asOf);
  }
}

/** Try a key; return why it is refused, or nothing. A key is good when Redis alone keeps the figures back. */
async function attempt(candidate) {
  key = candidate;
  try {
    const answers = await askKept(new AbortController().signal);
    showSignedIn();
    show(answers);
  } catch (error) {
    const unanswered = unansweredBy(error);
    if (unanswered.kind !== "store") {
      showSignedOut();
      return wordsFor(unanswered);
    }
    showSignedIn();
  }
  keepKey(key);
  poller.start();
  byId("title").focus();
  return "";
}

function showSignedIn() {
  signIn.hide();
  byId("figures").hidden = byId("ranges").hidden = byId("as-of").hidden = byId("sign-out").hidden = false;
}

/** Show the form. The figures stay if there are any. */
function showSignedOut(reason = "") {
  byId("figures").hidden = byId("as-of").hidden = !asOf;
  byId("ranges").hidden = true;
  byId("sign-out").hidden = !asOf;
  signIn.show(reason);
}

/** Forget the key and everything that was shown. */
function signOut() {
  poller.stop();
  forgetKey();
  key = stack = null;
  asOf = oldest = 0;
  slots = new Slots();
  chart.clear();
  showTotals(null);
  showSources([], () => "");
  showUsers(null);
  showNumbers(null);
  showStore(null, { isKnown: false });
  for (const id of ["span", "as-of"]) setText(byId(id), "");
  say("", "");
  showSignedOut();
  signIn.focus();
}

/** Take the range from the address. */
function readRange() {
  const asked = location.hash.slice(1);
  rangeName = rangeOf(asked) ? asked : DEFAULT_RANGE;
  oldest = 0;
  byId("ranges").querySelector(`[value="${rangeName}"]`).checked = true;
}

byId("ranges").addEventListener("change", (event) => {
  history.replaceState(null, "", `#${event.target.value}`);
  readRange();
  poller.start();
});
window.addEventListener("hashchange", () => {
  readRange();
  if (!byId("ranges").hidden) poller.start();
});
byId("sign-out").addEventListener("click", signOut);
byId("numbers").addEventListener("toggle", () => byId("numbers").open && showNumbers(stack));

listen();
readRange();
if (key) {
  showSignedIn();
  poller.start();
} else {
  showSignedOut();
  signIn.focus();
}
byId("failure").hidden = true;
document.documentElement.dataset.started = ""; // start.js shows a notice where this is missing
