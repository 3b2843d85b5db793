"""Arguments: URL, exchange. One message with a header of each type."""
import datetime
import decimal
import sys

import pika

url, exchange = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
headers = {
    "int": -7,
    "yes": True,
    "none": None,
    "at": datetime.datetime(2026, 1, 1),
    "minus": decimal.Decimal("-1.5"),
    "plus": decimal.Decimal("3.25"),
    "list": [decimal.Decimal("-1.5"), "a", {"x": None}],
    "raw": b"\xff\x00",
}
properties = pika.BasicProperties(
    content_type="application/json", headers=headers, message_id="p-1", app_id="py", reply_to="q", priority=3
)
connection.channel().basic_publish(exchange, "0", b'{"pika":1}', properties)
connection.close()
