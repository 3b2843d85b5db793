"""Arguments: brokers, topic, keys. Prints the partition of each key; sends one record without a key and a tombstone, too."""
import sys

from kafka import KafkaProducer

brokers, topic, *keys = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=brokers, api_version=(2, 5, 0))
headers = [("tenant", b"acme"), ("raw", b"\xff\x00")]
for key in keys:
    print(producer.send(topic, key=key.encode(), value=b'{"py":1}', headers=headers).get(10).partition)
producer.send(topic, value=b'{"py":2}', headers=headers).get(10)
producer.send(topic, key=b"k1", value=None).get(10)
