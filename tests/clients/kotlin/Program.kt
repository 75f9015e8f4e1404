// Makes the calls of a case with the Kotlin client. Each line of the standard input is a
// command in JSON, and each line of the standard output is its reply.
// `tests/clients/visit_programs.py` describes both.

package jay.tracking

import java.net.HttpURLConnection
import java.net.URI
import java.util.Collections
import kotlin.concurrent.thread

private class FailingStorage : Storage {
    override fun get(name: String): String? = error("a failure of the app")

    override fun set(name: String, value: String) = error("a failure of the app")

    override fun remove(name: String) = error("a failure of the app")
}

private class Program {
    private var now = 0L
    private val pauses: MutableList<Double> = Collections.synchronizedList(mutableListOf())
    private val reports: MutableList<TrackingError> = Collections.synchronizedList(mutableListOf())
    private var storage = MemoryStorage()
    private lateinit var makeClient: () -> Tracking
    private val tabs = mutableMapOf<Int, Tracking>()
    private var tab = 1
    private val tracking get() = tabs.getValue(tab)

    fun reply(command: Map<*, *>): String {
        pauses.clear()
        reports.clear()
        val times = (command["times"] as Double?)?.toInt() ?: 1
        val results = arrayOfNulls<String>(times)
        val threads = results.indices.map { index -> thread { results[index] = shown(run(command)) } }
        threads.forEach { it.join() }
        val shownReports = reports.map { """{"kind": ${Json.quoted(it.kind)}, "message": ${Json.quoted(messages(it))}}""" }
        return """{"results": ${results.toList()}, "reports": $shownReports, "pauses": $pauses, """ +
            """"stored_id": ${storage.get("jay-tracking:id")?.let(Json::quoted)}}"""
    }

    private fun run(command: Map<*, *>): Any? = when (command["command"]) {
        "start" -> start(command)
        "restart" -> tabs[tab] = makeClient()
        "tab" -> showTab((command["number"] as Double).toInt())
        "advance" -> now += ((command["seconds"] as Double) * 1000).toLong()
        "accepts" -> runCatching { Tracking(command["url"] as String, "key", MemoryStorage()) }.isSuccess
        "session" -> tracking.session()
        "consent" -> tracking.consent(command["user_id"] as String?, command["agreed"] as Boolean)
        "end" -> tracking.end()
        "fetch" -> fetch(command["url"] as String)
        else -> error("an unknown command")
    }

    private fun start(command: Map<*, *>) {
        now = ((command["time_seconds"] as Double) * 1000).toLong()
        storage = MemoryStorage()
        (command["stored_id"] as String?)?.let { storage.set("jay-tracking:id", it) }
        makeClient = {
            Tracking(
                command["url"] as String,
                command["key"] as String,
                if (command["fails"] == "storage") FailingStorage() else storage,
                listOf(command["own_origin"] as String),
                consent = null,
                onError = {
                    reports += it
                    check(command["fails"] != "on_error")
                },
                name = "jay-tracking",
                now = { now },
                sleep = { pauses += it / 1000.0 },
            )
        }
        tabs.clear()
        showTab(1)
    }

    private fun showTab(number: Int) {
        tab = number
        tabs.getOrPut(tab, makeClient)
    }

    private fun fetch(url: String) {
        val connection = URI(url).toURL().openConnection() as HttpURLConnection
        tracking.headersFor(url).forEach(connection::setRequestProperty)
        connection.inputStream.use { it.readBytes() }
    }

    /** The messages of an error and its causes, and its string. */
    private fun messages(error: TrackingError): String =
        generateSequence<Throwable>(error) { it.cause }.joinToString(" ") + error

    private fun shown(result: Any?): String = when (result) {
        is Session -> {
            val strings = mapOf("session_id" to result.id, "start_time" to result.startTime, "source" to result.source)
            check(strings.values.none { it in "$result" && it != result.source })
            val fields = strings.map { (name, value) -> "\"$name\": ${Json.quoted(value)}" }
            (fields + "\"user_id\": ${result.userId?.let(Json::quoted)}").joinToString(prefix = "{", postfix = "}")
        }
        is Boolean -> "$result"
        else -> "null"
    }
}

fun main() {
    val program = Program()
    generateSequence(::readlnOrNull).forEach { println(program.reply(Json.parse(it) as Map<*, *>)) }
}
