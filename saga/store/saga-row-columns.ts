/** Columns of a saga's row, and the query function of the saga stores. */
import { type OwnQuery, ownQuery } from '../../core/sql.ts'

/** Columns of a `SagaRow`. */
export const COLUMNS = `name, id, version, graph_hash AS "graphHash", birth, state, input, input_hash AS "inputHash",
  revision::float8 AS revision, owner, epoch::float8 AS epoch, mail,
  (extract(epoch FROM deadline_at - clock_timestamp()) * 1000)::float8 AS "deadlineInMs",
  (extract(epoch FROM clock_timestamp() - updated_at) * 1000)::float8 AS "sinceWriteMs",
  (extract(epoch FROM clock_timestamp() - created_at) * 1000)::float8 AS "ageMs", trace`

/**
 * Columns of the table that `COLUMNS` reads, of the row `s`. Listed, because a statement with all columns is parsed each time.
 */
export const STORED: string = [
  'name, id, version, graph_hash, birth, state, input, input_hash, revision, owner, epoch, mail',
  'deadline_at, updated_at, created_at, trace',
]
  .join(', ')
  .replaceAll(/\w+/g, 's.$&')

/** Receives every statement with its text, and returns it. */
export type Track = <T>(statement: Promise<T>, text: string) => Promise<T>

/** Creates the query function of a store. */
export function sagaQuery(schema: string, track: Track = (statement) => statement): OwnQuery {
  const query = ownQuery(schema, 'coordinator.migrate()')
  return (sql, text, parameters) => track(query(sql, text, parameters), text)
}
