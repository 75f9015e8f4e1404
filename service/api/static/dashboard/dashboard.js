/**
 * The entry point: connects the sign-in form, the poller and the panels of the page.
 */

import { RequestFailed, fetchFigures } from "./api.js";
import { Chart } from "./chart.js";
import { readChoices, showChoices, watchChoices } from "./choices.js";
import { byId, find, setText } from "./dom.js";
import { formatDay, formatSpan, formatTimeWithSeconds } from "./format.js";
import { forgetKey, readKey, storeKey, survivesReload } from "./key_store.js";
import {
  NOT_STORED,
  describeAge,
  describeFailure,
  describeRetention,
  joinSentences,
  showNotice,
} from "./notice.js";
import { Poller } from "./poller.js";
import { getRange } from "./ranges.js";
import { clearRedis, describeMemoryAlarm, showRedis, showRedisDown } from "./redis_status.js";
import { createStack } from "./series.js";
import { SignInForm } from "./sign_in.js";
import { clearFigures, createState } from "./state.js";
import { showNumbers, showSources, showTotals, showUsers } from "./tables.js";
import { Tooltips, setDefinitions } from "./tooltips.js";

// Without this check, a missing feature fails at the first request, and the page would
// report a service that does not respond.
for (const [name, feature] of Object.entries({
  "AbortSignal.any": AbortSignal.any,
  "AbortSignal.timeout": AbortSignal.timeout,
  "Object.hasOwn": Object.hasOwn,
  uPlot: Reflect.get(window, "uPlot"),
})) {
  if (!feature) throw new Error(`${name} is missing`);
}

const state = createState(readKey());
const chart = new Chart();
const poller = new Poller(refresh, () => getRange(state.rangeName).pauseSeconds);
const form = new SignInForm(attempt);

/**
 * Request the figures and show them, or show why there are none.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether there are new figures
 */
async function refresh(signal) {
  try {
    show(await fetchWithinRetention(signal));
    return true;
  } catch (error) {
    const failure = toFailure(error);
    if (failure.kind !== "aborted") showFailure(failure);
    return false;
  }
}

/**
 * Return the error as a failed request. An answer of another shape, such as a proxy's,
 * throws other errors when it is shown.
 *
 * @param {unknown} error
 * @returns {RequestFailed}
 */
function toFailure(error) {
  if (error instanceof RequestFailed) return error;
  console.error(error);
  return new RequestFailed("failed");
}

/**
 * Return the figures of the range. The service rejects a range that begins before its
 * oldest counts and returns their start. The second request then begins there.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<import("./types.js").Figures>}
 */
async function fetchWithinRetention(signal) {
  try {
    return await fetchFigures(state, signal);
  } catch (error) {
    const oldestMs = error instanceof RequestFailed ? Date.parse(error.problem.oldest ?? "") : NaN;
    if (!oldestMs || oldestMs === state.oldestMs) throw error;
    state.oldestMs = oldestMs;
    return fetchFigures(state, signal);
  }
}

/** @param {import("./types.js").Figures} figures */
function show({ sessions, users, store }) {
  const fromMs = Date.parse(sessions.from);
  const isCut = state.oldestMs > 0 && fromMs <= state.oldestMs;
  const userDays = formatSpan(Date.parse(users.from), Date.parse(users.to));
  state.asOfMs = Date.parse(sessions.as_of);
  state.sessions = sessions;
  const { created, others_at_most } = users.definitions;
  setDefinitions({ ...sessions.definitions, user_created: created, others_at_most });
  const { tz: zone } = sessions;
  const range = isCut ? `since ${formatDay(fromMs, zone)}` : getRange(state.rangeName).label;
  showTotals(sessions.totals, range, userDays, zone);
  showSessions(sessions);
  showUsers(users, userDays);
  showRedis(store);
  setText(byId("span"), formatSpan(fromMs, Date.parse(sessions.to), zone));
  setText(byId("as-of"), `As of ${formatTimeWithSeconds(state.asOfMs, zone)} ${zone}`);
  byId("as-of").dataset.state = "good";
  byId("figures").classList.remove("stale");
  const alarm = describeMemoryAlarm(store);
  const notes = [isCut && describeRetention(fromMs, zone), !survivesReload && NOT_STORED];
  showNotice(alarm ? "warning" : "information", joinSentences(alarm, ...notes));
}

/**
 * Show the chart and the sources.
 *
 * @param {import("./types.js").SessionsAnswer} sessions
 */
function showSessions(sessions) {
  const stack = createStack(sessions, state.slots, state.figure);
  state.stack = stack;
  chart.show(stack);
  if (numbers.open) showNumbers(stack);
  const slotBySource = new Map(stack.series.map(({ label, slot }) => [label, slot]));
  showSources(sessions.sources, (source) => slotBySource.get(source) ?? "other");
}

/**
 * Show why there are no new figures. The last ones stay, grayed out.
 *
 * @param {RequestFailed} failure
 */
function showFailure(failure) {
  byId("figures").classList.add("stale");
  byId("as-of").dataset.state = state.asOfMs ? "bad" : "";
  if (failure.kind === "store-unavailable") showRedisDown();
  const age = describeAge(state.asOfMs, state.zone);
  if (failure.kind === "unknown-key" || failure.kind === "forbidden") {
    poller.stop();
    forgetKey();
    showNotice("information", "");
    const reason = describeFailure(failure, state.asOfMs > 0);
    showSignedOut(joinSentences(reason, age, "Sign in again."));
  } else {
    const retry = "The dashboard retries automatically.";
    showNotice("warning", joinSentences(describeFailure(failure), age, retry));
  }
}

/**
 * Sign in with a key. The service checks keys before it asks Redis, so a key is also
 * valid when Redis is down or the service is overloaded.
 *
 * @param {string} key
 * @returns {Promise<string>} why the key is rejected, or an empty string
 */
async function attempt(key) {
  state.key = key;
  try {
    const figures = await fetchWithinRetention(new AbortController().signal);
    showSignedIn();
    show(figures);
  } catch (error) {
    const failure = toFailure(error);
    if (failure.kind !== "store-unavailable" && failure.kind !== "overloaded") {
      showSignedOut();
      return describeFailure(failure);
    }
    showSignedIn();
  }
  storeKey(key);
  poller.start();
  byId("title").focus();
  return "";
}

function showSignedIn() {
  form.hide();
  for (const id of ["figures", "as-of", "sign-out"]) byId(id).hidden = false;
  showChoices(true);
}

/**
 * Show the form, and the last figures if there are any.
 *
 * @param {string} [reason] why the operator has to sign in again
 */
function showSignedOut(reason = "") {
  for (const id of ["figures", "as-of", "sign-out"]) byId(id).hidden = !state.asOfMs;
  showChoices(false);
  form.show(reason);
}

/** Remove the key and all figures from the page. */
function signOut() {
  poller.stop();
  forgetKey();
  clearFigures(state);
  chart.clear();
  showTotals(null);
  showSources([], () => "");
  showUsers(null);
  showNumbers(null);
  clearRedis();
  for (const id of ["span", "as-of"]) setText(byId(id), "");
  showNotice("information", "");
  showSignedOut();
  form.focus();
}

const numbers = find(document, "#numbers", HTMLDetailsElement);
numbers.addEventListener("toggle", () => {
  if (numbers.open) showNumbers(state.stack);
});
watchChoices(
  state,
  () => {
    if (!byId("ranges").hidden) poller.start();
  },
  () => {
    if (state.sessions) showSessions(state.sessions);
  },
);
byId("sign-out").addEventListener("click", signOut);

new Tooltips();
readChoices(state);
if (state.key) {
  showSignedIn();
  poller.start();
} else {
  showSignedOut();
  form.focus();
}
byId("failure").hidden = true;
document.documentElement.dataset.started = ""; // without it, start.js shows an error
