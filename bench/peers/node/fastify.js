// fastify with ioredis and automatic pipelining, written for speed. Redis keeps the answer's
// JSON, and a read sends it without parsing it.

import { randomUUID } from "node:crypto";
import fastify from "fastify";
import { Redis } from "ioredis";
import { API_KEY, CORS_HEADERS, DAY_SECONDS, HEADERS, ORIGIN, PATH, PORT, REDIS_PORT, SOURCE, TOKEN } from "./contract.js";

const UUID_LENGTH = 36;
const COOKIE_FLAGS = "HttpOnly; Path=/; SameSite=Lax; Secure";
const redis = new Redis({ host: "127.0.0.1", port: Number(REDIS_PORT), enableAutoPipelining: true });
const app = fastify({ logger: false });

function sessionId(request) {
  const { cookie } = request.headers;
  const at = cookie ? cookie.indexOf(`${TOKEN}=`) : -1;
  if (at < 0) return request.headers[TOKEN.toLowerCase()];
  return cookie.substr(at + TOKEN.length + 1, UUID_LENGTH);
}

app.addHook("onRequest", (request, reply, done) => {
  reply.headers(HEADERS);
  if (request.headers.origin === ORIGIN) reply.headers(CORS_HEADERS);
  if (request.headers["x-api-key"] === API_KEY) done();
  else reply.code(401).type("application/json").send('{"error":"unauthorized"}');
});

// fastify rejects an empty body of the type JSON, which browser code sends.
app.removeContentTypeParser("application/json");
app.addContentTypeParser("application/json", { parseAs: "string" }, (_request, body, done) => {
  try {
    done(null, body ? JSON.parse(body) : {});
  } catch (error) {
    error.statusCode = 400;
    done(error);
  }
});

app.post(PATH, async (request, reply) => {
  const id = randomUUID();
  const start = `${new Date().toISOString().slice(0, -1)}000`;
  const record = { session_id: id, start_time: start, source: SOURCE };
  if (request.body?.user_id) record.user_id = request.body.user_id;
  const json = JSON.stringify(record);
  await Promise.all([redis.set(`s:${id}`, json, "EX", DAY_SECONDS), redis.hincrby("count", SOURCE, 1)]);
  reply.code(201).type("application/json").header(TOKEN, id);
  reply.header("set-cookie", `${TOKEN}=${id}; Max-Age=${DAY_SECONDS}; ${COOKIE_FLAGS}`);
  return reply.send(json);
});

app.get(PATH, async (request, reply) => {
  const id = sessionId(request);
  const json = id && (await redis.get(`s:${id}`));
  reply.type("application/json");
  return json ? reply.send(json) : reply.code(404).send('{"error":"not found"}');
});

app.delete(PATH, async (request, reply) => {
  const id = sessionId(request);
  if (id && (await redis.del(`s:${id}`))) await redis.hincrby("count", SOURCE, -1);
  reply.code(204).header("set-cookie", `${TOKEN}=; Max-Age=0; ${COOKIE_FLAGS}`);
  return reply.send();
});

await app.listen({ host: "127.0.0.1", port: Number(PORT) });
