import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.message.Encoding;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.CloudEventDeserializer;
import io.cloudevents.kafka.CloudEventSerializer;
import java.net.URI;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** CloudEvents by the Java SDK. Arguments: brokers, topic, then binary or structured (writes one) or read (prints one). */
public class Events {
  public static void main(String[] args) throws Exception {
    Map<String, Object> properties = new HashMap<>();
    properties.put("bootstrap.servers", args[0]);
    if (args[2].equals("read")) read(properties, args[1]);
    else write(properties, args[1], Encoding.valueOf(args[2].toUpperCase()));
  }

  static void write(Map<String, Object> properties, String topic, Encoding encoding) throws Exception {
    properties.put(CloudEventSerializer.ENCODING_CONFIG, encoding);
    properties.put(CloudEventSerializer.EVENT_FORMAT_CONFIG, JsonFormat.CONTENT_TYPE);
    properties.put("key.serializer", StringSerializer.class);
    properties.put("value.serializer", CloudEventSerializer.class);
    CloudEvent event = CloudEventBuilder.v1().withId("java-1").withSource(URI.create("/java")).withType("placed")
        .withTime(OffsetDateTime.parse("2026-11-20T10:00:00+02:00")).withExtension("tenant", "acme")
        .withData("application/json", "{\"n\":1}".getBytes()).build();
    try (KafkaProducer<String, CloudEvent> producer = new KafkaProducer<>(properties)) {
      producer.send(new ProducerRecord<>(topic, "k", event)).get();
    }
  }

  static void read(Map<String, Object> properties, String topic) {
    properties.put("key.deserializer", StringDeserializer.class);
    properties.put("value.deserializer", CloudEventDeserializer.class);
    try (KafkaConsumer<String, CloudEvent> consumer = new KafkaConsumer<>(properties)) {
      List<TopicPartition> all = List.of(new TopicPartition(topic, 0));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      for (boolean seen = false; !seen; ) {
        for (var record : consumer.poll(Duration.ofMillis(200))) {
          CloudEvent event = record.value();
          System.out.println(record.key() + " " + event.getId() + " " + event.getSource() + " " + event.getType() + " "
              + event.getDataContentType() + " " + new String(event.getData().toBytes()));
          seen = true;
        }
      }
    }
  }
}
