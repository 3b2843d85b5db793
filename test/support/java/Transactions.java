import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Transactions of several producers that overlap at random, some aborted, with plain records between them. At the end it
 * prints what a read_committed consumer of the Java client reads: partition, offset and name of each record.
 *
 * Arguments: brokers, topic, seed, rounds, largest record in bytes, "read" to print, or "hold" to print and leave a
 * transaction open in partition 0 until the input ends.
 */
public class Transactions {
  static final int PRODUCERS = 4;

  public static void main(String[] args) throws Exception {
    String brokers = args[0];
    String topic = args[1];
    Random random = new Random(Long.parseLong(args[2]));
    int rounds = Integer.parseInt(args[3]);
    int largest = Integer.parseInt(args[4]);
    List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
    for (int i = 0; i < PRODUCERS; i++) {
      producers.add(producer(brokers, topic + "-" + i));
      producers.get(i).initTransactions();
    }
    KafkaProducer<byte[], byte[]> plain = producer(brokers, null);
    int partitions = plain.partitionsFor(topic).size();
    for (int round = 0; round < rounds; round++) {
      round(producers, plain, topic, partitions, round, largest, random);
    }
    if (args[5].equals("hold")) {
      producers.get(0).beginTransaction();
      producers.get(0).send(new ProducerRecord<>(topic, 0, null, "open".getBytes())).get();
      System.out.println("open");
      System.out.flush();
      System.in.read();
      producers.get(0).abortTransaction();
    }
    for (KafkaProducer<byte[], byte[]> each : producers) each.close();
    plain.close();
    if (args[5].equals("read")) print(brokers, topic);
  }

  static void round(
      List<KafkaProducer<byte[], byte[]>> producers,
      KafkaProducer<byte[], byte[]> plain,
      String topic,
      int partitions,
      int round,
      int largest,
      Random random) throws Exception {
    int[] left = new int[PRODUCERS];
    boolean[] begun = new boolean[PRODUCERS];
    boolean[] aborts = new boolean[PRODUCERS];
    int open = 0;
    for (int i = 0; i < PRODUCERS; i++) {
      left[i] = random.nextInt(4) == 0 ? 0 : 1 + random.nextInt(8);
      aborts[i] = random.nextInt(5) < 3;
      if (left[i] > 0) open++;
    }
    for (int n = 0; open > 0; n++) {
      int i = random.nextInt(PRODUCERS);
      if (random.nextInt(10) == 0) send(plain, topic, partitions, round + "/plain/" + n, largest, random).get();
      if (left[i] < 0 || (left[i] == 0 && !begun[i])) continue;
      if (left[i] == 0) {
        if (aborts[i]) producers.get(i).abortTransaction();
        else producers.get(i).commitTransaction();
        left[i] = -1;
        open--;
        continue;
      }
      if (!begun[i]) producers.get(i).beginTransaction();
      begun[i] = true;
      left[i]--;
      String name = round + "/" + (aborts[i] ? "aborted" : "committed") + "/" + i + "/" + n;
      send(producers.get(i), topic, partitions, name, largest, random).get();
    }
  }

  static java.util.concurrent.Future<?> send(
      KafkaProducer<byte[], byte[]> producer, String topic, int partitions, String name, int largest, Random random) {
    byte[] value = new byte[Math.max(64, random.nextInt(largest))];
    java.util.Arrays.fill(value, (byte) ' ');
    byte[] start = name.getBytes();
    System.arraycopy(start, 0, value, 0, start.length);
    // As IntegerSerializer writes 0 and 1: the keys of Kafka's own markers.
    byte[] key = random.nextInt(3) == 0 ? new byte[] {0, 0, 0, (byte) random.nextInt(2)} : null;
    return producer.send(new ProducerRecord<>(topic, random.nextInt(partitions), key, value));
  }

  static KafkaProducer<byte[], byte[]> producer(String brokers, String transactionalId) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    if (transactionalId != null) properties.put("transactional.id", transactionalId);
    return new KafkaProducer<>(properties);
  }

  static void print(String brokers, String topic) {
    Map<String, Object> properties = new HashMap<>();
    properties.put("bootstrap.servers", brokers);
    properties.put("isolation.level", "read_committed");
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
      List<TopicPartition> all = new ArrayList<>();
      for (PartitionInfo info : consumer.partitionsFor(topic)) all.add(new TopicPartition(topic, info.partition()));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      Map<TopicPartition, Long> ends = consumer.endOffsets(all);
      StringBuilder out = new StringBuilder();
      while (all.stream().anyMatch(each -> consumer.position(each) < ends.get(each))) {
        consumer.poll(Duration.ofMillis(200)).forEach(record ->
            out.append(record.partition()).append(' ').append(record.offset()).append(' ')
                .append(new String(record.value()).trim()).append('\n'));
      }
      System.out.print(out);
    }
  }
}
