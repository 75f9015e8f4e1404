/** What is wrong, in words: why there are no new figures, and of when those are that stand there. */

import { byId, setText } from "./dom.js";
import { dayOfYear, second } from "./text.js";

const AGAIN = "The dashboard keeps trying.";

export const NOT_STORED = "This browser blocks storage, so the key is only in this page: a reload asks for it again.";

/** Return why a question was not answered, for the reader; `wasAccepted` tells whether the key was good before. */
export function wordsFor({ kind, status, problem }, wasAccepted = false) {
  switch (kind) {
    case "unreachable":
      return "The service does not answer.";
    case "store":
      return "Redis cannot be asked: the service answers, but its session store does not.";
    case "unknown-key":
      return `The service ${wasAccepted ? "no longer accepts" : "does not accept"} this key.`;
    case "forbidden":
      return `The service does not let this key read counts. ${problem?.detail ?? ""}`.trim();
    default:
      if (!status) return "The service's answer cannot be understood.";
      return `The service has no figures to give (status ${status}). ${problem?.detail ?? ""}`.trim();
  }
}

/** Say that figures are not renewed; `asOf` in ms, or 0 when there are none. */
export function sayStale(error, asOf) {
  const figures = asOf ? `The figures below are of ${second(asOf)} UTC, ${dayOfYear(asOf)}.` : "";
  say("warning", [wordsFor(error), figures, AGAIN].filter(Boolean).join(" "));
}

/** Return that less is shown than was asked for. */
export function keptFrom(start) {
  return `Counts are not kept for so long here: the figures begin on ${dayOfYear(start)}.`;
}

/** Say something, or with an empty text nothing. It is read aloud when it changes. */
export function say(kind, text) {
  const notice = byId("notice");
  notice.className = text && kind;
  setText(notice, text);
}
