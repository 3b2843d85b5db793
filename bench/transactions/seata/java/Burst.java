package bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

/** Keeps so many transfers under way for a while: what `bench/serve.ts` does for the others. */
final class Burst {
  /** @param work resolves one transfer; returns how often it was rolled back before */
  interface Work {
    int run() throws Exception;
  }

  record Order(int atOnce, long rampMs, long countedMs, int atLeast) {
    static Order parse(String line) {
      String[] words = line.trim().split(" ");
      return new Order(Integer.parseInt(words[0]), Long.parseLong(words[1]), Long.parseLong(words[2]), Integer.parseInt(words[3]));
    }
  }

  record Ran(List<Double> eachMs, double countedMs, long total, long refused) {
    String json() {
      String each = eachMs.stream().map(ms -> String.format(Locale.ROOT, "%.3f", ms)).collect(Collectors.joining(","));
      return String.format(Locale.ROOT, "{\"eachMs\":[%s],\"countedMs\":%.3f,\"total\":%d,\"refused\":%d}", each, countedMs, total, refused);
    }
  }

  private record Ended(long at, double ms, int refused) {}

  private final Work work;
  private final List<Ended> ended = new ArrayList<>();
  private volatile boolean over;

  private Burst(Work work) {
    this.work = work;
  }

  static Ran run(Work work, Order order) throws Exception {
    return new Burst(work).run(order);
  }

  private Ran run(Order order) throws Exception {
    List<CompletableFuture<Void>> slots = new ArrayList<>();
    for (int n = 0; n < order.atOnce; n++) slots.add(slot());
    long from = phase(order.rampMs, order.atLeast, slots);
    long to = phase(order.countedMs, order.atLeast, slots);
    over = true;
    for (CompletableFuture<Void> slot : slots) slot.get();
    List<Double> eachMs = ended.stream().filter(one -> one.at > from && one.at <= to).map(Ended::ms).toList();
    return new Ran(eachMs, (to - from) / 1e6, ended.size(), ended.stream().mapToLong(Ended::refused).sum());
  }

  private CompletableFuture<Void> slot() {
    CompletableFuture<Void> done = new CompletableFuture<>();
    Thread thread = new Thread(() -> {
      try {
        while (!over) {
          long beganAt = System.nanoTime();
          int refused = work.run();
          long at = System.nanoTime();
          synchronized (ended) {
            ended.add(new Ended(at, (at - beganAt) / 1e6, refused));
          }
        }
        done.complete(null);
      } catch (Throwable error) {
        over = true;
        done.completeExceptionally(error);
      }
    });
    thread.setDaemon(true);
    thread.start();
    return done;
  }

  private long phase(long ms, int atLeast, List<CompletableFuture<Void>> slots) throws InterruptedException {
    int enough = count() + atLeast;
    long until = System.nanoTime() + ms * 1_000_000;
    while (System.nanoTime() < until || count() < enough) {
      if (over) slots.stream().filter(CompletableFuture::isCompletedExceptionally).forEach(CompletableFuture::join);
      Thread.sleep(Math.max(1, Math.min(10, (until - System.nanoTime()) / 1_000_000)));
    }
    return System.nanoTime();
  }

  private int count() {
    synchronized (ended) {
      return ended.size();
    }
  }
}
