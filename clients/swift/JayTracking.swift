// Tracking sessions for apps on Apple's platforms.
//
// This file is the whole client. It needs Foundation and nothing else. The session is
// kept by header. No method throws: a failure is `nil` or `false`, and `onError` gets the
// reason.

import Foundation
#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// A session of a visit. Its descriptions have no ids, so it may be logged.
struct TrackingSession: Equatable, Sendable {
    let id: String
    /// UTC, with microseconds and without a zone.
    let startTime: String
    let source: String
    /// Absent in a session of a guest.
    let userID: String?
}

extension TrackingSession: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    var description: String { "TrackingSession(source: \(source))" }
    var debugDescription: String { description }
    var customMirror: Mirror { Mirror(self, children: ["source": source]) }
}

/// The reason of a call that failed. It has no ids, so it may be logged.
struct TrackingError: Error, CustomStringConvertible {
    /// The end of the problem's type, such as `invalid-request`, or one of
    /// `connection-failed`, `unready` (5xx), `too-many-requests`, `unexpected-answer` and
    /// `storage-failed`.
    let kind: String
    /// Absent without an answer.
    var status: Int?
    /// The time of `Retry-After` in seconds, or 0.
    var retryAfter: TimeInterval = 0
    var underlying: (any Error)?

    var description: String { "tracking: \(kind)" }
}

/// Where an app keeps the id of its session, and a creation without an answer.
///
/// Any thread may call it, one at a time.
protocol TrackingStorage: Sendable {
    func value(for name: String) throws -> String?
    func setValue(_ value: String, for name: String) throws
    func removeValue(for name: String) throws
}

/// A storage that forgets the session at the end of the program.
final class MemoryTrackingStorage: TrackingStorage, @unchecked Sendable {
    private let lock = NSLock()
    private var kept: [String: String] = [:]

    func value(for name: String) -> String? {
        lock.lock()
        defer { lock.unlock() }
        return kept[name]
    }

    func setValue(_ value: String, for name: String) {
        lock.lock()
        defer { lock.unlock() }
        kept[name] = value
    }

    func removeValue(for name: String) {
        lock.lock()
        defer { lock.unlock() }
        kept[name] = nil
    }
}

/// The state of the visitor. A user id is sent only with both.
struct TrackingConsent: Sendable, CustomStringConvertible, CustomReflectable {
    fileprivate let userID: String?

    init(userID: String?, agreed: Bool) {
        let isGiven = agreed && userID?.isEmpty == false
        self.userID = isGiven ? userID : nil
    }

    var description: String { "TrackingConsent()" }
    var customMirror: Mirror { Mirror(self, children: []) }
}

/// The session of a visit. Make one for the whole app.
actor Tracking {
    private static let tries = 4
    private static let pause: TimeInterval = 0.6
    private static let longestWait: TimeInterval = 30
    private static let timeout: TimeInterval = 10
    fileprivate static let sessionIsValid: TimeInterval = 60

    private let sessionURL: URL
    private let key: String
    private let kept: Kept
    private let origins: Set<String>
    private let onError: @Sendable (TrackingError) -> Void
    private let now: @Sendable () -> Date
    private let sleep: @Sendable (TimeInterval) async throws -> Void
    private let http: URLSession

    /// The last statement about consent, or nil before the first.
    private var said: Statement?
    /// The statement that has an answer.
    private var followed: Statement?
    private var known: Known?
    private var createAfter: Date?
    private var turn: Task<Void, Never>?

    /// Make a client of the service at `url`, such as `https://tracking.example.com`, with
    /// an API key with the scope `track`. `origins` are those of your own APIs. `name` is
    /// the prefix of stored names. Tests replace `now` and `sleep`.
    init(
        url: URL,
        key: String,
        storage: any TrackingStorage,
        origins: [String] = [],
        consent: TrackingConsent? = nil,
        onError: @escaping @Sendable (TrackingError) -> Void = { _ in },
        name: String = "jay-tracking",
        now: @escaping @Sendable () -> Date = { Date() },
        sleep: @escaping @Sendable (TimeInterval) async throws -> Void = { seconds in
            try await Task.sleep(nanoseconds: UInt64(seconds * 1_000_000_000))
        }
    ) {
        self.sessionURL = url.appendingPathComponent(Wire.path)
        self.key = key
        self.kept = Kept(storage: storage, name: name)
        self.origins = Set(origins.compactMap { origin in URL(string: origin).flatMap(originOf) })
        self.said = consent.map { Statement(userID: $0.userID) }
        self.onError = onError
        self.now = now
        self.sleep = sleep
        // Cookies would present the session a second time.
        let configuration = URLSessionConfiguration.ephemeral
        configuration.httpCookieStorage = nil
        configuration.httpShouldSetCookies = false
        configuration.urlCache = nil
        configuration.timeoutIntervalForRequest = Tracking.timeout
        configuration.timeoutIntervalForResource = Tracking.timeout
        self.http = URLSession(configuration: configuration, delegate: NoRedirects(), delegateQueue: nil)
    }

    deinit {
        http.finishTasksAndInvalidate()
    }

    /// Return the session of this visit. Create one if there is none.
    func session() async -> TrackingSession? {
        await alone(otherwise: nil) { try await self.findOrCreate() }
    }

    /// Say whether the user is logged in and has agreed. A live session follows.
    func consent(userID: String?, agreed: Bool) async -> TrackingSession? {
        said = Statement(userID: TrackingConsent(userID: userID, agreed: agreed).userID)
        return await alone(otherwise: nil) { try await self.followConsent() }
    }

    /// End the session. Return whether it has ended.
    func end() async -> Bool {
        await alone(otherwise: false) { try await self.endSession() }
    }

    /// Return the header with the session for an own API, and nothing for other URLs.
    func headers(for url: URL) async -> [String: String] {
        guard let origin = originOf(url), origins.contains(origin), let session = await self.session() else {
            return [:]
        }
        return [Wire.sessionHeader: session.id]
    }

    /// Run one operation at a time, and report its failure.
    ///
    /// An actor runs other calls while one waits. So each operation waits for the one
    /// before it. An operation goes on when its caller is cancelled, because others may
    /// wait for the same session.
    private func alone<Value: Sendable>(
        otherwise failed: Value,
        _ operation: @escaping @Sendable () async throws -> Value
    ) async -> Value {
        let previous = turn
        let onError = self.onError
        let task = Task { () -> Value in
            _ = await previous?.value
            do {
                return try await operation()
            } catch let error as TrackingError {
                onError(error)
            } catch {
                onError(TrackingError(kind: "failed", underlying: error))
            }
            return failed
        }
        turn = Task { _ = await task.value }
        return await task.value
    }

    private func findOrCreate() async throws -> TrackingSession {
        if let session = try await find() {
            return session
        }
        return try await create()
    }

    private func followConsent() async throws -> TrackingSession? {
        let before = known
        if let session = try await find() {
            return session
        }
        guard before != nil else {
            return nil
        }
        return try await create()
    }

    private func endSession() async throws -> Bool {
        _ = try await settle(otherwise: nil)
        if try kept.id() != nil {
            _ = try await send(.end)
        }
        try forget()
        return true
    }

    /// Return the live session, or nil without one. It follows the last statement.
    private func find() async throws -> TrackingSession? {
        _ = try await settle(otherwise: nil)
        guard let id = try kept.id() else {
            try forget()
            return nil
        }
        let statement = said
        let isFollowed = statement === followed
        // Another client with the same storage may have changed the session.
        if isFollowed, let known = known, known.session.id == id, known.isValid(at: now()) {
            return known.session
        }
        // A change without an answer may have been made.
        let change = statement?.userID.map { Call.setUser($0) } ?? .clearUser
        let answer: Answer?
        do {
            answer = try await send(isFollowed ? .read : change)
        } catch let error as TrackingError {
            // The next call removes a user id from before.
            if !isFollowed, error.kind != "unexpected-answer", let status = error.status, (400..<500).contains(status) {
                statement?.userID = nil
            }
            throw error
        }
        guard let found = answer else {
            try forget()
            return nil
        }
        return try take(found.session, after: statement)
    }

    private func create() async throws -> TrackingSession {
        for _ in 1...2 {
            let creation = Creation(idempotencyKey: UUID().uuidString, userID: said?.userID)
            try kept.setCreation(creation)
            if let session = try await settle(otherwise: creation) {
                return session
            }
        }
        throw TrackingError(kind: "session-already-ended", status: 409)
    }

    /// Repeat a creation without an answer, with its user id. Return its session if it is live.
    private func settle(otherwise other: Creation?) async throws -> TrackingSession? {
        guard let creation = try kept.creation() ?? other else {
            return nil
        }
        if let createAfter = createAfter, now() < createAfter {
            throw TrackingError(kind: "too-many-requests", status: 429)
        }
        let statement = said
        let answer = try await send(.create(creation))
        var session: TrackingSession?
        if let answer = answer {
            let isOfStatement = statement?.userID == creation.userID
            session = try take(answer.session, after: isOfStatement ? statement : nil)
        }
        try kept.setCreation(nil)
        return session
    }

    private func take(_ session: TrackingSession, after statement: Statement?) throws -> TrackingSession {
        // Another client or the service has removed the user id. The next session has none.
        if let statement = statement, statement.userID != session.userID {
            statement.userID = nil
        }
        followed = statement
        known = Known(session: session, since: now())
        try kept.setID(session.id)
        return session
    }

    private func forget() throws {
        known = nil
        try kept.setID(nil)
    }

    /// Return the answer, or nil without a live session. Every request may be repeated.
    private func send(_ call: Call) async throws -> Answer? {
        let request = try self.request(for: call)
        var tried = 1
        while true {
            let failure: TrackingError
            do {
                let answer = try await ask(request)
                if answer.isExpected(by: call) {
                    return answer
                }
                failure = answer.failure
            } catch {
                failure = TrackingError(kind: "connection-failed", underlying: error)
            }
            if Wire.goneKinds.contains(failure.kind) {
                return nil
            }
            if let status = failure.status, status != 429, status < 500 {
                // Only the service can refuse a creation for good. A proxy or a hotspot cannot.
                if case .create = call, failure.kind != "unexpected-answer" {
                    try kept.setCreation(nil)
                }
                throw failure
            }
            if tried == Tracking.tries || failure.retryAfter > Tracking.longestWait {
                if case .create = call, failure.status == 429 {
                    createAfter = now().addingTimeInterval(failure.retryAfter)
                }
                throw failure
            }
            let longestPause = Tracking.pause * Double(1 << (tried - 1))
            try await self.sleep(failure.retryAfter + Double.random(in: 0...longestPause))
            tried += 1
        }
    }

    private func request(for call: Call) throws -> URLRequest {
        var request = URLRequest(url: call.url(of: sessionURL))
        request.httpMethod = call.method
        request.setValue(key, forHTTPHeaderField: Wire.keyHeader)
        if case .create(let creation) = call {
            request.setValue(creation.idempotencyKey, forHTTPHeaderField: Wire.idempotencyHeader)
        } else if let id = try kept.id() {
            request.setValue(id, forHTTPHeaderField: Wire.sessionHeader)
        }
        if let userID = call.userID {
            request.setValue("application/json", forHTTPHeaderField: "Content-Type")
            request.httpBody = try JSONEncoder().encode(["user_id": userID])
        }
        return request
    }

    private func ask(_ request: URLRequest) async throws -> Answer {
        let (data, answer) = try await http.data(for: request)
        guard let response = answer as? HTTPURLResponse else {
            throw URLError(.badServerResponse)
        }
        return Answer(data, response)
    }
}

/// The names of the service.
private enum Wire {
    static let path = "v1/playouts/tracking/session"
    static let userPath = "user"
    static let keyHeader = "X-API-Key"
    static let sessionHeader = "X-Jay-Tracking"
    static let idempotencyHeader = "Idempotency-Key"
    static let problem = "urn:jay:problem:"
    static let goneKinds: Set<String> = ["session-not-found", "session-already-ended"]
}

/// The values of a request that creates a session.
private struct Creation: Sendable {
    let idempotencyKey: String
    let userID: String?
}

private enum Call {
    case create(Creation)
    case read
    case end
    case setUser(String)
    case clearUser

    var method: String {
        switch self {
        case .create: return "POST"
        case .read: return "GET"
        case .end: return "DELETE"
        case .setUser: return "PUT"
        case .clearUser: return "DELETE"
        }
    }

    var expectedStatus: Int {
        switch self {
        case .create: return 201
        case .read: return 200
        case .end: return 204
        case .setUser: return 200
        case .clearUser: return 200
        }
    }

    var userID: String? {
        switch self {
        case .create(let creation): return creation.userID
        case .setUser(let userID): return userID
        case .read, .end, .clearUser: return nil
        }
    }

    func url(of sessionURL: URL) -> URL {
        switch self {
        case .create, .read, .end: return sessionURL
        case .setUser, .clearUser: return sessionURL.appendingPathComponent(Wire.userPath)
        }
    }
}

/// A statement of the app about consent. Each call of `consent` makes another one.
private final class Statement {
    var userID: String?

    init(userID: String?) {
        self.userID = userID
    }
}

/// A session, and when the service answered with it.
private struct Known: Sendable {
    let session: TrackingSession
    let since: Date

    /// The clock of a device may be wrong, so only durations count.
    func isValid(at now: Date) -> Bool {
        let age = now.timeIntervalSince(since)
        return age >= 0 && age < Tracking.sessionIsValid
    }
}

/// The two kept strings. A string that is not valid is as good as none.
private struct Kept: Sendable {
    let storage: any TrackingStorage
    let name: String

    func id() throws -> String? {
        try value(for: "\(name):id", if: isSessionID)
    }

    func setID(_ id: String?) throws {
        try set(id, for: "\(name):id")
    }

    /// The creation without an answer.
    func creation() throws -> Creation? {
        let found = try value(for: "\(name):key") { value in
            let key = value.utf8.prefix(while: { $0 != 0x20 })
            let isKey = key.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2C }
            return isKey && (16...64).contains(key.count) && key.count < value.utf8.count
        }
        guard let parts = found?.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false) else {
            return nil
        }
        let userID = parts[1].isEmpty ? nil : String(parts[1])
        return Creation(idempotencyKey: String(parts[0]), userID: userID)
    }

    func setCreation(_ creation: Creation?) throws {
        try set(creation.map { "\($0.idempotencyKey) \($0.userID ?? "")" }, for: "\(name):key")
    }

    private func value(for name: String, if isWellFormed: (String) -> Bool) throws -> String? {
        do {
            return try storage.value(for: name).flatMap { isWellFormed($0) ? $0 : nil }
        } catch {
            throw TrackingError(kind: "storage-failed", underlying: error)
        }
    }

    private func set(_ value: String?, for name: String) throws {
        do {
            if let value = value {
                try storage.setValue(value, for: name)
            } else {
                try storage.removeValue(for: name)
            }
        } catch {
            throw TrackingError(kind: "storage-failed", underlying: error)
        }
    }
}

private struct Answer: Sendable {
    /// The fields of a session and of a problem.
    private struct Content: Decodable, Sendable {
        var sessionId: String?
        var startTime: String?
        var source: String?
        var userId: String?
        var type: String?
    }

    private let status: Int
    private let retryAfter: TimeInterval
    private let content: Content

    init(_ data: Data, _ response: HTTPURLResponse) {
        status = response.statusCode
        retryAfter = Answer.retryAfter(of: response)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        // The page of a proxy or a hotspot has no fields.
        content = (try? decoder.decode(Content.self, from: data)) ?? Content()
    }

    func isExpected(by call: Call) -> Bool {
        guard status == call.expectedStatus else {
            return false
        }
        if case .end = call {
            return true
        }
        return content.sessionId.map(isSessionID) == true && content.startTime != nil && content.source != nil
    }

    /// The session of an expected answer.
    var session: TrackingSession {
        TrackingSession(
            id: content.sessionId ?? "",
            startTime: content.startTime ?? "",
            source: content.source ?? "",
            userID: content.userId
        )
    }

    var failure: TrackingError {
        var kind = "unexpected-answer"
        if status >= 500 {
            kind = "unready"
        } else if let type = content.type, type.hasPrefix(Wire.problem) {
            kind = String(type.dropFirst(Wire.problem.count))
        }
        return TrackingError(kind: kind, status: status, retryAfter: retryAfter)
    }

    /// Proxies may send a date, which is compared with the clock of the answer.
    private static func retryAfter(of response: HTTPURLResponse) -> TimeInterval {
        guard let value = response.value(forHTTPHeaderField: "Retry-After") else {
            return 0
        }
        if let seconds = Int(value) {
            return TimeInterval(max(seconds, 0))
        }
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(secondsFromGMT: 0)
        format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
        guard let sent = response.value(forHTTPHeaderField: "Date").flatMap(format.date(from:)),
              let until = format.date(from: value)
        else {
            return 0
        }
        return max(until.timeIntervalSince(sent), 0)
    }
}

/// Follows no redirect, because another host must not get the API key.
private final class NoRedirects: NSObject, URLSessionTaskDelegate {
    func urlSession(
        _ session: URLSession,
        task: URLSessionTask,
        willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest,
        completionHandler: @escaping @Sendable (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }
}

private func isSessionID(_ value: String) -> Bool {
    value.utf8.count == 36 && UUID(uuidString: value) != nil
}

/// Return the origin of a URL with its port, or nil if the URL has none.
private func originOf(_ url: URL) -> String? {
    guard let scheme = url.scheme?.lowercased(), let host = url.host?.lowercased(),
          scheme == "https" || scheme == "http"
    else {
        return nil
    }
    let port = url.port ?? (scheme == "https" ? 443 : 80)
    return "\(scheme)://\(host):\(port)"
}
