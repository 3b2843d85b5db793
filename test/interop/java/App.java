package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.function.Function;
import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.stream.function.StreamBridge;
import org.springframework.context.annotation.Bean;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.MessageBuilder;

/**
 * A Spring Cloud Stream application on Kafka and RabbitMQ. What it is handed it prints, one line each: the function, the
 * payload, then its headers with their classes. Lines of its input are sent: binding, key (or -), headers as name:type=value
 * joined by commas (or -), payload.
 */
@SpringBootApplication
public class App {
  public static void main(String[] args) {
    SpringApplication.run(App.class, args);
  }

  @Bean
  public Consumer<Message<byte[]>> ksink() {
    return message -> print("ksink", message);
  }

  @Bean
  public Consumer<Message<byte[]>> kletters() {
    return message -> print("kletters", message);
  }

  @Bean
  public Consumer<Message<byte[]>> kfail() {
    return message -> {
      throw new IllegalStateException("no stock");
    };
  }

  @Bean
  public Function<String, String> kcharge() {
    return order -> "{\"paid\":" + order + "}";
  }

  @Bean
  public Function<String, String> rcharge() {
    return order -> "{\"by\":1}";
  }

  @Bean
  public Function<String, String> rchargetoo() {
    return order -> "{\"by\":2}";
  }

  @Bean
  public Consumer<Message<byte[]>> krich() {
    return message -> print("krich", message);
  }

  @Bean
  public Consumer<Message<byte[]>> rrich() {
    return message -> print("rrich", message);
  }

  @Bean
  public Consumer<Message<byte[]>> rtaken() {
    return message -> print("rtaken", message);
  }

  @Bean
  public Function<Message<byte[]>, List<Message<byte[]>>> ksplit() {
    return App::parts;
  }

  @Bean
  public Function<Message<byte[]>, List<Message<byte[]>>> ksplitclean() {
    return App::parts;
  }

  @Bean
  public Function<Message<byte[]>, List<Message<byte[]>>> rsplit() {
    return App::parts;
  }

  @Bean
  public Function<Message<byte[]>, List<Message<byte[]>>> rsplitclean() {
    return App::parts;
  }

  /** Two messages with the headers of one, as Spring Integration's splitter makes them. */
  static List<Message<byte[]>> parts(Message<byte[]> message) {
    return List.of(MessageBuilder.fromMessage(message).setHeader("part", 1).build(),
        MessageBuilder.fromMessage(message).setHeader("part", 2).build());
  }

  @Bean
  public CommandLineRunner commands(StreamBridge bridge) {
    return args -> {
      Thread thread = new Thread(() -> read(bridge));
      thread.setDaemon(true);
      thread.start();
    };
  }

  static void read(StreamBridge bridge) {
    try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        String[] parts = line.split(" ", 4);
        var message = MessageBuilder.withPayload(parts[3].getBytes(StandardCharsets.UTF_8));
        if (!parts[1].equals("-")) message.setHeader("kafka_messageKey", parts[1].getBytes(StandardCharsets.UTF_8));
        for (String header : parts[2].equals("-") ? new String[0] : parts[2].split(",")) {
          String name = header.substring(0, header.indexOf(':'));
          String type = header.substring(name.length() + 1, header.indexOf('='));
          String value = header.substring(header.indexOf('=') + 1);
          message.setHeader(name, typed(type, value));
        }
        bridge.send(parts[0], message.build());
      }
    } catch (Exception error) {
      error.printStackTrace();
    }
  }

  static Object typed(String type, String value) {
    return switch (type) {
      case "int" -> Integer.valueOf(value);
      case "short" -> Short.valueOf(value);
      case "bool" -> Boolean.valueOf(value);
      case "decimal" -> new BigDecimal(value);
      case "uuid" -> UUID.fromString(value);
      case "instant" -> Instant.parse(value);
      case "date" -> Date.from(Instant.parse(value));
      case "list" -> new ArrayList<>(List.of(new BigDecimal(value), value));
      default -> value;
    };
  }

  static synchronized void print(String function, Message<byte[]> message) {
    Map<String, String> headers = new TreeMap<>();
    message.getHeaders().forEach((name, value) -> {
      String text = value instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8) : String.valueOf(value);
      headers.put(name, value.getClass().getSimpleName() + "=" + text);
    });
    StringBuilder line = new StringBuilder("GOT " + function);
    line.append(' ').append(Base64.getEncoder().encodeToString(message.getPayload()));
    headers.forEach((name, value) -> line.append(' ').append(name).append('=')
        .append(Base64.getEncoder().encodeToString(value.getBytes(StandardCharsets.UTF_8))));
    System.out.println(line);
    System.out.flush();
  }
}
