package bench;

import java.util.function.BooleanSupplier;

final class Until {
  private static final long WITHIN_MS = 60_000;

  private Until() {}

  static void holds(String what, BooleanSupplier condition) throws InterruptedException {
    long deadline = System.nanoTime() + WITHIN_MS * 1_000_000;
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) throw new IllegalStateException("after " + WITHIN_MS + " ms it is not so that " + what);
      Thread.sleep(50);
    }
  }
}
