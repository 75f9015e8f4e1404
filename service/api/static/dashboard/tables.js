/** The totals and the tables of sources, users and numbers. They change in place. */

import { byId, element, find, resizeChildren, setText } from "./dom.js";
import { UNKNOWN, formatDay, formatEstimate, formatInteger, formatShare, formatTime } from "./format.js";
import { formatInterval, rankSources } from "./series.js";
import { UTC } from "./zones.js";

/**
 * Show the totals, or dashes for null.
 *
 * @param {import("./types.js").Totals | null} totals
 * @param {string} [range] the range that the totals cover
 * @param {string} [userDays] the days that the unique users cover
 * @param {string} [zone]
 */
export function showTotals(totals, range = "", userDays = "", zone = UTC) {
  setText(byId("total-active"), totals ? formatInteger(totals.active) : UNKNOWN);
  setText(byId("total-created"), totals ? formatInteger(totals.created) : UNKNOWN);
  setText(byId("total-ended"), totals ? formatInteger(totals.ended) : UNKNOWN);
  setText(byId("total-unique_users"), totals ? formatEstimate(totals.unique_users) : UNKNOWN);
  setText(byId("total-consent_given"), totals ? formatInteger(totals.consent_given) : UNKNOWN);
  setText(byId("total-consent_withdrawn"), totals ? formatInteger(totals.consent_withdrawn) : UNKNOWN);
  const { peak_active: peak, peak_at } = totals ?? {};
  const at = peak_at ? Date.parse(peak_at) : 0;
  setText(byId("total-expired"), totals ? formatKnown(totals.expired) : UNKNOWN);
  setText(byId("note-active"), at && peak ? `peak ${formatKnown(peak)}, ${formatDay(at, zone)}, ${formatTime(at, zone)}` : "");
  setText(byId("note-expired"), range);
  setText(byId("note-created"), range);
  setText(byId("note-ended"), range);
  setText(byId("note-unique_users"), userDays);
  setText(byId("note-consent_given"), range);
  setText(byId("note-consent_withdrawn"), range);
}

/**
 * @param {number | null | undefined} number
 * @returns {string}
 */
function formatKnown(number) {
  return number === null || number === undefined ? UNKNOWN : formatInteger(number);
}

/**
 * Show all sources.
 *
 * @param {import("./types.js").SourceTotals[]} sources
 * @param {(source: string) => import("./types.js").Slot} slotOf returns the color of a
 *   source
 */
export function showSources(sources, slotOf) {
  const sum = sources.reduce((total, { created }) => total + created, 0);
  const largest = Math.max(...sources.map(({ created }) => created));
  const rows = resizeChildren(bodyOf("sources"), Math.max(1, sources.length), createSourceRow);
  setText(byId("sources-count"), sources.length === 1 ? "1 source" : `${formatInteger(sources.length)} sources`);
  rows[0].classList.toggle("empty", !sources.length);
  if (!sources.length) fillRow(rows[0], ["No sources yet", "", "", "", "", ""]);
  for (const [index, { source, active, created, ended, unique_users }] of rankSources(sources).entries()) {
    const row = rows[index];
    const counts = [active, created, ended].map(formatInteger);
    fillRow(row, [source, formatShare(created, sum), ...counts, formatEstimate(unique_users)]);
    row.dataset.slot = String(slotOf(source));
    find(row, ".fill", HTMLElement).style.width = `${largest ? (100 * created) / largest : 0}%`;
  }
}

/** @returns {HTMLElement} */
function createSourceRow() {
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "fill" }));
  const number = () => element("td", { role: "cell", class: "number" }, element("span"));
  return element(
    "tr",
    { role: "row" },
    element("th", { role: "rowheader", scope: "row" }, element("span", { class: "swatch" }), element("bdi")),
    element("td", { role: "cell", class: "share" }, track, element("span")),
    number(),
    number(),
    number(),
    number(),
  );
}

/**
 * Show the users with the most sessions, or an empty table for null.
 *
 * @param {import("./types.js").UsersAnswer | null} answer
 * @param {string} [days] the days that the numbers cover
 */
export function showUsers(answer, days = "") {
  const users = answer?.users ?? [];
  const rows = resizeChildren(bodyOf("users"), Math.max(1, users.length), createUserRow);
  rows[0].classList.toggle("empty", !users.length);
  if (!users.length) fillRow(rows[0], ["No users yet", "", ""]);
  for (const [index, { user_id, created }] of users.entries()) {
    const spread = created.at_most - created.at_least;
    const error = spread ? `up to ${formatInteger(spread)} more` : "exact";
    fillRow(rows[index], [user_id, formatInteger(created.at_least), error]);
  }
  const others = answer?.others_at_most ? `at most ${formatInteger(answer.others_at_most)} each` : "none";
  setText(byId("users-others"), answer ? others : UNKNOWN);
  setText(byId("users-span"), days);
}

/** @returns {HTMLElement} */
function createUserRow() {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, element("bdi")),
    element("td", { class: "number" }, element("span")),
    element("td", { class: "number bound" }, element("span")),
  );
}

/**
 * Show the numbers behind the chart, newest first, or an empty table for null.
 *
 * @param {import("./types.js").Stack | null} stack
 */
export function showNumbers(stack) {
  const { figure = "created", zone = UTC, series = [] } = stack ?? {};
  const labels = [`Time (${zone})`, "All", ...series.map(({ label }) => label)];
  setText(byId("numbers-caption"), `Sessions ${figure}, by time (${zone}) and source`);
  const head = find(byId("numbers"), "thead tr", HTMLElement);
  const columns = resizeChildren(head, labels.length, () => element("th", { scope: "col" }, element("bdi")));
  for (const [index, label] of labels.entries()) {
    columns[index].className = index ? "number" : "";
    setText(columns[index].firstChild, label);
  }
  const body = bodyOf("numbers");
  if (body.firstElementChild?.childElementCount !== labels.length) body.replaceChildren();
  const count = stack?.startsMs.length ?? 0;
  const rows = resizeChildren(body, count, () => createNumbersRow(labels.length));
  if (!stack) return;
  for (const [position, row] of rows.entries()) {
    const index = count - 1 - position;
    const numbers = [stack.totals[index], ...stack.series.map(({ values }) => values[index])];
    fillRow(row, [formatInterval(stack, index), ...numbers.map(formatInteger)]);
  }
}

/**
 * @param {number} columns
 * @returns {HTMLElement}
 */
function createNumbersRow(columns) {
  const row = element("tr", {}, element("th", { scope: "row" }, element("span")));
  resizeChildren(row, columns, () => element("td", { class: "number" }, element("span")));
  return row;
}

/**
 * @param {string} id the id of the section around the table
 * @returns {HTMLElement}
 */
function bodyOf(id) {
  return find(byId(id), "tbody", HTMLElement);
}

/**
 * Set the contents of a row. The last element of each cell shows the cell's content.
 *
 * @param {HTMLElement} row
 * @param {string[]} contents
 */
function fillRow(row, contents) {
  for (const [index, content] of contents.entries()) setText(row.children[index].lastElementChild, content);
}
