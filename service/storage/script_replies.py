"""Numbers that scripts return in place of a result or beside one.

`script_files.py` passes them to the scripts, so that each is written only here.
"""

from enum import IntEnum


class ErasureState(IntEnum):
    """How far an erasure has come in one shard: see erase.lua.

    DRAINING: an earlier erasure is not complete, and its sessions are ended first.
    BEGUN: sessions are left. The user id is no longer in the shard's top lists.
    DONE: no session is left.
    FOREIGN: another program's data is under a key of the erasure.
    """

    DRAINING = 0
    BEGUN = 1
    DONE = 2
    FOREIGN = 3


class UnionReply(IntEnum):
    """Replies to a step of a union that are not a number of users: see union.lua.

    UNFINISHED: the union has more steps.
    FOREIGN: another program's data is under the key of a sketch.
    LOST: a scratch key has expired, and the query has to start again.
    """

    UNFINISHED = -1
    FOREIGN = -2
    LOST = -3
