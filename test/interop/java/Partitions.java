import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.utils.Utils;

/** For each line of the input (a key as hexadecimal UTF-8) the partition of seven that the Java client takes for it. */
public class Partitions {
  public static void main(String[] args) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      byte[] key = java.util.HexFormat.of().parseHex(line);
      System.out.println(Utils.toPositive(Utils.murmur2(key)) % 7);
    }
  }
}
