"""What Redis says of itself, for those who run the service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisStatus:
    """The server as it is now. None: it does not tell, or the service's user may not ask."""

    server: str | None  # such as "Valkey 9.1.2"
    memory_used_bytes: int | None
    memory_limit_bytes: int | None  # maxmemory; 0: no limit is set
    machine_memory_bytes: int | None  # what the machine has, which other processes use too
    append_only_file: bool | None  # whether it keeps what it is given over a restart
    may_evict: bool | None  # whether it may throw sessions away when its memory is full
