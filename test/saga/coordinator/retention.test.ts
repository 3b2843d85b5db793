import { defineSaga, purgeParticipant } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { ArchivedSaga } from '../../support/inside/saga.ts'
import { gate } from '../../support/until.ts'
import { interposing } from '../support/interposing.ts'
import { runningWorlds } from '../support/running-world.ts'
import { stockCommands, type World } from '../support/world.ts'

const Input = z.object({ text: z.string() })
const within = { timeoutMs: 10_000 }
const setup = runningWorlds()

const echo = defineSaga('echo', { version: 1, input: Input }).step('a', {
  invoke: ({ input }) => input.text,
  compensate: 'none',
})
const asks = defineSaga('asks', { version: 1, input: Input }).signal('never', { payload: z.unknown() })

async function count({ sql, schema }: World, table: string): Promise<number> {
  return (await sql.query(`SELECT 1 FROM ${schema}.${table}`)).rowCount
}

describe('retention', () => {
  test('deletes ended sagas, with their timelines, and no running one', async () => {
    const w = await setup({ sagas: [echo, asks], coordinator: { retentionMs: 1_000 } })
    await (await w.coordinator.start(echo, { id: 'x', input: { text: 'hi' } })).outcome(within)
    await w.coordinator.start(asks, { id: 'y', input: { text: 'hi' } })
    await expect.poll(() => count(w, 'saga'), { timeout: 20_000 }).toBe(1)
    expect(await w.events('echo', 'x')).toEqual([])
    expect(await w.events('asks', 'y')).not.toEqual([])
    expect((await w.coordinator.start(echo, { id: 'x', input: { text: 'again' } })).id).toBe('x')
  })

  test('the archive gets everything, and commits with the deletion', async () => {
    const w = await setup({
      sagas: [echo],
      coordinator: {
        archive: async (sagas, { tx }) => {
          for (const { saga, id, ...more } of sagas) {
            await tx.query('INSERT INTO archived VALUES ($1, $2)', [`${saga}/${id}`, JSON.stringify(more)])
          }
        },
      },
    })
    await w.sql.query('CREATE TABLE archived (key text, body jsonb)')
    await (await w.coordinator.start(echo, { id: 'x', input: { text: 'hi' } })).outcome(within)
    expect(await w.coordinator.purge({ olderThanMs: 60_000 })).toBe(0)
    expect(await w.coordinator.purge({ olderThanMs: 0 })).toBe(1)
    const { rows } = await w.sql.query('SELECT * FROM archived')
    expect(rows).toMatchObject([
      {
        key: 'echo/x',
        body: {
          version: 1,
          status: 'completed',
          input: { text: 'hi' },
          steps: [{ step: 'a', status: 'invoked', result: 'hi' }],
          timeline: [{ kind: 'started' }, { kind: 'invoking' }, { kind: 'invoked' }, { kind: 'saga-completed' }],
        },
      },
    ])
  })

  test('a start beside a purge starts the saga anew', async () => {
    const w = await setup({ sagas: [echo] })
    const start = { id: 'x', input: { text: 'hi' } }
    await (await w.coordinator.start(echo, start)).outcome(within)
    const database = interposing(w.sql)
    const starter = w.another({ sql: database.sql })
    database.before(0, 'x', () => w.coordinator.purge({ olderThanMs: 0 }))
    const run = await starter.start(echo, start)
    expect(database.happened).toBe(true)
    expect((await run.outcome(within)).status).toBe('completed')
  })

  test('a saga that is started anew turns back at a sub-saga that the deleted one has left running', async () => {
    const parent = defineSaga('parent', { version: 1, input: Input }).saga('part', {
      saga: asks,
      input: ({ input }) => input,
      compensate: 'none',
    })
    const w = await setup({ sagas: [parent, asks] })
    const start = { id: 'x', input: { text: 'hi' } }
    const first = await w.coordinator.start(parent, start)
    await expect.poll(() => count(w, 'saga')).toBe(2)
    await w.coordinator.cancel(first, { by: 'ann', reason: 'not needed' })
    expect((await first.outcome(within)).status).toBe('compensated')
    expect(await w.coordinator.purge({ olderThanMs: 0 })).toBe(1)
    const again = await (await w.coordinator.start(parent, start)).outcome(within)
    expect(again).toMatchObject({ status: 'compensated', failure: { code: 'saga.conflict', step: 'part' } })
    await w.coordinator.signal(asks, 'parent/x/part', 'never', 1)
    await w.coordinator.get(asks, 'parent/x/part').outcome(within)
    expect(await w.coordinator.purge({ olderThanMs: 0 })).toBe(2)
    const third = await w.coordinator.start(parent, start)
    await expect.poll(() => count(w, 'saga')).toBe(2)
    expect((await third.report()).status).toBe('running')
  })

  test.each(['stuck', 'compensating'] as const)(
    'a sub-saga that is done is kept while its parent is %s, and is undone with it',
    async (status) => {
      const undone: string[] = []
      const part = defineSaga('part', { version: 1, input: Input }).step('a', {
        invoke: () => undefined,
        compensate: () => void undone.push('a'),
      })
      const [entered, leave] = [gate(), gate()]
      const base = defineSaga('parent', { version: 1, input: Input })
        .saga('part', { saga: part, input: ({ input }) => input, compensate: true })
        .step('b', {
          invoke: () => undefined,
          compensate: async () => {
            entered.open()
            await leave.opened
          },
        })
      const fails = { retry: { maxAttempts: 1 }, invoke: () => Promise.reject(new Error('no')) }
      const parent =
        status === 'stuck'
          ? base.step('c', { ...fails, pivot: true })
          : base.step('c', { ...fails, compensate: 'none' })
      const { coordinator } = await setup({ sagas: [parent, part] })
      const run = await coordinator.start(parent, { id: 'x', input: { text: 'hi' } })
      await expect.poll(async () => (await run.report())?.status, { timeout: 10_000 }).toBe(status)
      expect(await coordinator.purge({ olderThanMs: 0 })).toBe(0)
      if (status === 'stuck') await coordinator.compensate(run, { by: 'ann', reason: 'it never happened' })
      await entered.opened
      expect(await coordinator.purge({ olderThanMs: 0 })).toBe(0)
      leave.open()
      expect(await run.outcome(within)).toMatchObject({ status: 'compensated' })
      expect(undone).toEqual(['a'])
      expect(await coordinator.purge({ olderThanMs: 0 })).toBe(2)
    },
  )

  test('an archive that fails keeps the sagas', async () => {
    const w = await setup({
      sagas: [echo],
      coordinator: {
        archive: () => {
          throw new Error('disk full')
        },
      },
    })
    await (await w.coordinator.start(echo, { id: 'x', input: { text: 'hi' } })).outcome(within)
    await expect(w.coordinator.purge({ olderThanMs: 0 })).rejects.toThrow('disk full')
    expect(await count(w, 'saga')).toBe(1)
  })

  test('a saga that the archive does not take keeps no other one, and is named until the archive takes it', async () => {
    let isLarge = true
    const asked: number[] = []
    const archive = (sagas: readonly ArchivedSaga[]): void => {
      asked.push(sagas.length)
      if (isLarge && sagas.some(({ id }) => id === 's3')) throw new Error('too large for the archive')
    }
    const w = await setup({ sagas: [echo], coordinator: { archive } })
    for (let n = 0; n < 9; n++) {
      await (await w.coordinator.start(echo, { id: `s${n}`, input: { text: 'hi' } })).outcome(within)
    }
    const purge = (): Promise<number> => w.coordinator.purge({ olderThanMs: 0 })
    await expect(purge()).rejects.toThrow('too large for the archive')
    expect(await count(w, 'saga')).toBe(1)
    expect(w.coordinator.health().unarchived).toEqual([{ saga: 'echo', id: 's3', error: 'too large for the archive' }])
    const before = asked.length
    await expect(purge()).rejects.toThrow('too large for the archive')
    expect(asked.slice(before)).toEqual([1])
    isLarge = false
    expect(await purge()).toBe(1)
    expect(w.coordinator.health().unarchived).toEqual([])
    expect(await count(w, 'saga')).toBe(0)
  })

  test('a failing archive is not called again after ten sagas', async () => {
    let calls = 0
    const archive = (): void => {
      calls++
      throw new Error('the disk is full')
    }
    const w = await setup({ sagas: [echo], coordinator: { archive } })
    for (let n = 0; n < 16; n++) await w.coordinator.start(echo, { id: `s${n}`, input: { text: 'hi' } })
    await expect.poll(() => w.coordinator.list({ status: 'completed' }), { timeout: 10_000 }).toHaveLength(16)
    await expect(w.coordinator.purge({ olderThanMs: 0 })).rejects.toThrow('the disk is full')
    expect(w.coordinator.health().unarchived).toHaveLength(10)
    expect(calls).toBeLessThan(30)
    expect(await count(w, 'saga')).toBe(16)
  })

  test('an archive that hangs is given up, its transaction is rolled back, and the error names the option', async () => {
    let hangs = true
    const archive = (): void | Promise<void> => (hangs ? new Promise<void>(() => {}) : undefined)
    const w = await setup({ sagas: [echo], coordinator: { archive, archiveTimeoutMs: 100 } })
    await (await w.coordinator.start(echo, { id: 'x', input: { text: 'hi' } })).outcome(within)
    await expect(w.coordinator.purge({ olderThanMs: 0 })).rejects.toThrow('within 100 ms: let it end sooner, or raise')
    expect(w.coordinator.health().unarchived).toMatchObject([{ saga: 'echo', id: 'x' }])
    hangs = false
    expect(await w.coordinator.purge({ olderThanMs: 0 })).toBe(1)
  })

  test('the hourly sweep, too, deletes all that the archive takes', async () => {
    const archive = (sagas: readonly ArchivedSaga[]): void => {
      if (sagas.some(({ id }) => id === 'bad')) throw new Error('too large for the archive')
    }
    const w = await setup({ sagas: [echo], coordinator: { archive, retentionMs: 200 } })
    for (const id of ['bad', 'a', 'b', 'c']) {
      await (await w.coordinator.start(echo, { id, input: { text: 'hi' } })).outcome(within)
    }
    await expect.poll(() => count(w, 'saga'), { timeout: 20_000 }).toBe(1)
    expect(w.coordinator.health().unarchived).toMatchObject([{ id: 'bad' }])
  })

  test('participants forget steps older than the limit, which is a day at least', async () => {
    const { sql, stockSchema } = await setup({ sagas: [echo] })
    const schema = stockSchema.slice(1, -1)
    const insert = `INSERT INTO ${stockSchema}.saga_barrier (saga_key, birth, operation, status, created_at)
      SELECT 'k' || n, '', 'invoke', 'ok', clock_timestamp() - n * interval '1 day' FROM generate_series(0, 9) AS n`
    await sql.query(insert)
    expect(await purgeParticipant(sql, { schema, olderThanMs: 4.5 * 86_400_000 })).toBe(5)
    await expect(purgeParticipant(sql, { schema, olderThanMs: 1_000 })).rejects.toThrow(
      'purgeParticipant.olderThanMs: expected a whole number >= 86400000 and <= 31536000000000, got 1000',
    )
  })
})

describe('a payload over the limit', () => {
  const large = 'x'.repeat(2_000)
  const coordinator = { maxPayloadBytes: 1_024 }

  test('a payload over the limit as input starts no saga', async () => {
    const w = await setup({ sagas: [echo], coordinator })
    await expect(w.coordinator.start(echo, { id: 'x', input: { text: large } })).rejects.toMatchObject({
      code: 'saga.payload_too_large',
      bytes: 2_011,
      maxBytes: 1_024,
      message: expect.stringContaining('input of echo/x has 2011 bytes as JSON, at most 1024 are allowed'),
    })
    expect(await count(w, 'saga')).toBe(0)
    const fits = 'ü'.repeat(500)
    expect((await (await w.coordinator.start(echo, { id: 'x', input: { text: fits } })).outcome(within)).status).toBe(
      'completed',
    )
  })

  test('a payload over the limit as the result of a step, or of a participant, turns the saga back and undoes it', async () => {
    const undone: string[] = []
    const local = defineSaga('local', { version: 1, input: Input }).step('a', {
      invoke: () => large,
      compensate: () => void undone.push('local'),
    })
    const remote = defineSaga('remote', { version: 1, input: Input }).command('a', {
      to: stockCommands,
      request: () => ({ sku: 's', n: 1 }),
      compensate: true,
    })
    const handlers = { invoke: () => large, compensate: () => void undone.push('remote') }
    const w = await setup({ sagas: [local, remote], coordinator, handlers })
    for (const saga of [local, remote]) {
      const run = await w.coordinator.start(saga, { id: 'x', input: { text: '' } })
      expect(await run.outcome(within)).toMatchObject({
        status: 'compensated',
        failure: { step: 'a', code: 'saga.payload_too_large' },
      })
    }
    expect(undone).toEqual(['local', 'remote'])
  })

  test('a payload over the limit as a signal is refused, and the saga waits on', async () => {
    const w = await setup({ sagas: [asks], coordinator })
    await w.coordinator.start(asks, { id: 'x', input: { text: '' } })
    await expect(w.coordinator.signal(asks, 'x', 'never', large)).rejects.toMatchObject({
      code: 'saga.payload_too_large',
    })
    expect(await w.coordinator.signal(asks, 'x', 'never', 'short')).toBe(true)
  })
})
