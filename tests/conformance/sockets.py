"""A WebSocket server that says back what it hears, in a thread."""

import asyncio
import logging
import threading

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

# Clients that break off are the point here, and no news.
logging.getLogger("websockets").setLevel(logging.CRITICAL)


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass


def echo_sockets(port):
    """Returns what stops it."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    stop = None

    async def main():
        nonlocal stop
        stop = asyncio.Event()
        # What is behind the gateway is to hear what the client said, as it said it.
        options = {"compression": None, "max_size": None}
        async with serve(echo, "127.0.0.1", port, **options):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    started.wait()

    def end():
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)

    return end
