"""The front door: answers frequent requests itself and hands all others to aiohttp.

door.py     the protocol of a connection: which requests it takes, and their order
heads.py    recognizes a frequent request by its bytes
lane.py     answers it, by the same functions as the handlers
answers.py  the bytes of an answer
"""
