"""The front door: answers frequent requests itself and hands all others to aiohttp.

Read in this order:

    door.py      the protocol of a connection: which requests it takes, in their order
    heads.py     recognizes a frequent request by its bytes
    fast_path.py answers it, by the same functions as the handlers
    exchange.py  a request in progress
    answers.py   the bytes of an answer
    sockets.py   facts about a connection
    host.py      the contract of the server that makes doors
"""
