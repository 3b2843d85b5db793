package interopbus;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.bus.BusProperties;
import org.springframework.cloud.bus.event.EnvironmentChangeRemoteApplicationEvent;
import org.springframework.cloud.bus.event.PathDestinationFactory;
import org.springframework.cloud.bus.event.RemoteApplicationEvent;
import org.springframework.context.event.EventListener;

/** A Spring Cloud Bus application. It prints the events that it hears; each line of its input is the value of a change that it publishes. */
@SpringBootApplication
public class Bus {
  public static void main(String[] args) throws Exception {
    var context = SpringApplication.run(Bus.class, args);
    String id = context.getBean(BusProperties.class).getId();
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      var all = new PathDestinationFactory().getDestination("**");
      context.publishEvent(new EnvironmentChangeRemoteApplicationEvent(context, id, all, Map.of("value", line)));
    }
  }

  @EventListener
  public void on(RemoteApplicationEvent event) {
    String text = event.getClass().getSimpleName() + " from " + event.getOriginService();
    System.out.println("GOT bus " + Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8)));
    System.out.flush();
  }
}
