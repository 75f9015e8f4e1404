"""A Sentinel group and a Cluster of real servers: primaries fail, and slots move.

Both are context managers. They are ready when `__enter__` returns: the sentinels know
each other and all replicas, or the cluster serves every slot. The servers are
`RedisServer` objects, so that a test can also stop, freeze or restart them.

Both classes are in this module, and it is longer than 250 lines, because tests of the
two topologies read alike.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.crc import key_slot

from tests.support.certificates import Authority
from tests.support.redis_commands import ask, fields, is_primary, is_replica_in_sync, wait_until
from tests.support.servers import RedisServer, url_of

SLOTS = 16_384
_MIGRATED_AT_ONCE = 100
_MIGRATE_TIMEOUT_MS = "5000"
# A machine that is busy for a second starts no failover, except in the tests of one.
FAILOVER_SECONDS, PATIENT_FAILOVER_SECONDS = 1.0, 60.0
# Without the delay, a replica is synchronized at once instead of after 5 s. Redis 7.0
# lists a replica in CLUSTER SLOTS only after its first byte. That is by default a ping
# after 10 s.
_FAST_SYNC = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def _folders(folder: Path, names: Iterable[str]) -> list[Path]:
    folders = [folder / name for name in names]
    for path in folders:
        path.mkdir(parents=True)
    return folders


class _Sentinel(RedisServer):
    """A sentinel. It keeps its state in its configuration file.

    Its options are lines of that file.
    """

    def _command(self) -> list[str]:
        config = self.folder / "sentinel.conf"
        if not config.exists():
            settings = [f"{name} {value}" for name, value in self._settings().items()]
            config.write_text("\n".join([*settings, *self._options]))
        return [self.binary, str(config), "--sentinel"]


class SentinelGroup:
    """One primary, its replicas, and sentinels that watch them.

    `options` are options of the servers, such as `--appendonly yes`. `quorum` is the
    majority of the sentinels. With `tls`, all connections have TLS, on both sides with
    a certificate. `host` is the name of all servers. It can be a host name if
    `sentinel_lines`, lines of the sentinels' files, allow names.
    """

    def __init__(
        self,
        binary: str,
        folder: Path,
        *options: str,
        name: str = "jay",
        replicas: int = 2,
        sentinels: int = 3,
        down_after_seconds: float = PATIENT_FAILOVER_SECONDS,
        tls: Authority | None = None,
        host: str = "127.0.0.1",
        sentinel_lines: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._tls = tls
        self._host = host
        self._down_after_seconds = down_after_seconds
        self.servers = [
            RedisServer(binary, one, *_FAST_SYNC, *options, tls=tls)
            for one in _folders(folder, (f"server-{number}" for number in range(1 + replicas)))
        ]
        self.sentinels = [
            _Sentinel(binary, one, *sentinel_lines, tls=tls)
            for one in _folders(folder, (f"sentinel-{number}" for number in range(sentinels)))
        ]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """Return the URL for the service."""
        addresses = ",".join(f"{self._host}:{sentinel.port}" for sentinel in self.sentinels)
        return url_of("redis+sentinel", f"{addresses}/{self.name}/0", self._tls)

    @property
    def primary(self) -> RedisServer:
        """Return the server that the running sentinels call the primary.

        Fails if they do not agree within the deadline.
        """
        return wait_until(self._agreed_primary, "the sentinels agree on the primary")

    @property
    def replicas(self) -> list[RedisServer]:
        """Return the running servers that are not the primary."""
        primary = self.primary
        return [server for server in self.servers if server.is_running and server is not primary]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            primary, *replicas = self.servers
            for replica in replicas:
                ask(replica, "REPLICAOF", self._host, primary.port)
            self.wait_until_replicated()
            for sentinel in self.sentinels:
                stack.enter_context(sentinel)
                self._watch(sentinel, primary)
            self.wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _watch(self, sentinel: RedisServer, primary: RedisServer) -> None:
        quorum = len(self.sentinels) // 2 + 1
        ask(sentinel, "SENTINEL", "MONITOR", self.name, self._host, primary.port, quorum)
        for option, value in (
            ("down-after-milliseconds", int(self._down_after_seconds * 1000)),
            ("failover-timeout", 10_000),
            ("parallel-syncs", len(self.servers)),
        ):
            ask(sentinel, "SENTINEL", "SET", self.name, option, value)

    def wait_until_replicated(self) -> None:
        """Return when every running server but the primary has the primary's data."""

        def replicated() -> bool:
            running = [server for server in self.servers if server.is_running]
            primaries = [server for server in running if is_primary(server)]
            return len(primaries) == 1 and all(
                is_replica_in_sync(server, primaries[0]) for server in running if server is not primaries[0]
            )

        wait_until(replicated, "every replica has the primary's data")

    def wait_until_ready(self) -> None:
        """Return when the running sentinels know each other and all servers."""

        def ready() -> bool:
            for sentinel in filter(lambda one: one.is_running, self.sentinels):
                state = self._state_in(sentinel)
                if (
                    int(state["num-other-sentinels"]) != len(self.sentinels) - 1
                    or int(state["num-slaves"]) < len(self.servers) - 1
                    or state["flags"] != "master"
                ):
                    return False
            return True

        wait_until(ready, "the sentinels know each other and all servers")

    def _state_in(self, sentinel: RedisServer) -> dict[str, str]:
        reply = ask(sentinel, "SENTINEL", "MASTER", self.name)
        return dict(zip(reply[::2], reply[1::2], strict=True))

    def _agreed_primary(self) -> RedisServer | None:
        named = set()
        for sentinel in filter(lambda one: one.is_running, self.sentinels):
            named.add(int(ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1]))
        return next((one for one in self.servers if named == {one.port}), None)

    def kill_primary(self) -> RedisServer:
        """Kill the primary with SIGKILL and return it."""
        primary = self.primary
        primary.kill()
        return primary

    def wait_for_failover(self, old: RedisServer) -> RedisServer:
        """Return the new primary when the sentinels name it and it accepts writes."""

        def promoted() -> RedisServer | None:
            primary = self._agreed_primary()
            return primary if primary and primary is not old and is_primary(primary) else None

        return wait_until(promoted, "another primary")

    def fail_over(self) -> RedisServer:
        """Let a sentinel promote a replica while the primary runs, and return it."""
        old = self.primary
        ask(self.sentinels[0], "SENTINEL", "FAILOVER", self.name)
        return self.wait_for_failover(old)

    def restart(self, server: RedisServer, *, as_primary: bool = False) -> None:
        """Start a killed server as a replica, and return when it has the data.

        With `as_primary` it starts as it was killed, and the sentinels make it a
        replica about 10 s later. Then the method does not wait for the data.
        """
        primary = self.primary
        server.start()
        if not as_primary:
            # The server rejects the command while it loads its data.
            wait_until(lambda: ask(server, "REPLICAOF", "127.0.0.1", primary.port) == "OK", "the server has loaded")
            wait_until(lambda: is_replica_in_sync(server, primary), "the restarted server has the data")


class ClusterGroup:
    """A Cluster whose primaries serve equal ranges of slots.

    `options` are options of the servers, such as `--appendonly yes`. With `tls`, all
    connections have TLS, on both sides with a certificate.
    """

    def __init__(
        self,
        binary: str,
        folder: Path,
        *options: str,
        primaries: int = 3,
        replicas_per_primary: int = 1,
        node_timeout_seconds: float = PATIENT_FAILOVER_SECONDS,
        tls: Authority | None = None,
    ) -> None:
        self._tls = tls
        self._primaries = primaries
        count = primaries * (1 + replicas_per_primary)
        own = (
            *("--cluster-enabled", "yes"),
            *("--cluster-node-timeout", str(int(node_timeout_seconds * 1000))),
            # A replica that has lost its primary may stand for election at any age.
            *("--cluster-replica-validity-factor", "0"),
            # A primary that has no slot left stays one.
            *("--cluster-allow-replica-migration", "no"),
            # One dead shard leaves the slots of the others in service.
            *("--cluster-require-full-coverage", "no"),
        )
        self.nodes = [
            RedisServer(binary, one, *_FAST_SYNC, *own, *options, tls=tls)
            for one in _folders(folder, (f"node-{number}" for number in range(count)))
        ]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """Return the URL for the service."""
        return url_of("redis+cluster", ",".join(f"127.0.0.1:{node.port}" for node in self.nodes), self._tls)

    @property
    def primaries(self) -> list[RedisServer]:
        """Return the primaries that have slots, in the order of their first slots."""
        view = self._view(self._running()[0])
        ports = [view[slots][0] for slots in sorted(view, key=lambda slots: slots.start)]
        return [self._by_port(port) for port in dict.fromkeys(ports)]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self.wait_until_ok()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _join(self) -> None:
        ids = [self.id_of(node) for node in self.nodes]
        primaries = self.nodes[: self._primaries]
        for epoch, node in enumerate(self.nodes, 1):
            ask(node, "CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for number, node in enumerate(primaries):
            first, after = (SLOTS * at // len(primaries) for at in (number, number + 1))
            ask(node, "CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        # Each pair meets. Gossip alone takes some seconds to introduce all nodes.
        for one, other in combinations(self.nodes, 2):
            ask(one, "CLUSTER", "MEET", "127.0.0.1", other.port, other.cluster_port)
        for number, replica in enumerate(self.nodes[self._primaries :]):
            self._replicate(replica, ids[number % len(primaries)])

    @staticmethod
    def _replicate(replica: RedisServer, primary_id: str) -> None:
        wait_until(lambda: ask(replica, "CLUSTER", "REPLICATE", primary_id) == "OK", "the replica knows its primary")

    def _running(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.is_running]

    def _view(self, node: RedisServer) -> dict[range, list[int]]:
        """Return the slots and the ports of their primary and its replicas.

        This is the view of one node.
        """
        return {
            range(first, last + 1): [owners[0][1], *sorted(owner[1] for owner in owners[1:])]
            for first, last, *owners in ask(node, "CLUSTER", "SLOTS")
        }

    def _by_port(self, port: int) -> RedisServer:
        return next(node for node in self.nodes if node.port == port)

    @staticmethod
    def id_of(node: RedisServer) -> str:
        """Return the id by which the Cluster knows a node."""
        return str(ask(node, "CLUSTER", "MYID"))

    @staticmethod
    def slot_of(key: str) -> int:
        """Return the slot of a key."""
        return key_slot(key.encode())

    def _agreed_owners(self, slot: int) -> list[RedisServer]:
        """Return primary and replicas of a slot, or [] when the nodes do not agree."""
        views = {
            tuple(next((ports for slots, ports in self._view(node).items() if slot in slots), ()))
            for node in self._running()
        }
        return [self._by_port(port) for port in views.pop()] if len(views) == 1 else []

    def primary_of(self, slot: int) -> RedisServer:
        """Return the primary that serves a slot, in the view of all running nodes."""
        return wait_until(lambda: self._agreed_owners(slot), f"the nodes agree on slot {slot}")[0]

    def replicas_of(self, slot: int) -> list[RedisServer]:
        """Return the running replicas of the primary that serves a slot."""
        owners = wait_until(lambda: self._agreed_owners(slot), f"the nodes agree on slot {slot}")
        return [node for node in owners[1:] if node.is_running]

    def is_ok(self) -> bool:
        """Return whether every running node agrees on all slots, and they are served.

        Running replicas have the data of their primary.
        """
        views = [self._view(node) for node in self._running()]
        if any(view != views[0] for view in views):
            return False
        served = sum(len(slots) for slots in views[0])
        owners = {port for ports in views[0].values() for port in ports}
        return (
            served == SLOTS
            and owners == {node.port for node in self._running()}
            and all(self._serves_all(node) for node in self._running())
            and all(
                is_replica_in_sync(self._by_port(port), self._by_port(ports[0]))
                for ports in views[0].values()
                for port in ports[1:]
            )
        )

    @staticmethod
    def _serves_all(node: RedisServer) -> bool:
        state = fields(ask(node, "CLUSTER", "INFO"))
        return state["cluster_state"] == "ok" and state["cluster_slots_ok"] == str(SLOTS)

    def wait_until_ok(self) -> None:
        """Return when `is_ok()` is true."""
        wait_until(self.is_ok, "all slots are served and all replicas have the data")

    def kill_primary(self, slot: int) -> RedisServer:
        """Kill the primary of a slot with SIGKILL and return it."""
        primary = self.primary_of(slot)
        primary.kill()
        return primary

    def wait_for_failover(self, slot: int, old: RedisServer) -> RedisServer:
        """Return the new primary of a slot when all running nodes know it."""

        def promoted() -> RedisServer | None:
            owners = self._agreed_owners(slot)
            is_other = bool(owners) and owners[0] is not old and owners[0].is_running
            return owners[0] if is_other and is_primary(owners[0]) else None

        return wait_until(promoted, f"another primary of slot {slot}")

    def fail_over(self, slot: int) -> RedisServer:
        """Promote a replica of a slot while its primary runs, and return it."""
        old = self.primary_of(slot)
        ask(self.replicas_of(slot)[0], "CLUSTER", "FAILOVER")
        return self.wait_for_failover(slot, old)

    def restart(self, node: RedisServer) -> None:
        """Start a killed node, and return when the Cluster has taken it back."""
        node.start()
        self.wait_until_ok()

    def begin_move(self, slot: int, target: RedisServer) -> RedisServer:
        """Open a slot for a move and return its primary.

        From then on, the primary answers `ASK` for keys that it does not hold.
        """
        source = self.primary_of(slot)
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source

    @staticmethod
    def migrate_keys(slot: int, source: RedisServer, target: RedisServer, count: int | None = None) -> int:
        """Migrate all keys of an open slot, or at most `count`, and return how many."""
        migrated = 0
        while count is None or migrated < count:
            page = _MIGRATED_AT_ONCE if count is None else min(count - migrated, _MIGRATED_AT_ONCE)
            keys = ask(source, "CLUSTER", "GETKEYSINSLOT", slot, page)
            if not keys:
                break
            ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, _MIGRATE_TIMEOUT_MS, "KEYS", *keys)
            migrated += len(keys)
        return migrated

    def finish_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Give an open slot without keys to its new primary, which all nodes learn."""
        target_id = self.id_of(target)
        # The target first: otherwise nobody would own the slot for a moment.
        others = [node for node in self.primaries if node is not source and node is not target]
        for node in (target, source, *others):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def move_slots(self, slots: Sequence[int], target: RedisServer) -> int:
        """Move slots with their keys to another primary, and return how many keys."""
        migrated = 0
        for slot in slots:
            source = self.begin_move(slot, target)
            migrated += self.migrate_keys(slot, source, target)
            self.finish_move(slot, source, target)
        for slot in slots:
            wait_until(
                lambda slot=slot: self._agreed_owners(slot)[:1] == [target],  # type: ignore[misc]
                f"all nodes know the new primary of slot {slot}",
            )
        return migrated
