import binascii

from service.storage.keyspace import SHARD_TAGS, Keyspace


def slot(tag: str) -> int:
    """Return the hash slot of a tag: CRC16 (XMODEM) modulo 16384."""
    return binascii.crc_hqx(tag.encode(), 0) % 16384


def test_shards_spread_evenly_over_the_cluster() -> None:
    """Each tag's slot is near the middle of its sixteenth of the slots."""
    assert len(set(SHARD_TAGS)) == 16
    for shard, tag in enumerate(SHARD_TAGS):
        assert abs(slot(tag) - (1024 * shard + 512)) <= 0.02 * 1024, tag


def test_all_keys_of_a_shard_share_its_tag() -> None:
    """A session and the index of its user have the same tag."""
    keyspace = Keyspace("jay")
    assert keyspace.session("a0000000-0000-4000-8000-000000000000") == "jay{uv}a0000000-0000-4000-8000-000000000000"
    assert keyspace.user("a123") == "jay{uv}user:a123"
    assert keyspace.base(10) == "jay{uv}"


def test_a_sessions_key_fits_48_bytes() -> None:
    """A session's key fits an allocation of 48 bytes in Redis.

    The key has a header of three bytes and a final NUL.
    """
    assert len(Keyspace("jay").session("a0000000-0000-4000-8000-000000000000")) + 4 <= 48
