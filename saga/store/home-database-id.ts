/**
 * The database and schema that a coordinator keeps its sagas in. Each has an id of its own, made with its tables, that goes where they
 * go: into a dump, a replica, another server. The births of its sagas begin with it, and replies repeat births, so a reply says
 * which of two coordinators of one name it is for.
 */
import { newId } from '../../core/ids.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'

/** `<home>-<UUID>` */
const BIRTH = /^([0-9a-f]{8})-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export class HomeDatabase {
  readonly #query: OwnQuery
  readonly #table: string
  #id: string | undefined

  constructor(schema: string) {
    this.#query = ownQuery(schema, 'coordinator.migrate()')
    this.#table = `${quoteIdentifier(schema)}.saga_home`
  }

  /** Reads it once. */
  async id(sql: SqlExecutor): Promise<string> {
    if (this.#id === undefined) {
      const { rows } = await this.#query<{ id: string }>(sql, `SELECT id FROM ${this.#table}`)
      this.#id = (rows[0] as { id: string }).id
    }
    return this.#id
  }

  /** Birth for a new saga. */
  async birth(sql: SqlExecutor): Promise<string> {
    return `${await this.id(sql)}-${newId()}`
  }

  /** The home that a birth is of, when it is another one than this. */
  async other(sql: SqlExecutor, birth: string | undefined): Promise<string | undefined> {
    const named = BIRTH.exec(birth ?? '')?.[1]
    return named === undefined || named === (await this.id(sql)) ? undefined : named
  }
}
