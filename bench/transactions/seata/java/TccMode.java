package bench;

import io.seata.common.executor.Callback;
import io.seata.integration.tx.api.fence.DefaultCommonFenceHandler;
import io.seata.integration.tx.api.fence.FenceHandler;
import io.seata.integration.tx.api.util.ProxyUtil;
import io.seata.rm.fence.SpringFenceHandler;
import io.seata.rm.tcc.api.BusinessActionContext;
import java.lang.reflect.Method;
import java.util.Date;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.jdbc.datasource.lookup.AbstractRoutingDataSource;
import org.springframework.transaction.support.TransactionTemplate;

/** TCC with its fence. Seata has one database for the fence of a process: here the branch says which of the two. */
final class TccMode implements Mode {
  private static final String FENCE = """
      CREATE TABLE tcc_fence_log (
        xid varchar(128) NOT NULL, branch_id bigint NOT NULL, action_name varchar(64) NOT NULL, status smallint NOT NULL,
        gmt_create timestamp(3) NOT NULL, gmt_modified timestamp(3) NOT NULL,
        CONSTRAINT pk_tcc_fence_log PRIMARY KEY (xid, branch_id));
      CREATE INDEX idx_gmt_modified ON tcc_fence_log (gmt_modified);
      CREATE INDEX idx_status ON tcc_fence_log (status)""";
  private static final String TRIED = "1";
  private static final String COMMITTED = "2";

  /** Which of the databases this thread is at work in. */
  private static final ThreadLocal<String> HOUSE = new ThreadLocal<>();
  private static JdbcTemplate sql;
  static final LongAdder confirmed = new LongAdder();
  static final LongAdder cancelled = new LongAdder();

  private final Houses houses;
  private final NorthAction north;
  private final SouthAction south;

  TccMode(Houses houses) {
    this.houses = houses;
    houses.northSql.execute(FENCE);
    houses.southSql.execute(FENCE);
    AbstractRoutingDataSource source = new AbstractRoutingDataSource() {
      @Override
      protected Object determineCurrentLookupKey() {
        return HOUSE.get();
      }
    };
    source.setTargetDataSources(Map.of("north", houses.north, "south", houses.south));
    source.afterPropertiesSet();
    sql = new JdbcTemplate(source);
    SpringFenceHandler.setDataSource(source);
    SpringFenceHandler.setTransactionTemplate(new TransactionTemplate(new DataSourceTransactionManager(source)));
    DefaultCommonFenceHandler.get().setFenceHandler(new FenceByHouse(new SpringFenceHandler()));
    north = ProxyUtil.createProxy(new NorthAction(), "north");
    south = ProxyUtil.createProxy(new SouthAction(), "south");
  }

  @Override
  public void withdraw(String account) {
    north.hold(null, account, -1);
  }

  @Override
  public void deposit(String account) {
    south.hold(null, account, 1);
  }

  @Override
  public void checkInside(String xid) {
    int tried = houses.rows("tcc_fence_log", "xid = '" + xid + "' AND status = " + TRIED);
    if (tried != 2) throw new IllegalStateException("the fence has " + tried + " rows of a transaction of two branches");
  }

  @Override
  public void checkRolledBack() {
    if (cancelled.sum() != 2) throw new IllegalStateException("cancel was called " + cancelled.sum() + " times for two branches");
  }

  @Override
  public void settle(long transactions) throws InterruptedException {
    Until.holds("no fence is left at try", () -> houses.rows("tcc_fence_log", "status = " + TRIED) == 0);
    Until.holds("each branch is confirmed once", () ->
        confirmed.sum() == 2 * transactions && houses.rows("tcc_fence_log", "status = " + COMMITTED) == 2 * transactions);
  }

  static boolean hold(String account, int cents) {
    sql.update("UPDATE account SET free = free + ? WHERE id = ? AND free + ? >= 0", Math.min(cents, 0), account, Math.min(cents, 0));
    return true;
  }

  static boolean confirm(BusinessActionContext context) {
    int cents = cents(context);
    sql.update("UPDATE account SET balance = balance + ?, free = free + ? WHERE id = ?", cents, Math.max(cents, 0), account(context));
    confirmed.increment();
    return true;
  }

  static boolean cancel(BusinessActionContext context) {
    sql.update("UPDATE account SET free = free - ? WHERE id = ?", Math.min(cents(context), 0), account(context));
    cancelled.increment();
    return true;
  }

  private static String account(BusinessActionContext context) {
    return (String) context.getActionContext("account");
  }

  private static int cents(BusinessActionContext context) {
    return ((Number) context.getActionContext("cents")).intValue();
  }

  /** Seata's fence, in the database of the branch. */
  private record FenceByHouse(FenceHandler fence) implements FenceHandler {
    @Override
    public Object prepareFence(String xid, Long branchId, String action, Callback<Object> body) {
      HOUSE.set(action);
      return fence.prepareFence(xid, branchId, action, body);
    }

    @Override
    public boolean commitFence(Method method, Object target, String xid, Long branchId, Object[] args) {
      HOUSE.set(target instanceof NorthAction ? "north" : "south");
      return fence.commitFence(method, target, xid, branchId, args);
    }

    @Override
    public boolean rollbackFence(Method method, Object target, String xid, Long branchId, Object[] args, String action) {
      HOUSE.set(action);
      return fence.rollbackFence(method, target, xid, branchId, args, action);
    }

    @Override
    public int deleteFenceByDate(Date date) {
      return fence.deleteFenceByDate(date);
    }
  }
}
