/** What the dashboard asks of the service, and what can become of a question. */

import { startOf } from "./ranges.js";

const ANALYTICS = "/v1/playouts/tracking/analytics";
const LISTED_USERS = 10;
const TIMEOUT_MS = 10_000;
const KIND_BY_STATUS = { 401: "unknown-key", 403: "forbidden", 422: "invalid", 503: "store" };

let skewMs = 0; // the service's clock less this machine's: ranges are of the service's time

/**
 * A question without an answer. `kind`: unreachable, unknown-key, forbidden, invalid, store (Redis cannot be asked),
 * failed (anything else), superseded (nobody waits for it any more). `problem`: the service's words, if it had any.
 */
export class Unanswered extends Error {
  constructor(kind, status = 0, problem = {}) {
    super(problem.detail ?? kind);
    Object.assign(this, { kind, status, problem });
  }
}

/**
 * Return all figures of a range, not before `oldest` (ms): `sessions`, `users` and `store` as the API has them.
 * Throws Unanswered.
 */
export async function ask(key, range, oldest, signal) {
  if (!/^[\x21-\x7e]+$/.test(key)) throw new Unanswered("unknown-key"); // no header can carry it
  const from = new Date(startOf(range, Date.now() + skewMs, oldest)).toISOString().slice(0, 19) + "Z";
  const [sessions, users, store] = await Promise.all([
    get("sessions", { from, interval: range.interval }, key, signal),
    get("users", { from, limit: LISTED_USERS }, key, signal),
    get("store", {}, key, signal),
  ]);
  return { sessions, users, store };
}

async function get(name, query, key, signal) {
  let response;
  let answer;
  try {
    response = await fetch(`${ANALYTICS}/${name}?${new URLSearchParams(query)}`, {
      headers: { "X-API-Key": key },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      redirect: "error", // the key goes nowhere else
    });
    answer = await response.text();
  } catch {
    throw new Unanswered(signal.aborted ? "superseded" : "unreachable");
  }
  const sent = Date.parse(response.headers.get("Date"));
  if (sent) skewMs = sent - Date.now();
  const content = parsed(answer);
  if (response.ok && content) return content;
  throw new Unanswered(KIND_BY_STATUS[response.status] ?? "failed", response.status, content);
}

/** Return a JSON object, or undefined: a proxy in between may answer with a page of its own. */
function parsed(text) {
  try {
    const content = JSON.parse(text);
    return typeof content === "object" && content ? content : undefined;
  } catch {
    return undefined;
  }
}
