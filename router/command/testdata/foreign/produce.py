"""Produces the records that come as lines of JSON: produce.py BROKERS."""
import json, sys
from confluent_kafka import KafkaException, Producer

producer = Producer({"bootstrap.servers": sys.argv[1], "compression.type": "lz4"})


def acknowledged(error, _):
    if error is not None:
        raise KafkaException(error)


for line in sys.stdin:
    record = json.loads(line)
    producer.produce(record["topic"], record["value"], key=record["key"], headers=record["headers"], on_delivery=acknowledged)
producer.flush()
