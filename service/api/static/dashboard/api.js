/** Requests to the analytics API, and the ways in which they fail. */

import { getRange, startOf } from "./ranges.js";

const ANALYTICS_PATH = "/v1/playouts/tracking/analytics";
const LISTED_USERS = 10;
const TIMEOUT_MS = 10_000;

/** @type {Record<number, import("./types.js").FailureKind>} */
const KIND_BY_STATUS = { 401: "unknown-key", 403: "forbidden", 422: "invalid", 503: "store-unavailable" };
const OVERLOADED = "urn:jay:problem:overloaded";

/**
 * A request without a usable answer.
 *
 * `kind` is one of:
 * - `unreachable`: the service does not respond
 * - `unknown-key`: no API key of the service matches
 * - `forbidden`: the key lacks the scope `analytics`
 * - `invalid`: the service rejects the query
 * - `store-unavailable`: the service cannot reach Redis
 * - `overloaded`: the service has more requests than it can serve in time
 * - `aborted`: the dashboard canceled the request
 * - `failed`: any other answer
 *
 * `status` is the HTTP status, or 0. `problem` is the problem document, or an empty
 * object.
 */
export class RequestFailed extends Error {
  /**
   * @param {import("./types.js").FailureKind} kind
   * @param {number} [status]
   * @param {import("./types.js").Problem} [problem]
   */
  constructor(kind, status = 0, problem = {}) {
    super(problem.detail ?? kind);
    this.kind = kind;
    this.status = status;
    this.problem = problem;
  }
}

/**
 * Return the figures of the selected range. Updates the clock skew of the state.
 *
 * @param {import("./types.js").State} state
 * @param {AbortSignal} signal
 * @returns {Promise<import("./types.js").Figures>}
 * @throws {RequestFailed}
 */
export async function fetchFigures(state, signal) {
  if (!isHeaderValue(state.key)) throw new RequestFailed("unknown-key");
  const range = getRange(state.rangeName);
  const from = startOf(range, Date.now() + state.clockSkewMs, state.oldestMs, state.zone);
  const [sessions, users, store] = await Promise.all([
    get(state, "sessions", { from, interval: range.interval, tz: state.zone }, signal),
    get(state, "users", { from, limit: String(LISTED_USERS) }, signal),
    get(state, "store", {}, signal),
  ]);
  return /** @type {import("./types.js").Figures} */ ({ sessions, users, store });
}

/**
 * Return whether a key can be sent in a header: printable ASCII without spaces. `fetch`
 * throws for other strings, which would look like a network error.
 *
 * @param {string} key
 * @returns {boolean}
 */
export function isHeaderValue(key) {
  return /^[\x21-\x7e]+$/.test(key);
}

/**
 * @param {import("./types.js").State} state
 * @param {string} name
 * @param {Record<string, string>} query
 * @param {AbortSignal} signal
 * @returns {Promise<object>}
 */
async function get(state, name, query, signal) {
  let response;
  let body;
  try {
    response = await fetch(`${ANALYTICS_PATH}/${name}?${new URLSearchParams(query)}`, {
      headers: { "X-API-Key": state.key },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      redirect: "error", // a redirect would send the key to another address
    });
    body = await response.text();
  } catch {
    throw new RequestFailed(signal.aborted ? "aborted" : "unreachable");
  }
  const serviceMs = Date.parse(response.headers.get("Date") ?? "");
  if (serviceMs) state.clockSkewMs = serviceMs - Date.now();
  const content = parseObject(body);
  if (response.ok && content) return content;
  throw new RequestFailed(failureKind(response.status, content), response.status, content);
}

/**
 * Return the kind of an error. There are two with the status 503.
 *
 * @param {number} status
 * @param {import("./types.js").Problem} [problem]
 * @returns {import("./types.js").FailureKind}
 */
export function failureKind(status, problem) {
  return problem?.type === OVERLOADED ? "overloaded" : (KIND_BY_STATUS[status] ?? "failed");
}

/**
 * Return a JSON object, or undefined for anything else. A proxy can answer with a page
 * of HTML.
 *
 * @param {string} body
 * @returns {object | undefined}
 */
export function parseObject(body) {
  try {
    const content = JSON.parse(body);
    return typeof content === "object" && content ? content : undefined;
  } catch {
    return undefined;
  }
}
