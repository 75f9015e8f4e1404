"""The front door: answers frequent requests itself and hands all others to aiohttp.

Read in this order:

    door.py          the protocol of a connection: takes its requests in their order
    inbox.py         bytes that wait for their turn
    plans.py         decides by the head how to answer
    heads.py         reads a head that all parsers read in the same way
    fast_path.py     answers a request, by the same functions as the handlers
    creations.py     creates a session
    forward_auth.py  answers forward-auth
    repeats.py       recognizes a request that repeats an earlier one
    exchange.py      a request in progress
    answers.py       the bytes of an answer
    sockets.py       facts about a connection
    host.py          the contract of the server that makes doors
"""
