/**
 * Steps and commands whose locks another transaction holds: healthy sagas continue beside them, and a short wait counts
 * no attempt.
 */
import { type DirectTarget, defineSaga, localTarget, migrateParticipant, participant } from 'concordat/saga'
import { httpParticipants, httpTarget } from 'concordat/saga/http'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../saga/support/running-world.ts'
import { embedded, FAST, type StockCommand, stockCommands } from '../saga/support/world.ts'
import { serverError } from '../support/refusing-sql.ts'

const Input = z.object({ sku: z.string(), n: z.number() })
const BUSY = 30
const within = { timeoutMs: 12_000 }
const setup = runningWorlds()
const request = ({ input }: { input: z.infer<typeof Input> }) => input

/** A lock that is held for `heldMs` from the first call on. */
function lock(heldMs: number) {
  let since: number | undefined
  return {
    calls: 0,
    take({ sku }: { readonly sku: string }): void {
      if (sku !== 'held') return
      this.calls++
      since ??= Date.now()
      if (Date.now() - since < heldMs) throw serverError('55P03', 'could not obtain lock on row')
    },
  }
}

type Lock = ReturnType<typeof lock>
const retry = { maxAttempts: 1, ...FAST }

function stepOf(held: Lock) {
  return defineSaga('s', { version: 1, input: Input }).step('a', {
    transactional: true,
    invoke: ({ input }) => held.take(input),
    compensate: 'none',
    retry,
  })
}

const handlersOf = (held: Lock) => ({ invoke: held.take.bind(held), compensate: () => {} })
const commandTo = (to: typeof stockCommands | DirectTarget<StockCommand>) =>
  defineSaga('s', { version: 1, input: Input }).command('a', { to, request, compensate: 'none', retry })

let schemas = 0
async function schemaOfParticipant(): Promise<string> {
  const schema = `held_locks_${++schemas}`
  await migrateParticipant(embedded(), schema)
  return schema
}

const SAGAS = {
  'transactional step': stepOf,
  'command by message': () => commandTo(stockCommands),
  'command by localTarget': async (held: Lock) => {
    const schema = await schemaOfParticipant()
    const side = participant(stockCommands, { group: 'stock' }, handlersOf(held))
    return commandTo(localTarget(stockCommands, side, { sql: embedded(), schema, concurrency: 1 }))
  },
  'command by httpTarget': async (held: Lock) => {
    const schema = await schemaOfParticipant()
    const side = participant(stockCommands, { group: 'stock' }, handlersOf(held))
    const serve = httpParticipants([side], { sql: embedded(), schema, authorize: 'none' })
    const fetch: typeof globalThis.fetch = async (url, init) => serve(new Request(url, init))
    return commandTo(httpTarget(stockCommands, { url: 'http://stock.test', fetch, concurrency: 1 }))
  },
}

async function started(kind: keyof typeof SAGAS, held: Lock) {
  const saga = (await SAGAS[kind](held)) as ReturnType<typeof commandTo>
  const { coordinator } = await setup({ sagas: [saga], handlers: handlersOf(held), coordinator: { concurrency: 10 } })
  return (sku: string, n: number) => coordinator.start(saga, { id: `${sku}-${n}`, input: { sku, n } })
}

describe.each(Object.keys(SAGAS) as (keyof typeof SAGAS)[])('a %s', (kind) => {
  test('that waits for a lock held permanently delays no healthy saga', async () => {
    const start = await started(kind, lock(Number.POSITIVE_INFINITY))
    for (let n = 0; n < BUSY; n++) await start('held', n)
    const healthy = await Promise.all([1, 2, 3].map((n) => start('free', n)))
    const ends = await Promise.all(healthy.map(async (run) => (await run.outcome(within)).status))
    expect(ends).toEqual(['completed', 'completed', 'completed'])
  })

  test('that waits for a lock briefly counts no attempt', async () => {
    const held = lock(300)
    const run = await (await started(kind, held))('held', 1)
    expect((await run.outcome(within)).status).toBe('completed')
    expect(held.calls).toBeGreaterThan(1)
  })
})
