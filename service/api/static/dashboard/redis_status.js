/**
 * The Redis panel: the state of Redis, the memory forecast, and warnings about
 * settings.
 */

import { byId, element, resizeChildren, setText } from "./dom.js";
import { UNKNOWN, formatBytes, formatDuration, formatSentence } from "./format.js";

/** A memory forecast below one day is an alarm, as in `jay-tracking doctor`. */
const ALARM_SECONDS = 86_400;
const UNREPORTED = "not reported";

/** The values of the panel, by the last part of their ids. */
const NAMES = /** @type {const} */ ([
  "environment",
  "server",
  "response-time",
  "memory",
  "persistence",
  "forecast",
  "full",
]);

/**
 * Show the state of Redis.
 *
 * @param {import("./types.js").StoreAnswer} store
 */
export function showRedis(store) {
  showResponding("good", "responding");
  const values = describeRedis(store);
  for (const name of NAMES) {
    const { value, isAlarming = false } = values[name];
    setText(byId(`store-${name}`), value);
    byId(`store-${name}`).classList.toggle("bad", isAlarming);
  }
  showMemoryShare(store);
  showWarnings(store.warnings);
}

/** Show that Redis does not respond. The last values stay. The page grays them out. */
export function showRedisDown() {
  showResponding("bad", "not responding");
}

/** Remove everything that was shown. */
export function clearRedis() {
  showResponding("", UNKNOWN);
  for (const name of NAMES) {
    setText(byId(`store-${name}`), UNKNOWN);
    byId(`store-${name}`).classList.remove("bad");
  }
  byId("store-memory-share").hidden = true;
  showWarnings([]);
}

/**
 * Return the values of the panel.
 *
 * @param {import("./types.js").StoreAnswer} store
 * @returns {Record<typeof NAMES[number], import("./types.js").StatusValue>}
 */
export function describeRedis(store) {
  return {
    environment: { value: store.environment ?? UNREPORTED },
    server: { value: store.server ?? UNREPORTED },
    "response-time": { value: `${store.answered_in_ms} ms` },
    memory: { value: describeMemory(store), isAlarming: store.memory_limit_bytes === 0 },
    persistence: describePersistence(store.append_only_file),
    forecast: { value: describeForecast(store.memory_full_seconds), isAlarming: isMemoryFullSoon(store) },
    full: describeFullMemory(store),
  };
}

/**
 * @param {import("./types.js").StoreAnswer} store
 * @returns {string}
 */
function describeMemory({ memory_used_bytes: used, memory_limit_bytes: limit }) {
  if (used === null) return UNREPORTED;
  if (limit === 0) return `${formatBytes(used)}, no limit is set`;
  return limit ? `${formatBytes(used)} of ${formatBytes(limit)}` : formatBytes(used);
}

/**
 * @param {boolean | null} isOn
 * @returns {import("./types.js").StatusValue}
 */
function describePersistence(isOn) {
  if (isOn === null) return { value: UNREPORTED };
  return isOn ? { value: "append-only file" } : { value: "append-only file is off", isAlarming: true };
}

/**
 * @param {number | null} seconds
 * @returns {string}
 */
function describeForecast(seconds) {
  if (seconds === null) return "no forecast";
  return seconds ? `in ${formatDuration(seconds)}` : "now";
}

/**
 * Return what happens when memory is full.
 *
 * @param {import("./types.js").StoreAnswer} store
 * @returns {import("./types.js").StatusValue}
 */
function describeFullMemory({ may_evict: mayEvict, memory_limit_bytes: limit }) {
  if (limit === 0) return { value: "the system kills Redis", isAlarming: true };
  if (mayEvict === null) return { value: UNREPORTED };
  return mayEvict ? { value: "may evict sessions", isAlarming: true } : { value: "rejects new sessions" };
}

/**
 * @param {import("./types.js").StoreAnswer} store
 * @returns {boolean}
 */
function isMemoryFullSoon({ memory_full_seconds: seconds }) {
  return seconds !== null && seconds < ALARM_SECONDS;
}

/**
 * Return a warning when Redis runs out of memory within a day, or an empty string.
 *
 * @param {import("./types.js").StoreAnswer} store
 * @returns {string}
 */
export function describeMemoryAlarm(store) {
  if (!isMemoryFullSoon(store)) return "";
  const seconds = store.memory_full_seconds;
  const consequence = store.may_evict ? "may evict sessions" : "rejects new sessions";
  if (!seconds) return `The memory of Redis is full. Redis ${consequence}.`;
  const forecast = `Redis runs out of memory in ${formatDuration(seconds)} at the current rate.`;
  return `${forecast} After that, Redis ${consequence}.`;
}

/**
 * Return the used part of the memory limit in percent, or null where it is not known.
 *
 * @param {import("./types.js").StoreAnswer} store
 * @returns {number | null}
 */
export function memoryShare({ memory_used_bytes: used, memory_limit_bytes: limit }) {
  return used === null || !limit ? null : Math.min(100, (100 * used) / limit);
}

/** @param {import("./types.js").StoreAnswer} store */
function showMemoryShare(store) {
  const track = byId("store-memory-share");
  const share = memoryShare(store);
  track.hidden = share === null;
  track.dataset.state = isMemoryFullSoon(store) ? "bad" : "";
  const fill = track.firstElementChild;
  if (fill instanceof HTMLElement) fill.style.width = `${share ?? 0}%`;
}

/** @param {import("./types.js").Warning[]} warnings */
function showWarnings(warnings) {
  const items = resizeChildren(byId("store-warnings"), warnings.length, () =>
    element("li", {}, element("p"), element("p", { class: "hint" })),
  );
  for (const [index, { problem, advice }] of warnings.entries()) {
    setText(items[index].firstElementChild, formatSentence(problem));
    setText(items[index].lastElementChild, formatSentence(advice));
  }
}

/**
 * @param {"good" | "bad" | ""} state
 * @param {string} label
 */
function showResponding(state, label) {
  byId("store-state").dataset.state = state;
  setText(byId("store-state"), label);
}
