import asyncio

from cloudevents.core.v1.event import CloudEvent
from func_python.cloudevent import serve


async def handle(scope, receive, send):
    data = scope["event"].get_data()
    what = data["do"]
    if what == "fail":
        raise RuntimeError("boom")
    if what == "slow":
        await asyncio.sleep(2.5)
    if what == "empty":
        await send.http({"type": "http.response.start", "status": 202, "headers": []})
        await send.http({"type": "http.response.body", "body": b""})
        return
    out = {"error": "boom"} if what == "error" else {"n": 2 * data["n"]}
    await send(CloudEvent({"type": "doubled", "source": "/python"}, out))


serve(handle)
