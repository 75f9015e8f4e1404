import assert from "node:assert/strict";
import test from "node:test";

import { describeMemoryAlarm, describeRedis, memoryShare } from "../../service/api/static/dashboard/redis_status.js";
import { storeAnswer } from "./fixtures.js";

const HOUR = 3600;
const DAY = 24 * HOUR;

test("memory is shown with its limit, and a missing limit is an alarm", () => {
  const memory = (fields) => describeRedis(storeAnswer(fields)).memory;
  assert.deepEqual(memory({}), { value: "1.5 MB of 3.0 MB", isAlarming: false });
  assert.deepEqual(memory({ memory_limit_bytes: null }), { value: "1.5 MB", isAlarming: false });
  assert.deepEqual(memory({ memory_limit_bytes: 0 }), { value: "1.5 MB, no limit is set", isAlarming: true });
  assert.equal(memory({ memory_used_bytes: null }).value, "not reported");
});

test("the used share of memory is known with a limit only", () => {
  assert.equal(memoryShare(storeAnswer()), 50);
  assert.equal(memoryShare(storeAnswer({ memory_used_bytes: 4_000_000 })), 100);
  assert.equal(memoryShare(storeAnswer({ memory_limit_bytes: 0 })), null);
  assert.equal(memoryShare(storeAnswer({ memory_limit_bytes: null })), null);
  assert.equal(memoryShare(storeAnswer({ memory_used_bytes: null })), null);
});

test("a forecast below one day is an alarm", () => {
  const forecast = (seconds) => describeRedis(storeAnswer({ memory_full_seconds: seconds })).forecast;
  assert.deepEqual(forecast(null), { value: "no forecast", isAlarming: false });
  assert.deepEqual(forecast(0), { value: "now", isAlarming: true });
  assert.deepEqual(forecast(DAY - 1), { value: "in 23 hours", isAlarming: true });
  assert.deepEqual(forecast(DAY), { value: "in 24 hours", isAlarming: false });
});

test("the notice for a near forecast names the consequence", () => {
  const alarm = (fields) => describeMemoryAlarm(storeAnswer(fields));
  assert.equal(alarm({}), "");
  assert.equal(alarm({ memory_full_seconds: DAY }), "");
  assert.equal(
    alarm({ memory_full_seconds: 5 * HOUR }),
    "Redis runs out of memory in 5 hours at the current rate. After that, Redis rejects new sessions.",
  );
  assert.equal(
    alarm({ memory_full_seconds: 0, may_evict: true }),
    "The memory of Redis is full. Redis may evict sessions.",
  );
});

test("settings that lose sessions are alarms", () => {
  const { persistence, full } = describeRedis(storeAnswer({ append_only_file: false, may_evict: true }));
  assert.deepEqual(persistence, { value: "append-only file is off", isAlarming: true });
  assert.deepEqual(full, { value: "may evict sessions", isAlarming: true });
  assert.deepEqual(describeRedis(storeAnswer({ memory_limit_bytes: 0 })).full, {
    value: "the system kills Redis",
    isAlarming: true,
  });
  assert.deepEqual(describeRedis(storeAnswer()).full, { value: "rejects new sessions" });
});

test("a value that Redis does not report is named so", () => {
  const values = describeRedis(storeAnswer({ server: null, append_only_file: null, may_evict: null }));
  assert.deepEqual(
    [values.server, values.persistence, values.full].map(({ value }) => value),
    ["not reported", "not reported", "not reported"],
  );
});
