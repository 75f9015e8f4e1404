/** The notice at the top of the page: old figures, a shorter range, a full Redis. */

import { byId, setText } from "./dom.js";
import { formatDate, formatTimeWithSeconds } from "./format.js";

export const NOT_STORED = "This browser blocks storage, so you have to sign in again after a reload.";

/**
 * Return why a request failed, as a sentence for the operator.
 *
 * @param {import("./api.js").RequestFailed} failure
 * @param {boolean} [wasAccepted] whether the service accepted the key before
 * @returns {string}
 */
export function describeFailure({ kind, status, problem }, wasAccepted = false) {
  switch (kind) {
    case "unreachable":
      return "The service does not respond.";
    case "store-unavailable":
      return "The service cannot reach Redis.";
    case "overloaded":
      return "The service has more requests than it can serve in time.";
    case "unknown-key":
      return `The service ${wasAccepted ? "no longer accepts" : "does not accept"} this key.`;
    case "forbidden":
      return joinSentences("This key may not read counts.", problem.detail);
    default:
      if (!status) return "The service returned an invalid answer.";
      return joinSentences(`The service returned an error (status ${status}).`, problem.detail);
  }
}

/**
 * Return the age of the figures on the page as a sentence.
 *
 * @param {number} asOfMs 0 where the page shows no figures
 * @param {string} zone
 * @returns {string}
 */
export function describeAge(asOfMs, zone) {
  if (!asOfMs) return "";
  return `The figures below are from ${formatTimeWithSeconds(asOfMs, zone)} ${zone}, ${formatDate(asOfMs, zone)}.`;
}

/**
 * Return the notice for figures that cover less than the selected range.
 *
 * @param {number} startMs
 * @param {string} zone
 * @returns {string}
 */
export function describeRetention(startMs, zone) {
  return `The figures begin on ${formatDate(startMs, zone)} because the service keeps no older counts.`;
}

/**
 * Join the sentences that are not empty.
 *
 * @param {(string | undefined | false)[]} sentences
 * @returns {string}
 */
export function joinSentences(...sentences) {
  return sentences.filter(Boolean).join(" ");
}

/**
 * Show a notice. An empty message removes it. Screen readers announce a changed
 * message.
 *
 * @param {"information" | "warning"} kind
 * @param {string} message
 */
export function showNotice(kind, message) {
  const notice = byId("notice");
  notice.className = message && kind;
  setText(notice, message);
}
