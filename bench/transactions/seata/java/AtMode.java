package bench;

import io.seata.rm.datasource.DataSourceProxy;
import org.springframework.jdbc.core.JdbcTemplate;

/** AT: plain SQL over Seata's data source, which keeps images of the rows in `undo_log`. */
final class AtMode implements Mode {
  private static final String UNDO_LOG = """
      CREATE TABLE undo_log (
        id serial NOT NULL, branch_id bigint NOT NULL, xid varchar(128) NOT NULL, context varchar(128) NOT NULL,
        rollback_info bytea NOT NULL, log_status int NOT NULL, log_created timestamp(0) NOT NULL, log_modified timestamp(0) NOT NULL,
        CONSTRAINT pk_undo_log PRIMARY KEY (id), CONSTRAINT ux_undo_log UNIQUE (xid, branch_id))""";
  private static final String MOVE = "UPDATE account SET balance = balance + ?, free = free + ? WHERE id = ?";

  private final Houses houses;
  private final JdbcTemplate north;
  private final JdbcTemplate south;

  AtMode(Houses houses) {
    this.houses = houses;
    houses.northSql.execute(UNDO_LOG);
    houses.southSql.execute(UNDO_LOG);
    north = new JdbcTemplate(new DataSourceProxy(houses.north));
    south = new JdbcTemplate(new DataSourceProxy(houses.south));
  }

  @Override
  public void withdraw(String account) {
    north.update(MOVE, -1, -1, account);
  }

  @Override
  public void deposit(String account) {
    south.update(MOVE, 1, 1, account);
  }

  @Override
  public void checkInside(String xid) {
    int images = houses.rows("undo_log", "xid = '" + xid + "' AND length(rollback_info) > 0");
    if (images != 2) throw new IllegalStateException("undo_log has " + images + " rows of a transaction of two branches");
  }

  @Override
  public void checkRolledBack() {}

  /** Phase two of AT comes after the answer: the rows of `undo_log` are deleted once a second. */
  @Override
  public void settle(long committed) throws InterruptedException {
    Until.holds("undo_log is empty", () -> houses.rows("undo_log", "true") == 0);
  }
}
