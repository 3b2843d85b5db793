package bench;

import io.seata.core.context.RootContext;
import io.seata.rm.RMClient;
import io.seata.tm.TMClient;
import io.seata.tm.api.GlobalTransaction;
import io.seata.tm.api.GlobalTransactionContext;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Transfers between two databases as global transactions of Seata: both resource managers and the transaction manager in this
 * process. `NORTH` and `SOUTH` are addresses for JDBC, the arguments the mode (`at` or `tcc`), connections and accounts. Says `ready`
 * once a rollback undid and a commit did what they should; then each line of its input orders a burst, and a line of JSON says how it went.
 */
public final class Main {
  private static final String GROUP = "bench";
  private static final int TIMEOUT_MS = 60_000;
  /** Rows are locked until the second phase: who meets such a one is rolled back, and begins again. */
  private static final int MOST_REFUSALS = 200;

  private final Houses houses;
  private final Mode mode;
  private final int accounts;
  private final long balance;
  private final long free;
  private long committed;

  public static void main(String[] args) throws Exception {
    TMClient.init("bench", GROUP);
    RMClient.init("bench", GROUP);
    Main main = new Main(args[0], Integer.parseInt(args[1]), Integer.parseInt(args[2]));
    main.check();
    System.out.println("ready");
    main.serve();
    System.exit(0);
  }

  private Main(String kind, int connections, int accounts) {
    houses = new Houses(System.getenv("NORTH"), System.getenv("SOUTH"), connections);
    mode = kind.equals("tcc") ? new TccMode(houses) : new AtMode(houses);
    this.accounts = accounts;
    balance = houses.money("balance");
    free = houses.money("free");
  }

  private void serve() throws Exception {
    BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
    for (String line = orders.readLine(); line != null; line = orders.readLine()) {
      Burst.Ran ran = Burst.run(this::transfer, Burst.Order.parse(line));
      committed += ran.total();
      settle();
      System.out.println("ran " + ran.json());
    }
  }

  /** Until a transfer is through. @return how often it was rolled back before */
  private int transfer() throws Exception {
    for (int refused = 0; ; refused++) {
      try {
        within(() -> {});
        return refused;
      } catch (Exception error) {
        if (refused == MOST_REFUSALS) throw error;
      }
    }
  }

  private interface Inside {
    void run() throws Exception;
  }

  private void within(Inside inside) throws Exception {
    within(account(), account(), inside);
  }

  private void within(String from, String to, Inside inside) throws Exception {
    GlobalTransaction global = GlobalTransactionContext.createNew();
    global.begin(TIMEOUT_MS, "transfer");
    try {
      mode.withdraw(from);
      mode.deposit(to);
      inside.run();
    } catch (Throwable error) {
      global.rollback();
      throw error;
    }
    global.commit();
  }

  private String account() {
    return "a-" + ThreadLocalRandom.current().nextInt(accounts);
  }

  /** A bench of something that does not coordinate would be worth nothing. */
  private void check() throws Exception {
    String before = houses.account(houses.northSql, "a-1") + " " + houses.account(houses.southSql, "a-2");
    try {
      within("a-1", "a-2", () -> {
        mode.checkInside(RootContext.getXID());
        expect(!before.equals(pair()), "the first phase changed nothing");
        throw new Refused();
      });
    } catch (Refused expected) {
      // It is what the transaction was made for.
    }
    Until.holds("a rollback puts the rows back", () -> before.equals(pair()));
    mode.checkRolledBack();
    within("a-1", "a-2", () -> mode.checkInside(RootContext.getXID()));
    committed++;
    settle();
    expect(pair().equals("999999/999999 1000001/1000001"), "after a transfer of 1 the accounts are " + pair());
  }

  private String pair() {
    return houses.account(houses.northSql, "a-1") + " " + houses.account(houses.southSql, "a-2");
  }

  private void settle() throws InterruptedException {
    mode.settle(committed);
    expect(houses.money("balance") == balance && houses.money("free") == free, "money was lost or made: now " + houses.money("balance"));
  }

  private static void expect(boolean condition, String otherwise) {
    if (!condition) throw new IllegalStateException(otherwise);
  }

  private static final class Refused extends Exception {}
}
