from cloudevents.core.v1.event import CloudEvent
from func_python.cloudevent import serve


async def handle(scope, receive, send):
    order = scope["event"].get_data()
    answer = {"order": order["order"], "price": 7 * order["amount"]}
    await send(CloudEvent({"type": "com.example.order.priced", "source": "/prices"}, answer))


serve(handle)
