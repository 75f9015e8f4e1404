import assert from "node:assert/strict";
import test from "node:test";

import { RequestFailed, failureKind, isHeaderValue, parseObject } from "../../service/api/static/dashboard/api.js";
import {
  describeAge,
  describeFailure,
  describeRetention,
  joinSentences,
} from "../../service/api/static/dashboard/notice.js";
import { retrySeconds } from "../../service/api/static/dashboard/poller.js";
import { clearFigures, createState } from "../../service/api/static/dashboard/state.js";

test("each kind of failure has its own sentence", () => {
  const sentence = (...parts) => describeFailure(new RequestFailed(...parts));
  assert.equal(sentence("unreachable"), "The service does not respond.");
  assert.equal(sentence("store-unavailable", 503), "The service cannot reach Redis.");
  assert.equal(sentence("overloaded", 503), "The service has more requests than it can serve in time.");
  assert.equal(sentence("unknown-key", 401), "The service does not accept this key.");
  const revoked = describeFailure(new RequestFailed("unknown-key", 401), true);
  assert.equal(revoked, "The service no longer accepts this key.");
  const forbidden = sentence("forbidden", 403, { detail: "Use another key." });
  assert.equal(forbidden, "This key may not read counts. Use another key.");
  assert.equal(sentence("failed"), "The service returned an invalid answer.");
  assert.equal(sentence("failed", 502), "The service returned an error (status 502).");
});

test("an overload is not shown as an outage of Redis", () => {
  assert.equal(failureKind(503, { type: "urn:jay:problem:overloaded" }), "overloaded");
  assert.equal(failureKind(503, { type: "urn:jay:problem:store-unavailable" }), "store-unavailable");
  assert.equal(failureKind(503), "store-unavailable"); // of a proxy
  assert.equal(failureKind(502), "failed");
});

test("old figures have their time, and no figures have none", () => {
  const age = describeAge(Date.parse("2026-01-31T17:30:00Z"), "UTC");
  assert.equal(age, "The figures below are from 17:30:00 UTC, 31 Jan 2026.");
  assert.equal(describeAge(0, "UTC"), "");
});

test("a shorter range is explained", () => {
  const expected = "The figures begin on 24 Jan 2026 because the service keeps no older counts.";
  assert.equal(describeRetention(Date.parse("2026-01-24"), "UTC"), expected);
});

test("empty sentences are left out", () => {
  assert.equal(joinSentences("One.", "", false, undefined, "Two."), "One. Two.");
});

test("a key that no header can carry is not sent", () => {
  assert.equal(isHeaderValue("demo-operator-key"), true);
  for (const key of ["", "two words", "schlüssel", "line\nbreak"]) assert.equal(isHeaderValue(key), false);
});

test("only a JSON object is an answer", () => {
  assert.deepEqual(parseObject('{"as_of": 1}'), { as_of: 1 });
  for (const body of ["", "null", "1", "<h1>Bad gateway</h1>"]) assert.equal(parseObject(body), undefined);
});

test("requests after errors get rarer", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 50].map(retrySeconds), [2, 4, 8, 15, 15, 15]);
});

test("signing out keeps the choices and the clock skew only", () => {
  const choices = { rangeName: "7d", zone: "Europe/Berlin", figure: "active" };
  const shown = { ...choices, asOfMs: 1, oldestMs: 2, clockSkewMs: 3, stack: {}, sessions: {} };
  const state = Object.assign(createState("secret"), shown);
  state.slots.assign(["web"]);
  clearFigures(state);
  assert.deepEqual(state, { ...createState(""), ...choices, clockSkewMs: 3 });
  assert.deepEqual([...state.slots.assign(["tv"])], [["tv", 1]]);
});
