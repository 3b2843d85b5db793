/**
 * Identity of the database and schema with a coordinator's sagas. The id is created with the tables, and moves with them into a
 * dump, a replica or another server. The births of its sagas begin with it, and replies repeat births, so a reply identifies one
 * of two coordinators with the same name.
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

  /** Reads the id once. */
  async id(sql: SqlExecutor): Promise<string> {
    if (this.#id === undefined) {
      const { rows } = await this.#query<{ id: string }>(sql, `SELECT id FROM ${this.#table}`)
      this.#id = (rows[0] as { id: string }).id
    }
    return this.#id
  }

  /** Creates a birth for a new saga. */
  async birth(sql: SqlExecutor): Promise<string> {
    return `${await this.id(sql)}-${newId()}`
  }

  /** Returns the database id in a birth, if it is another one. */
  async other(sql: SqlExecutor, birth: string | undefined): Promise<string | undefined> {
    const named = BIRTH.exec(birth ?? '')?.[1]
    return named === undefined || named === (await this.id(sql)) ? undefined : named
  }
}
