import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;

/**
 * Kafka Streams, exactly once. Arguments: brokers, a prefix of all topics, a folder. PREFIX.orders goes as two lines to PREFIX.lines and,
 * without the headers that are CloudEvents' and ours, to PREFIX.clean; joined with the table PREFIX.prices to PREFIX.joined; counted
 * by key and minute to PREFIX.counts; as it is to PREFIX.copied.
 */
public class Streams {
  static final List<String> OURS = List.of("ce_id", "ce_source", "ce_type", "ce_time", "payload-version");

  public static void main(String[] args) throws Exception {
    String prefix = args[1] + ".";
    StreamsBuilder builder = new StreamsBuilder();
    KStream<String, String> orders = builder.stream(prefix + "orders");
    KStream<String, String> lines = orders.flatMapValues(order -> List.of("{\"line\":1}", "{\"line\":2}"));
    lines.to(prefix + "lines");
    lines.processValues(Cleaned::new).to(prefix + "clean");
    orders.to(prefix + "copied");
    KTable<String, String> prices = builder.table(prefix + "prices");
    orders.join(prices, (order, price) -> "{\"price\":" + price + "}").to(prefix + "joined");
    orders.groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).count()
        .toStream((window, count) -> window.key()).mapValues(count -> "{\"count\":" + count + "}").to(prefix + "counts");
    KafkaStreams streams = new KafkaStreams(builder.build(), settings(args));
    streams.start();
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    while (streams.state() != KafkaStreams.State.RUNNING) Thread.sleep(50);
    System.out.println("Started App");
    Thread.currentThread().join();
  }

  static Properties settings(String[] args) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
    settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put("auto.offset.reset", "earliest");
    settings.put("statestore.cache.max.bytes", 0);
    return settings;
  }

  static class Cleaned extends ContextualFixedKeyProcessor<String, String, String> {
    @Override
    public void process(FixedKeyRecord<String, String> record) {
      RecordHeaders headers = new RecordHeaders(record.headers());
      OURS.forEach(headers::remove);
      context().forward(record.withHeaders(headers));
    }
  }
}
