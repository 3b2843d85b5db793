import { pgPrimary } from 'concordat/core/pg'
import { describe, expect, it } from 'vitest'
import type { PgPool, PgPoolConnection } from '../support/inside/core.ts'

const refused = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

const readOnly = (): Error => Object.assign(new Error('cannot execute INSERT'), { code: '25006' })

/** Server that accepts writes, only reads, or is down. */
class Server implements PgPool {
  readonly options = { max: 5 }
  readonly log: string[] = []
  reads = false
  away = false
  #idle: PgPoolConnection | undefined

  async connect(): Promise<PgPoolConnection> {
    if (this.away) throw refused()
    this.#idle ??= this.#connection()
    return this.#idle
  }

  query(): never {
    throw new Error('a pool asks its connections')
  }

  on(): this {
    return this
  }

  #connection(): PgPoolConnection {
    const own: PgPoolConnection = {
      query: async (text) => {
        this.log.push(text)
        if (this.reads && !text.includes('recovery')) throw readOnly()
        return { rows: text.includes('recovery') ? [{ reads: this.reads }] : [], rowCount: 0 }
      },
      release: (destroy) => {
        if (destroy === true) this.#idle = undefined
      },
      on: () => own,
      off: () => own,
    }
    return own
  }
}

describe('the primary among several servers', () => {
  it('is found once for each connection, and used from then on', async () => {
    const [a, b] = [new Server(), new Server()]
    a.reads = true
    const pool = pgPrimary([a, b])
    for (const text of ['one', 'two']) await pool.query(text)
    expect(a.log).toEqual(['SELECT pg_is_in_recovery() AS reads'])
    expect(b.log).toEqual(['SELECT pg_is_in_recovery() AS reads', 'one', 'two'])
    expect(pool.options).toEqual({ max: 5 })
  })

  it('is looked up again when it is down', async () => {
    const [a, b] = [new Server(), new Server()]
    b.reads = true
    const pool = pgPrimary([a, b])
    await pool.query('one')
    a.away = true
    await expect(pool.query('two')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    b.reads = false
    await pool.query('three')
    expect(b.log.at(-1)).toBe('three')
  })

  it('is looked up again when its server has turned read-only', async () => {
    const [a, b] = [new Server(), new Server()]
    const pool = pgPrimary([a, b])
    await pool.query('one')
    a.reads = true
    await expect(pool.query('two')).rejects.toMatchObject({ code: '25006' })
    await pool.query('three')
    expect(b.log).toEqual(['SELECT pg_is_in_recovery() AS reads', 'three'])
  })

  it('is none while all of them only read', async () => {
    const [a, b] = [new Server(), new Server()]
    a.reads = b.reads = true
    await expect(pgPrimary([a, b]).query('one')).rejects.toMatchObject({ code: '25006' })
  })

  it.each([[[]], [[{}]], ['pool']])('is refused as %j', (pools) => {
    expect(() => pgPrimary(pools as never)).toThrow('pgPrimary: expected a list of pools')
  })
})
