/** An XA participant that has prepared or committed a step does not do it again for another saga with that id. */
import type { SinkBinding } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Operation } from '../../support/inside/saga.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { type MariaDatabase, openMaria } from '../support/maria.ts'
import { stockCommands } from '../support/world.ts'

const schema = `xa_used_${process.pid}`

/** A participant and the place in which it prepares. */
interface Place {
  bind(): Promise<SinkBinding>
  effects(id: string): Promise<number>
  close(): Promise<void>
}

function suite(open: (pool: pg.Pool) => Place): void {
  let pool: pg.Pool
  let place: Place
  let binding: SinkBinding

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 8 })
    const sql = pgClient(pool)
    await createOutbox({ sql, service: 'stock', schema }).migrate()
    await migrateParticipant(sql, schema)
    place = open(pool)
    binding = await place.bind()
  })
  afterAll(async () => {
    await place.close()
    await pool.query(`DROP SCHEMA ${schema} CASCADE`)
    await pool.end()
  })

  async function ask(id: string, birth: string, operation: Operation): Promise<string> {
    const headers = { ...commandHeaders(id, operation), 'saga-kind': 'tcc', 'saga-birth': birth }
    await deliver(binding, { sku: 'apple', n: 1 }, headers)
    const [reply] = await takeReplies(pgClient(pool), schema)
    return [reply?.status, ...(reply?.code === undefined ? [] : [reply.code])].join(' ')
  }

  test.each([
    ['prepared', 'invoke'],
    ['committed', 'confirm'],
  ] as const)('that has %s it leaves it alone', async (id, last) => {
    expect(await ask(id, 'a', 'invoke')).toBe('ok')
    if (last === 'confirm') expect(await ask(id, 'a', 'confirm')).toBe('ok')
    expect(await ask(id, 'b', 'invoke')).toBe('failed saga.done_before')
    expect(await ask(id, 'b', 'confirm')).toBe('failed saga.not_reserved')
    expect(await ask(id, 'b', 'compensate')).toBe('ok')
    expect(await ask(id, 'a', 'confirm')).toBe('ok')
    expect(await place.effects(id)).toBe(1)
  })

  test('a step that was rolled back is done for a used id', async () => {
    expect(await ask('back', 'a', 'invoke')).toBe('ok')
    expect(await ask('back', 'a', 'compensate')).toBe('ok')
    expect(await ask('back', 'b', 'invoke')).toBe('ok')
    expect(await ask('back', 'b', 'confirm')).toBe('ok')
    expect(await place.effects('back')).toBe(1)
  })
}

describeWith(['postgres'], 'an XA participant on PostgreSQL', () => {
  suite((pool) => ({
    bind: async () => {
      await pool.query(`CREATE TABLE ${schema}.effects (id text)`)
      const sql = pgClient(pool)
      const outbox = createOutbox({ sql, service: 'stock', schema })
      return xaParticipant(stockCommands, { group: 'stock', sql, outbox, schema }, async (_, { tx, sagaId }) => {
        await tx.query(`INSERT INTO ${schema}.effects VALUES ($1)`, [sagaId])
      })
    },
    effects: async (id) => (await pool.query(`SELECT FROM ${schema}.effects WHERE id = $1`, [id])).rowCount ?? 0,
    close: async () => {},
  }))
})

describeWith(['postgres', 'mariadb'], 'an XA participant on MariaDB', () => {
  suite((pool) => {
    let maria: MariaDatabase
    return {
      bind: async () => {
        maria = await openMaria(serverUrl('mariadb') as string, schema)
        await maria.pool.query('CREATE TABLE effects (id varchar(60), KEY id (id)) ENGINE=InnoDB')
        const sql = pgClient(pool)
        const { resource } = maria
        const options = {
          group: 'stock',
          sql,
          outbox: createOutbox({ sql, service: 'stock', schema }),
          schema,
          resource,
        }
        return xaParticipant(stockCommands, options, async (_, { tx, sagaId }) => {
          await tx.query('INSERT INTO effects VALUES (?)', [sagaId])
        })
      },
      effects: async (id) => (await maria.rows('SELECT 1 FROM effects WHERE id = ?', [id])).length,
      close: async () => {
        await maria.endByHand('ROLLBACK', 'concordat:')
        await maria.pool.query(`DROP DATABASE ${schema}`)
        await maria.end()
      },
    }
  })
})
