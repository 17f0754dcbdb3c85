"""A function behind a topic: counts the words of a file. Any Kafka client will do; this is confluent_kafka.

    KAFKA_BROKERS=127.0.0.1:9092 python3 deploy/examples/05-kafka/count.py
"""
import json, os, re
from confluent_kafka import Consumer, KafkaException, Producer

STRUCTURED = "application/cloudevents+json"


def read(message):
    """The attributes and the data of an event, and whether it was structured."""
    headers = {name: value.decode() for name, value in message.headers() or []}
    if headers.get("content-type", "").startswith(STRUCTURED):
        event = json.loads(message.value())
        return event, event.pop("data", None), True
    return {name[3:]: value for name, value in headers.items() if name.startswith("ce_")}, json.loads(message.value()), False


def write(event, data, structured):
    """The headers and the value of an event."""
    if structured:
        return {"content-type": STRUCTURED}, json.dumps({**event, "datacontenttype": "application/json", "data": data})
    return {"content-type": "application/json", **{"ce_" + name: value for name, value in event.items()}}, json.dumps(data)


def acknowledged(error, _):
    if error is not None:
        raise KafkaException(error)


def serve(brokers, invocations, completions, function):
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "workers", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    consumer.subscribe(invocations)
    while True:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        invocation, data, structured = read(message)
        try:
            verdict, answer = "succeeded", function(data)
        except Exception as e:
            verdict, answer = "failed", {"type": type(e).__name__, "message": str(e)}
        completion = {
            "specversion": "1.0", "id": "done-" + invocation["id"], "source": "/functions/" + invocation["subject"],
            "type": "dev.onward.function." + verdict, "causationid": invocation["id"],
        }
        headers, value = write(completion, answer, structured)
        producer.produce(completions, value, key=invocation["id"], headers=headers, on_delivery=acknowledged)
        producer.flush()
        consumer.commit(message, asynchronous=False)  # Only now: one that was not answered is read again.


def count(data):
    with open(data["path"]) as f:
        return {"path": data["path"], "words": len(re.findall(r"\w+", f.read()))}


if __name__ == "__main__":
    serve(os.environ["KAFKA_BROKERS"], ["functions.count"], "functions.completed", count)
