import type { Headers, SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, participant, Refusal } from 'concordat/saga'
import { type TccHandlers, tccParticipant } from 'concordat/saga/tcc'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Operation, TccParticipantOptions } from '../../support/inside/saga.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { MortalClient } from '../support/mortal.ts'
import { closeEmbedded, embedded, FAST, type StockCommand, stockCommands } from '../support/world.ts'

const sql = embedded()
const schema = 'tcc_barrier'
const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })
const request: StockCommand = { sku: 'apple', n: 1 }
let ids = 0
let id = ''

beforeAll(async () => {
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  await sql.query('CREATE TABLE tcc_effects (id text, what text)')
}, 120_000)
beforeEach(() => {
  id = `s${++ids}`
})
afterAll(closeEmbedded)

interface Setup extends Partial<TccHandlers<StockCommand>> {
  readonly client?: SqlClient
  readonly effects?: TccParticipantOptions['effects']
}

/** Each handler leaves a row with its name. */
function bind({ client = sql, effects, ...handlers }: Setup = {}): SinkBinding {
  const write =
    (what: string): TccHandlers<StockCommand>['try'] =>
    async (_, { tx, sagaId }) => {
      await tx.query('INSERT INTO tcc_effects VALUES ($1, $2)', [sagaId, what])
    }
  const own = { group: 'stock', sql: client, outbox, schema, backoff: FAST, maxAttempts: 3, effects }
  const all = { try: write('tried'), confirm: write('confirmed'), cancel: write('cancelled'), ...handlers }
  return tccParticipant(stockCommands, own, all as TccHandlers<StockCommand>)
}

const headers = (operation: Operation): Headers => ({ ...commandHeaders(id, operation), 'saga-kind': 'tcc' })

async function send(binding: SinkBinding, operation: Operation, attempts?: number): Promise<string[]> {
  await deliver(binding, request, headers(operation), attempts)
  const all = await takeReplies(sql, schema)
  return all.map(({ operation: of, status, final, code }) =>
    [of, status, ...(final === true ? ['final'] : []), ...(code === undefined ? [] : [code])].join(' '),
  )
}

/** Client whose process pauses before its n-th transaction, until the test resumes it. */
function frozenBefore(nth: number, resume: Promise<void>): { client: SqlClient; reached: Promise<void> } {
  const { promise: reached, resolve } = Promise.withResolvers<void>()
  let transactions = 0
  const client: SqlClient = {
    query: (text, parameters) => sql.query(text, parameters),
    transaction: async (work) => {
      if (++transactions === nth) {
        resolve()
        await resume
      }
      return sql.transaction(work)
    },
  }
  return { client, reached }
}

async function effects(): Promise<string[]> {
  const { rows } = await sql.query<{ what: string }>('SELECT what FROM tcc_effects WHERE id = $1', [id])
  return rows.map(({ what }) => what)
}

describe.each(['anywhere', 'tx'] as const)('a TCC participant with effects: %s', (where) => {
  test('confirms tries, each once', async () => {
    const binding = bind({ effects: where })
    for (const operation of ['invoke', 'confirm'] as const) {
      expect(await send(binding, operation)).toEqual([`${operation} ok`])
      expect(await send(binding, operation)).toEqual([`${operation} ok`])
    }
    expect(await effects()).toEqual(['tried', 'confirmed'])
  })

  test('cancels a try, once', async () => {
    const binding = bind({ effects: where })
    await send(binding, 'invoke')
    for (const _ of [1, 2]) expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['tried', 'cancelled'])
  })

  test('has nothing to cancel without a try, and refuses a later try', async () => {
    const binding = bind({ effects: where })
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    expect(await effects()).toEqual([])
  })

  test('keeps a refusal, and has nothing to cancel or to confirm then', async () => {
    const no = () => {
      throw new Refusal('stock.empty', 'sold out')
    }
    const binding = bind({ effects: where, try: no })
    for (const _ of [1, 2]) expect(await send(binding, 'invoke')).toEqual(['invoke refused stock.empty'])
    expect(await send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual([])
  })

  test('confirms nothing that was cancelled or never tried, and cancels nothing that was confirmed', async () => {
    const binding = bind({ effects: where })
    expect(await send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    id = `s${++ids}`
    await send(binding, 'invoke')
    await send(binding, 'confirm')
    expect(await send(binding, 'compensate')).toEqual(['compensate failed final saga.confirmed'])
    expect(await effects()).toEqual(['tried', 'confirmed'])
  })

  test('tries a confirmation or a cancellation that fails again, and answers that it failed', async () => {
    for (const operation of ['confirm', 'compensate'] as const) {
      id = `s${++ids}`
      let calls = 0
      const fail = () => {
        if (++calls < 4) throw new Error('not now')
      }
      const binding = bind({ effects: where, confirm: fail, cancel: fail })
      await send(binding, 'invoke')
      expect(await send(binding, operation, 3)).toEqual([`${operation} failed Error`])
      expect(await send(binding, operation)).toEqual([`${operation} ok`])
      expect(calls).toBe(4)
    }
  })
})

describe('effects outside of the transaction', () => {
  const dies = () => {
    throw new Error('the bank does not answer')
  }

  test('are cancelled when try throws, and cancel learns that nothing is in the database', async () => {
    const seen: unknown[] = []
    const binding = bind({ try: dies, cancel: (_, { tried, result }) => void seen.push(tried, result) })
    expect(await send(binding, 'invoke')).toEqual(['invoke failed Error'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(seen).toEqual([false, undefined])
  })

  test('are cancelled when the process dies while it tries, and leaves no other trace', async () => {
    const holds: string[] = []
    const client = new MortalClient(sql, Number.POSITIVE_INFINITY, 'before')
    const hold = () => {
      holds.push('held')
      client.dead = true
    }
    await expect(deliver(bind({ client, try: hold }), request, headers('invoke'), 1)).rejects.toThrow()
    expect(await takeReplies(sql, schema)).toEqual([])
    const next = bind({ cancel: () => void holds.push('released') })
    expect(await send(next, 'compensate')).toEqual(['compensate ok'])
    expect(await send(next, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    expect(holds).toEqual(['held', 'released'])
  })

  test('make a refusal of the next process doubtful', async () => {
    const client = new MortalClient(sql, Number.POSITIVE_INFINITY, 'before')
    const crash = () => void (client.dead = true)
    await expect(deliver(bind({ client, try: crash }), request, headers('invoke'), 1)).rejects.toThrow()
    const no = () => {
      throw new Refusal('stock.empty', 'sold out')
    }
    expect(await send(bind({ try: no }), 'invoke')).toEqual(['invoke failed final stock.empty'])
  })

  test('make a refusal of the process that began first doubtful, too, once another one was at it', async () => {
    const holds: string[] = []
    const resume = Promise.withResolvers<void>()
    const { client: frozen, reached } = frozenBefore(2, resume.promise)
    const no = () => {
      throw new Refusal('stock.empty', 'sold out')
    }
    const first = send(bind({ client: frozen, try: no }), 'invoke')
    await reached
    const client = new MortalClient(sql, Number.POSITIVE_INFINITY, 'before')
    const hold = () => {
      holds.push('held')
      client.dead = true
    }
    await expect(deliver(bind({ client, try: hold }), request, headers('invoke'), 1)).rejects.toThrow()
    resume.resolve()
    expect(await first).toEqual(['invoke failed final stock.empty'])
    expect(await send(bind({ cancel: () => void holds.push('released') }), 'compensate')).toEqual(['compensate ok'])
    expect(holds).toEqual(['held', 'released'])
  })

  test('are none by option: an uncommitted try is not cancelled', async () => {
    const binding = bind({ effects: 'tx', try: dies })
    await send(binding, 'invoke')
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual([])
  })
})

test('tccParticipant hands the result of try to confirm and to cancel', async () => {
  const seen: unknown[] = []
  const see = (_: StockCommand, { tried, result }: { tried: boolean; result: unknown }) => void seen.push(tried, result)
  for (const operation of ['confirm', 'compensate'] as const) {
    id = `s${++ids}`
    const binding = bind({ try: () => ({ hold: 7 }), confirm: see, cancel: see })
    await send(binding, 'invoke')
    await send(binding, operation)
  }
  expect(seen).toEqual([true, { hold: 7 }, true, { hold: 7 }])
})

test('a TCC participant and a plain one do not take the commands of each other', async () => {
  const plain = participant(
    stockCommands,
    { group: 'stock', sql, outbox, schema },
    { invoke: () => undefined, compensate: () => undefined },
  )
  expect(await send(plain, 'invoke')).toEqual(['invoke refused saga.wrong_participant'])
  await deliver(bind(), request, commandHeaders(id, 'invoke'))
  await deliver(bind(), request, commandHeaders(id, 'compensate'))
  const replies = await takeReplies(sql, schema)
  expect(replies.map(({ status, code }) => `${status} ${code}`)).toEqual([
    'refused saga.wrong_participant',
    'failed saga.wrong_participant',
  ])
  expect(await effects()).toEqual([])
})

test('under any order and repetition does each once, and never confirms and cancels', async () => {
  const operation = fc.constantFrom<Operation>('invoke', 'confirm', 'compensate')
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 7 }), async (operations) => {
      id = `s${++ids}`
      const binding = bind()
      for (const each of operations) await send(binding, each)
      const left = (await effects()).join(' ')
      expect(['', 'tried', 'tried confirmed', 'tried cancelled']).toContain(left)
      const first = operations[0]
      if (first !== 'invoke') expect(left).toBe('')
    }),
    { numRuns: 30 },
  )
})

test('tccParticipant refuses an invalid handler, and an unknown option', () => {
  const handlers = { try: () => 1, confirm: () => {}, cancel: undefined } as never
  expect(() => tccParticipant(stockCommands, { group: 'g' }, handlers)).toThrow(/tccParticipant.*\.cancel.*a function/)
  const all = { try: () => 1, confirm: () => {}, cancel: () => {} }
  expect(() => tccParticipant(stockCommands, { group: 'g', effects: 'here' as never }, all)).toThrow(
    /'anywhere' or 'tx'/,
  )
  expect(() => tccParticipant(stockCommands, { group: 'g', efects: 'tx' } as never, all)).toThrow(/effects/)
})
