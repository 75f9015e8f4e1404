/*
 * Tracking sessions for Android apps and programs on the JVM.
 *
 * This file is the whole client. It needs Kotlin's standard library and nothing else. The
 * session is kept by header. No method throws: a failure is `null` or `false`, and
 * `onError` gets the reason. The methods block, so call them outside the main thread.
 */

package jay.tracking

import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URI
import java.net.URISyntaxException
import java.util.Locale
import java.util.UUID
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.locks.ReentrantLock
import kotlin.random.Random

private const val PATH = "/v1/playouts/tracking/session"
private const val API_KEY_HEADER = "X-API-Key"
private const val SESSION_HEADER = "X-Jay-Tracking"
private const val IDEMPOTENCY_HEADER = "Idempotency-Key"
private const val PROBLEM = "urn:jay:problem:"

private const val TRIES = 4
private const val PAUSE_MS = 600L
private const val MAX_WAIT_MS = 30_000L
private const val TIMEOUT_MS = 10_000
private const val VALID_MS = 60_000L
private const val MAX_BODY_BYTES = 65_536
private const val MAX_DEPTH = 16
private const val MAX_PORT = 65_535

private val ID = Regex("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
private val CREATION = Regex("[!-+\\--~]{16,64} .*", RegexOption.DOT_MATCHES_ALL)

/** A session of a visit. Its string form has no ids, so it may be logged. */
data class Session(
    val id: String,
    /** UTC, with microseconds and without a zone. */
    val startTime: String,
    val source: String,
    /** Absent in a session of a guest. */
    val userId: String?,
) {
    override fun toString(): String = "Session(source=$source)"
}

/**
 * The reason of a call that failed. It has no ids, so it may be logged.
 *
 * [kind] is the end of the problem's type, such as `invalid-request`, or one of
 * `connection-failed`, `unready` (5xx), `too-many-requests`, `unexpected-answer`,
 * `storage-failed`, `interrupted` and `failed`. [status] is absent without an answer.
 */
class TrackingError internal constructor(
    val kind: String,
    val status: Int? = null,
    val retryAfterMillis: Long = 0,
    cause: Throwable? = null,
) : Exception("tracking: $kind", cause)

/**
 * Where an app keeps the id of its session, and a creation without an answer.
 *
 * Any thread may call it, one at a time.
 */
interface Storage {
    fun get(name: String): String?

    fun set(name: String, value: String)

    fun remove(name: String)
}

/** A storage that forgets the session at the end of the program. */
class MemoryStorage : Storage {
    private val kept = ConcurrentHashMap<String, String>()

    override fun get(name: String): String? = kept[name]

    override fun set(name: String, value: String) {
        kept[name] = value
    }

    override fun remove(name: String) {
        kept.remove(name)
    }
}

/** The state of the visitor. A user id is sent only with both. */
class Consent(userId: String?, agreed: Boolean) {
    internal val userId: String? = if (agreed && !userId.isNullOrEmpty()) userId else null

    override fun toString(): String = "Consent()"
}

/**
 * The session of a visit. Make one for the whole app. Threads may share it.
 *
 * [url] is the service, such as `https://tracking.example.com`, and [key] an API key with
 * the scope `track`. [origins] are those of your own APIs. [name] is the prefix of stored
 * names.
 *
 * @throws IllegalArgumentException if the URL, the key or an origin is invalid.
 */
class Tracking internal constructor(
    url: String,
    private val key: String,
    storage: Storage,
    origins: Collection<String>,
    consent: Consent?,
    private val onError: (TrackingError) -> Unit,
    name: String,
    private val now: () -> Long,
    private val sleep: (Long) -> Unit,
) {
    private val base = url.trimEnd('/')

    /** The last statement about consent, or null before the first. */
    @Volatile
    private var said = consent?.let { Statement(it.userId) }

    /** The statement that has an answer. */
    private var followed: Statement? = null
    private val ownOrigins = origins.map { requireNotNull(originOf(it)) { "an origin is not a URL" } }.toSet()
    private val kept = Kept(storage, name)
    private val lock = ReentrantLock()
    private var known: Known? = null
    private var createAfter = 0L

    constructor(
        url: String,
        key: String,
        storage: Storage,
        origins: Collection<String> = emptyList(),
        consent: Consent? = null,
        onError: (TrackingError) -> Unit = {},
        name: String = "jay-tracking",
    ) : this(url, key, storage, origins, consent, onError, name, System::currentTimeMillis, Thread::sleep)

    init {
        require(isServiceUrl(base)) { "the URL of the service is invalid" }
        require(key.isNotEmpty() && key.all { it in '!'..'~' }) { "the API key is invalid" }
    }

    /** Return the session of this visit. Create one if there is none. */
    fun session(): Session? = alone(null) { find() ?: create() }

    /** Say whether the user is logged in and has agreed. A live session follows. */
    fun consent(userId: String?, agreed: Boolean): Session? {
        said = Statement(Consent(userId, agreed).userId)
        return alone(null) {
            val before = known
            find() ?: if (before == null) null else create()
        }
    }

    /** End the session. Return whether it has ended. */
    fun end(): Boolean = alone(false) {
        settle()
        if (kept.id != null) send("DELETE", PATH)
        forget()
        true
    }

    /** Return the header with the session for an own API, and nothing for other URLs. */
    fun headersFor(url: String): Map<String, String> {
        val session = if (originOf(url) in ownOrigins) session() else null
        return if (session == null) emptyMap() else mapOf(SESSION_HEADER to session.id)
    }

    /** Run one operation at a time, and report its failure. */
    private fun <T> alone(failed: T, operation: () -> T): T {
        val error = try {
            lock.lockInterruptibly()
            try {
                return operation()
            } finally {
                lock.unlock()
            }
        } catch (error: TrackingError) {
            error
        } catch (error: InterruptedException) {
            Thread.currentThread().interrupt()
            TrackingError("interrupted", cause = error)
        } catch (error: Exception) {
            // Such as Android's exception for a request on the main thread.
            TrackingError("failed", cause = error)
        }
        try {
            onError(error)
        } catch (ignored: Exception) {
            // The app's own function must not break tracking.
        }
        return failed
    }

    /** Return the live session, or null without one. It follows the last statement. */
    private fun find(): Session? {
        settle()
        val id = kept.id ?: return forget()
        val said = said
        val isFollowed = said === followed
        // Another client with the same storage may have changed the session.
        known?.let { if (isFollowed && it.session.id == id && it.isValid(now())) return it.session }
        // A change without an answer may have been made.
        val userId = said?.userId
        val answer = when {
            isFollowed -> send("GET", PATH)
            userId == null -> send("DELETE", "$PATH/user")
            else -> sendUser(userId, said)
        }
        return if (answer == null) forget() else take(answer.session(), said)
    }

    /** Send a user id. When the service refuses it, the next call removes one from before. */
    private fun sendUser(userId: String, statement: Statement): Answer? {
        try {
            return send("PUT", "$PATH/user", userId)
        } catch (error: TrackingError) {
            if (error.status in 400..499 && error.kind != "unexpected-answer") statement.userId = null
            throw error
        }
    }

    private fun create(): Session {
        repeat(2) {
            val creation = Creation(UUID.randomUUID().toString(), said?.userId)
            kept.creation = creation
            settle(creation)?.let { return it }
        }
        throw TrackingError("session-already-ended", 409)
    }

    /** Repeat a creation without an answer, with its user id. Return its session if it is live. */
    private fun settle(other: Creation? = null): Session? {
        val creation = kept.creation ?: other ?: return null
        if (now() < createAfter) throw TrackingError("too-many-requests", 429)
        val said = said
        val answer = send("POST", PATH, creation.userId, creation.idempotencyKey)
        val session = answer?.let { take(it.session(), said?.takeIf { one -> one.userId == creation.userId }) }
        kept.creation = null
        return session
    }

    private fun take(session: Session, statement: Statement?): Session {
        // Another client or the service has removed the user id. The next session has none.
        if (statement != null && statement.userId != session.userId) statement.userId = null
        followed = statement
        known = Known(session, now())
        kept.id = session.id
        return session
    }

    private fun forget(): Nothing? {
        known = null
        kept.id = null
        return null
    }

    /** Return the answer, or null without a live session. Every request may be repeated. */
    private fun send(method: String, path: String, userId: String? = null, idempotencyKey: String? = null): Answer? {
        val headers = mutableMapOf(API_KEY_HEADER to key)
        if (idempotencyKey != null) headers[IDEMPOTENCY_HEADER] = idempotencyKey
        if (method != "POST") kept.id?.let { headers[SESSION_HEADER] = it }
        if (userId != null) headers["Content-Type"] = "application/json"
        val body = if (userId == null) "" else "{\"user_id\":${Json.quoted(userId)}}"
        var tried = 1
        while (true) {
            val error = try {
                val answer = ask(base + path, method, headers, body)
                if (answer.isGood(method, path)) return answer
                answer.error()
            } catch (error: IOException) {
                TrackingError("connection-failed", cause = error)
            }
            if (error.kind == "session-not-found" || error.kind == "session-already-ended") return null
            val status = error.status
            if (status != null && status != 429 && status < 500) {
                // Only the service can refuse a creation for good. A proxy or a hotspot cannot.
                if (method == "POST" && error.kind != "unexpected-answer") kept.creation = null
                throw error
            }
            if (tried == TRIES || error.retryAfterMillis > MAX_WAIT_MS) {
                if (status == 429 && method == "POST") createAfter = now() + error.retryAfterMillis
                throw error
            }
            sleep(error.retryAfterMillis + (Random.nextDouble() * PAUSE_MS * (1 shl tried - 1)).toLong())
            tried += 1
        }
    }
}

/** A statement of the app about consent. Each call of `consent` makes another one. */
private class Statement(@Volatile var userId: String?)

/** A session, and when the service answered with it. */
private class Known(val session: Session, private val since: Long) {
    /** The clock of a device may be wrong, so only durations count. */
    fun isValid(now: Long): Boolean = now - since in 0 until VALID_MS
}

/** The values of a request that creates a session. */
private class Creation(val idempotencyKey: String, val userId: String?)

/** The two kept strings. A string that is not valid is as good as none. */
private class Kept(private val storage: Storage, name: String) {
    private val idName = "$name:id"
    private val keyName = "$name:key"

    var id: String?
        get() = get(idName, ID)
        set(value) = set(idName, value)

    /** The creation without an answer. */
    var creation: Creation?
        get() = get(keyName, CREATION)?.split(' ', limit = 2)
            ?.let { (key, userId) -> Creation(key, userId.ifEmpty { null }) }
        set(value) = set(keyName, value?.let { "${it.idempotencyKey} ${it.userId.orEmpty()}" })

    private fun get(name: String, valid: Regex): String? =
        access { storage.get(name) }?.takeIf { valid.matches(it) }

    private fun set(name: String, value: String?) =
        access { if (value == null) storage.remove(name) else storage.set(name, value) }

    private fun <T> access(block: () -> T): T =
        try {
            block()
        } catch (error: Exception) {
            throw TrackingError("storage-failed", cause = error)
        }
}

private class Answer(val status: Int, val retryAfterMillis: Long, body: String) {
    private val content = Json.parse(body) as? Map<*, *> ?: emptyMap<String, Any?>()

    private fun string(name: String): String? = content[name] as? String

    /** Return whether the service did as asked. A page of a hotspot is not its answer. */
    fun isGood(method: String, path: String): Boolean {
        if (method == "DELETE" && path == PATH) return status == 204
        val id = string("session_id")
        val hasSession = id != null && ID.matches(id) && string("start_time") != null && string("source") != null
        return hasSession && status == if (method == "POST") 201 else 200
    }

    fun session(): Session =
        Session(string("session_id")!!, string("start_time")!!, string("source")!!, string("user_id"))

    fun error(): TrackingError {
        val type = string("type").orEmpty()
        val problem = if (type.startsWith(PROBLEM)) type.removePrefix(PROBLEM) else "unexpected-answer"
        return TrackingError(if (status >= 500) "unready" else problem, status, retryAfterMillis)
    }
}

/** Send a request. Redirects are not followed: another host must not get the API key. */
private fun ask(url: String, method: String, headers: Map<String, String>, body: String): Answer {
    val connection = URI(url).toURL().openConnection() as HttpURLConnection
    connection.requestMethod = method
    connection.instanceFollowRedirects = false
    connection.useCaches = false
    connection.connectTimeout = TIMEOUT_MS
    connection.readTimeout = TIMEOUT_MS
    for ((name, value) in headers) connection.setRequestProperty(name, value)
    if (method == "POST" || body.isNotEmpty()) {
        connection.doOutput = true
        connection.outputStream.use { it.write(body.toByteArray()) }
    }
    val status = connection.responseCode
    val stream = if (status < 400) connection.inputStream else connection.errorStream
    val content = stream?.use(::read).orEmpty()
    return Answer(status, retryAfterMillis(connection), content)
}

/** Read a body. The rest of a body that is too large is not from the service. */
private fun read(stream: InputStream): String {
    val buffer = ByteArray(MAX_BODY_BYTES)
    var size = 0
    while (size < buffer.size) {
        val count = stream.read(buffer, size, buffer.size - size)
        if (count < 0) break
        size += count
    }
    return String(buffer, 0, size, Charsets.UTF_8)
}

/** Proxies may send a date, which is compared with the clock of the answer. */
private fun retryAfterMillis(connection: HttpURLConnection): Long {
    val value = connection.getHeaderField("Retry-After") ?: return 0
    if (value.matches(Regex("\\d{1,9}"))) return value.toLong() * 1000
    val until = connection.getHeaderFieldDate("Retry-After", 0)
    val sent = connection.date
    return if (until == 0L || sent == 0L) 0 else (until - sent).coerceAtLeast(0)
}

/** Return whether a URL can be that of a service: without credentials, query and fragment. */
private fun isServiceUrl(url: String): Boolean {
    if (originOf(url) == null || !url.all { it in '!'..'~' && it !in "?#" }) return false
    val parsed = URI(url)
    return '@' !in parsed.rawAuthority && (parsed.port == -1 || parsed.port in 1..MAX_PORT)
}

/** Return the origin of a URL with its port, or null if the URL is invalid. */
private fun originOf(url: String): String? {
    val parsed = try {
        URI(url)
    } catch (error: URISyntaxException) {
        return null
    }
    val scheme = parsed.scheme?.lowercase(Locale.US)
    val host = parsed.host?.lowercase(Locale.US) ?: return null
    val port = when {
        parsed.port >= 0 -> parsed.port
        scheme == "https" -> 443
        else -> 80
    }
    return if (scheme == "https" || scheme == "http") "$scheme://$host:$port" else null
}

/** JSON of the service. Android has a parser of its own, and the JVM has none. */
internal object Json {
    /** Return maps, lists, strings, doubles, booleans and nulls. Invalid JSON is null. */
    fun parse(text: String): Any? {
        val parser = Parser(text)
        return try {
            parser.value(0).also { parser.end() }
        } catch (error: NumberFormatException) {
            null
        } catch (error: InvalidJson) {
            null
        }
    }

    fun quoted(text: String): String = buildString {
        append('"')
        for (char in text) {
            when {
                char == '"' || char == '\\' -> append('\\').append(char)
                char < ' ' || char.isSurrogate() -> append("\\u").append(char.code.toString(16).padStart(4, '0'))
                else -> append(char)
            }
        }
        append('"')
    }

    private class InvalidJson : Exception()

    private class Parser(private val text: String) {
        private var at = 0

        fun value(depth: Int): Any? {
            if (depth > MAX_DEPTH) throw InvalidJson()
            return when (peek()) {
                '{' -> items('{', '}') { string().also { take(':') } to value(depth + 1) }.toMap()
                '[' -> items('[', ']') { value(depth + 1) }
                '"' -> string()
                else -> literal()
            }
        }

        fun end() {
            skipSpace()
            if (at < text.length) throw InvalidJson()
        }

        private fun <T> items(open: Char, close: Char, item: () -> T): List<T> {
            val found = mutableListOf<T>()
            take(open)
            if (peek() != close) {
                found += item()
                while (peek() == ',') {
                    take(',')
                    found += item()
                }
            }
            take(close)
            return found
        }

        private fun string(): String {
            take('"')
            return buildString {
                while (true) {
                    when (val char = next()) {
                        '"' -> return@buildString
                        '\\' -> append(escaped())
                        else -> append(char)
                    }
                }
            }
        }

        private fun escaped(): Char = when (val char = next()) {
            'b' -> '\b'
            'f' -> '\u000C'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> String(CharArray(4) { next() }).toInt(16).toChar()
            else -> char
        }

        private fun literal(): Any? {
            val start = at
            while (at < text.length && (text[at].isLetterOrDigit() || text[at] in "+-.")) at += 1
            return when (val word = text.substring(start, at)) {
                "null" -> null
                "true" -> true
                "false" -> false
                else -> word.toDouble()
            }
        }

        private fun skipSpace() {
            while (at < text.length && text[at] in " \t\r\n") at += 1
        }

        private fun peek(): Char {
            skipSpace()
            return text.getOrNull(at) ?: throw InvalidJson()
        }

        private fun take(expected: Char) {
            if (peek() != expected) throw InvalidJson()
            at += 1
        }

        private fun next(): Char = text.getOrNull(at++) ?: throw InvalidJson()
    }
}
