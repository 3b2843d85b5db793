"""Arguments: URL, exchange. JSON, text, JSON with zlib and with bzip2."""
import sys

from kombu import Connection, Exchange, Producer

url, name = sys.argv[1:]
with Connection(url) as connection:
    exchange = Exchange(name, "direct", passive=True, durable=True)
    producer = Producer(connection.channel(), exchange=exchange, routing_key="0", auto_declare=False)
    producer.publish({"n": 1}, serializer="json", headers={"a": 1})
    producer.publish("text", serializer="raw", content_type="text/plain", content_encoding="utf-8")
    producer.publish({"n": 2}, serializer="json", compression="zlib")
    producer.publish({"n": 3}, serializer="json", compression="bzip2")
