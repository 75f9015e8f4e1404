/** The tables: sources, users, the numbers of the chart, and what Redis says of itself. All change in place. */

import { byId, element, fit, setText } from "./dom.js";
import { ranked } from "./series.js";
import { UNKNOWN, about, bytes, day, dayOfYear, duration, hour, integer, share } from "./text.js";

/** Show the totals and of which time they are; nothing without an answer. */
export function showTotals(totals, words = "", userDays = "") {
  for (const name of ["active", "created", "ended"]) {
    setText(byId(`total-${name}`), totals ? integer(totals[name]) : UNKNOWN);
  }
  setText(byId("total-unique_users"), totals ? about(totals.unique_users) : UNKNOWN);
  for (const name of ["created", "ended"]) setText(byId(`note-${name}`), words);
  setText(byId("note-unique_users"), userDays);
}

const SOON_SECONDS = 86_400; // a forecast that is nearer is shown in red

/** Show all sources; `slotOf(source)` names the colour in which the chart has it. */
export function showSources(sources, slotOf) {
  const whole = sources.reduce((sum, figures) => sum + figures.created, 0);
  const largest = Math.max(...sources.map((figures) => figures.created));
  const rows = fit(byId("sources").querySelector("tbody"), Math.max(1, sources.length), sourceRow);
  setText(byId("sources-count"), sources.length === 1 ? "1 source" : `${integer(sources.length)} sources`);
  rows[0].classList.toggle("empty", !sources.length);
  if (!sources.length) fill(rows[0], ["None yet", "", "", "", "", ""]);
  for (const [index, figures] of ranked(sources).entries()) {
    const { source, active, created, ended, unique_users } = figures;
    const texts = [source, share(created, whole), ...[active, created, ended].map(integer), about(unique_users)];
    fill(rows[index], texts);
    rows[index].dataset.slot = slotOf(source);
    rows[index].querySelector(".fill").style.width = `${largest ? (100 * created) / largest : 0}%`;
  }
}

function sourceRow() {
  const cell = (kind, ...content) => element("td", { role: "cell", class: kind }, ...content);
  const numbers = ["active", "created", "ended", "users"].map(() => cell("number", text()));
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "fill" }));
  const name = element("th", { role: "rowheader", scope: "row" }, element("span", { class: "swatch" }), text("bdi"));
  return element("tr", { role: "row" }, name, cell("share", track, text()), ...numbers);
}

/** Show the users with the most sessions; nothing without an answer. */
export function showUsers(answer, days = "") {
  const users = answer?.users ?? [];
  const rows = fit(byId("users").querySelector("tbody"), Math.max(1, users.length), userRow);
  rows[0].classList.toggle("empty", !users.length);
  if (!users.length) fill(rows[0], ["None yet", "", ""]);
  for (const [index, { user_id, created }] of users.entries()) {
    const uncertain = created.at_most - created.at_least;
    fill(rows[index], [user_id, integer(created.at_least), uncertain ? `up to ${integer(uncertain)} more` : "exact"]);
  }
  setText(byId("users-others"), answer ? `at most ${integer(answer.others_at_most)} each` : UNKNOWN);
  setText(byId("users-span"), days);
}

function userRow() {
  const cell = (kind) => element("td", { class: kind }, text());
  return element("tr", {}, element("th", { scope: "row" }, text("bdi")), cell("number"), cell("number bound"));
}

/** Show the numbers behind the chart, the newest first; nothing without a stack. */
export function showNumbers(stack) {
  const series = stack?.series ?? [];
  const head = ["Time (UTC)", "All", ...series.map((one) => one.label)];
  const column = () => element("th", { scope: "col" }, text("bdi"));
  const columns = fit(byId("numbers").querySelector("thead tr"), head.length, column);
  for (const [index, label] of head.entries()) {
    columns[index].className = index ? "number" : "";
    setText(columns[index].firstChild, label);
  }
  const body = byId("numbers").querySelector("tbody");
  if (body.firstChild?.childElementCount !== head.length) body.replaceChildren();
  const rows = fit(body, stack?.starts.length ?? 0, () => numbersRow(head.length));
  for (const row of rows) {
    const index = rows.length - 1 - row.sectionRowIndex;
    const numbers = [stack.totals[index], ...series.map((one) => one.values[index])];
    fill(row, [intervalOf(stack, index), ...numbers.map(integer)]);
  }
}

function numbersRow(columns) {
  const cells = Array.from({ length: columns - 1 }, () => element("td", { class: "number" }, text()));
  return element("tr", {}, element("th", { scope: "row" }, text()), ...cells);
}

/** Return the words for an interval of a stack; that of now is not over. */
export function intervalOf({ starts, step, as_of }, index) {
  const start = starts[index];
  const isHour = step < 86_400_000;
  const words = isHour ? `${day(start)}, ${hour(start)}–${hour(start + step)}` : dayOfYear(start);
  return start + step > as_of ? `${words}, so far` : words;
}

/** Show the state of Redis; without one, that it cannot be asked, or nothing when `isKnown` is false. */
export function showStore(state, { isKnown = true } = {}) {
  const told = (value, words) => (value === null || value === undefined ? "not told" : words(value));
  const state_ = byId("store-state");
  state_.dataset.state = state ? "good" : isKnown ? "bad" : "";
  setText(state_, state ? "answers" : isKnown ? "cannot be asked" : UNKNOWN);
  if (!state && isKnown) return; // what it said last stays, greyed with the rest
  const { memory_used_bytes: used, memory_limit_bytes: limit } = state ?? {};
  const isUnlimited = limit === 0;
  const memory = () => {
    if (isUnlimited) return `${bytes(used)}, no limit is set`;
    return limit ? `${bytes(used)} of ${bytes(limit)}` : bytes(used);
  };
  const full = (may) => (may ? "may drop sessions" : isUnlimited ? "the system ends Redis" : "keeps all, refuses new ones");
  const forecast = () => {
    const seconds = state.memory_full_seconds;
    if (seconds !== null && seconds !== undefined) return seconds ? `in ${duration(seconds)}` : "now";
    return limit ? "no forecast" : "no limit is known";
  };
  const texts = {
    environment: () => told(state.environment, String),
    server: () => told(state.server, String),
    answered: () => `${state.answered_in_ms} ms`,
    memory: () => told(used, memory),
    kept: () => told(state.append_only_file, (is) => (is ? "yes, append-only file" : "no, append-only file is off")),
    forecast,
    full: () => told(state.may_evict, full),
  };
  for (const [name, words] of Object.entries(texts)) setText(byId(`store-${name}`), state ? words() : UNKNOWN);
  byId("store-kept").classList.toggle("bad", state?.append_only_file === false);
  byId("store-memory").classList.toggle("bad", isUnlimited);
  byId("store-forecast").classList.toggle("bad", (state?.memory_full_seconds ?? SOON_SECONDS) < SOON_SECONDS);
  byId("store-full").classList.toggle("bad", state?.may_evict === true || isUnlimited);
  const warnings = state?.warnings ?? [];
  const items = fit(byId("store-warnings"), warnings.length, () => element("li", { class: "bad" }));
  for (const [index, { problem, advice }] of warnings.entries()) setText(items[index], `${problem}; ${advice}`);
}

/** Set the texts of a row's cells; each cell has one element for its text, its last. */
function fill(row, texts) {
  for (const [index, words] of texts.entries()) setText(row.cells[index].lastElementChild, words);
}

function text(name = "span") {
  return element(name);
}
