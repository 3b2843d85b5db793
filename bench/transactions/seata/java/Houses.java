package bench;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import javax.sql.DataSource;
import org.springframework.jdbc.core.JdbcTemplate;

/** The two databases, past Seata: what a mode puts its own data source on, and what the checks read. */
final class Houses {
  final DataSource north;
  final DataSource south;
  final JdbcTemplate northSql;
  final JdbcTemplate southSql;

  Houses(String north, String south, int connections) {
    this.north = pool(north, connections);
    this.south = pool(south, connections);
    northSql = new JdbcTemplate(this.north);
    southSql = new JdbcTemplate(this.south);
  }

  private static DataSource pool(String url, int connections) {
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(url);
    config.setUsername(System.getenv("DATABASE_USER"));
    config.setPassword(System.getenv("DATABASE_PASSWORD"));
    config.setMaximumPoolSize(connections);
    return new HikariDataSource(config);
  }

  /** In both, of all accounts. */
  long money(String column) {
    String sum = "SELECT sum(" + column + ") FROM account";
    return northSql.queryForObject(sum, Long.class) + southSql.queryForObject(sum, Long.class);
  }

  int rows(String table, String where) {
    String count = "SELECT count(*) FROM " + table + " WHERE " + where;
    return northSql.queryForObject(count, Integer.class) + southSql.queryForObject(count, Integer.class);
  }

  String account(JdbcTemplate sql, String id) {
    return sql.queryForObject("SELECT balance || '/' || free FROM account WHERE id = ?", String.class, id);
  }
}
