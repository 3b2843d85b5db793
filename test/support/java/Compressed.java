import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Compressed batches of the Java client. "write": sends records to a partition, each of the given size. "read": prints
 * the records of partition 0, up to the count.
 *
 * Arguments: brokers, topic, "write", codec, partition, count, bytes; or brokers, topic, "read", count.
 */
public class Compressed {
  public static void main(String[] args) throws Exception {
    Map<String, Object> properties = new HashMap<>();
    properties.put("bootstrap.servers", args[0]);
    if (args[2].equals("write")) write(properties, args);
    else read(properties, args[1], Integer.parseInt(args[3]));
  }

  static void write(Map<String, Object> properties, String[] args) throws Exception {
    properties.put("compression.type", args[3]);
    properties.put("linger.ms", "50");
    properties.put("key.serializer", StringSerializer.class.getName());
    properties.put("value.serializer", StringSerializer.class.getName());
    try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
      for (int i = 0; i < Integer.parseInt(args[5]); i++) {
        String filling = (args[3] + i).repeat(1 + Integer.parseInt(args[6]) / 6);
        producer.send(new ProducerRecord<>(args[1], Integer.parseInt(args[4]), "k", i + " " + filling));
      }
      producer.flush();
    }
  }

  static void read(Map<String, Object> properties, String topic, int count) {
    properties.put("auto.offset.reset", "earliest");
    properties.put("key.deserializer", StringDeserializer.class.getName());
    properties.put("value.deserializer", StringDeserializer.class.getName());
    try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
      List<TopicPartition> all = new ArrayList<>(List.of(new TopicPartition(topic, 0)));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      for (int seen = 0; seen < count; ) {
        for (var record : consumer.poll(Duration.ofMillis(200))) {
          System.out.println(record.value());
          seen++;
        }
      }
    }
  }
}
