-- Writes a mark, for which WAIT and WAITAOF can wait (see durability.py).
--
-- KEYS  the mark. Other keys may follow.
-- ARGV  the lifetime of the mark
--
-- EXPIRE is the first write. A full Redis runs it, and after a first write it runs the
-- rest of the script too. So sessions can be ended while Redis is full. DEL cannot be
-- the first write. It would remove the mark, and while the shard moves, the SET would
-- then be sent to the other server. Repeatable.

try('EXPIRE', KEYS[1], ARGV[1])
try('SET', KEYS[1], '', 'EX', ARGV[1])
return 1
