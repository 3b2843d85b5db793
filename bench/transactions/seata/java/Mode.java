package bench;

/** How the two branches of a transfer are made: within a global transaction that is begun and ended around them. */
interface Mode {
  void withdraw(String account);

  void deposit(String account);

  /** Within a transaction, after both branches. @throws when Seata has no part in them */
  void checkInside(String xid);

  /** After a transaction that was rolled back. @throws when Seata had no part in that */
  void checkRolledBack();

  /** Waits until nothing is left of the transactions that have ended, and they are as many. */
  void settle(long committed) throws InterruptedException;
}
