/**
 * Returns SQL that allows updates of a schema's messages in a database that publishes its tables. The log has no key, because it
 * is only appended to and truncated; only a repair updates it. No effect without a publication of updates.
 */
export function identifyRows(schema: string): string {
  const name = `'${schema.replaceAll("'", "''")}'`
  return `DO $identify$
    DECLARE log regclass;
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubupdate) THEN RETURN; END IF;
      FOR log IN
        SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ${name} AND c.relname ~ '^transport_log(_[0-9]+)?$' AND c.relkind IN ('r', 'p') AND c.relreplident <> 'f'
      LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', log);
      END LOOP;
    END $identify$`
}
