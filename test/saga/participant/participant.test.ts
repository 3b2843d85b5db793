import type { SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createOutbox, type Outbox } from 'concordat/outbox'
import { currentSaga, migrateParticipant, type ParticipantHandlers, participant, Refusal } from 'concordat/saga'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Operation } from '../../support/inside/saga.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { MortalClient } from '../support/mortal.ts'
import { closeEmbedded, embedded, FAST, type StockCommand, stockCommands } from '../support/world.ts'

const sql = embedded()
const schema = 'barrier'
const outbox: Outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })
const request: StockCommand = { sku: 'apple', n: 1 }
let ids = 0
let id = ''

beforeAll(async () => {
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  await sql.query('CREATE TABLE effects (id text, what text)')
}, 120_000)
beforeEach(() => {
  id = `s${++ids}`
})
afterAll(closeEmbedded)

function bind(
  handlers: Partial<ParticipantHandlers<StockCommand>> = {},
  client: SqlClient = sql,
  effects?: 'tx' | 'anywhere',
): SinkBinding {
  const write = (what: string): ParticipantHandlers<StockCommand>['compensate'] => {
    return async (_, { tx, sagaId }) => void (await tx.query('INSERT INTO effects VALUES ($1, $2)', [sagaId, what]))
  }
  const both = { invoke: write('done'), compensate: write('undone'), ...handlers }
  return participant(
    stockCommands,
    { group: 'stock', sql: client, outbox, schema, backoff: FAST, maxAttempts: 3, effects },
    both,
  )
}

async function send(binding: SinkBinding, operation: Operation, attempt = 1): Promise<string[]> {
  await deliver(binding, request, commandHeaders(id, operation, attempt))
  return replies()
}

async function replies(): Promise<string[]> {
  const all = await takeReplies(sql, schema)
  return all.map(({ operation, status, code }) => `${operation} ${status}${code === undefined ? '' : ` ${code}`}`)
}

async function effects(of = id): Promise<string[]> {
  const { rows } = await sql.query<{ what: string }>('SELECT what FROM effects WHERE id = $1', [of])
  return rows.map(({ what }) => what)
}

describe('a participant', () => {
  test('keeps effect and answer together, and answers a repetition without the effect', async () => {
    const binding = bind()
    expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    expect(await send(binding, 'invoke', 2)).toEqual(['invoke ok'])
    expect(await effects()).toEqual(['done'])
  })

  test('sends the kept result again', async () => {
    let calls = 0
    const binding = bind({ invoke: () => ({ call: ++calls }) })
    for (const attempt of [1, 2]) await deliver(binding, request, commandHeaders(id, 'invoke', attempt))
    const all = await takeReplies(sql, schema)
    expect(all.map(({ result }) => result)).toEqual([{ call: 1 }, { call: 1 }])
  })

  test('undoes its effect, once', async () => {
    const binding = bind()
    await send(binding, 'invoke')
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['done', 'undone'])
  })

  test('has nothing to undo when nothing was done, and refuses late commands', async () => {
    const binding = bind()
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    expect(await effects()).toEqual([])
  })

  test('rolls a refusal back, keeps it, and has nothing to undo for it', async () => {
    let calls = 0
    const binding = bind({
      invoke: async (_, { tx }) => {
        calls++
        await tx.query('INSERT INTO effects VALUES ($1, $2)', [id, 'half'])
        throw new Refusal('stock.empty', 'no apples')
      },
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke refused stock.empty'])
    expect(await send(binding, 'invoke')).toEqual(['invoke refused stock.empty'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual([])
    expect(calls).toBe(1)
  })

  test('retries an ordinary error itself, then answers failed and can be called again', async () => {
    let calls = 0
    const binding = bind({
      invoke: () => {
        if (++calls <= 3) throw new Error('database of a friend is down')
      },
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke failed Error'])
    expect(calls).toBe(3)
    expect(await send(binding, 'invoke', 2)).toEqual(['invoke ok'])
  })

  test('calls compensate for a failed invoke, which may have effects outside the transaction', async () => {
    const binding = bind({
      invoke: () => {
        throw new Error('half way')
      },
    })
    await send(binding, 'invoke')
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['undone'])
    expect(await send(binding, 'invoke', 2)).toEqual(['invoke refused saga.cancelled'])
  })

  test('does not accept a refusal after a failed attempt as definite: it answers failed permanently, and is undone', async () => {
    let calls = 0
    const binding = bind({
      invoke: () => {
        if (++calls <= 3) throw new Error('half way')
        throw new Refusal('stock.empty', 'no apples')
      },
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke failed Error'])
    await deliver(binding, request, commandHeaders(id, 'invoke', 2))
    const refusal = { status: 'failed', final: true, code: 'stock.empty', message: 'no apples' }
    expect(await takeReplies(sql, schema)).toMatchObject([refusal])
    await deliver(binding, request, commandHeaders(id, 'invoke', 3))
    expect(await takeReplies(sql, schema)).toMatchObject([refusal])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['undone'])
  })

  test('does so too after a call that counts as no attempt, as with a database that was down', async () => {
    let calls = 0
    const binding = bind({
      invoke: () => {
        if (++calls === 1) throw Object.assign(new Error('terminating connection'), { code: '57P01' })
        throw new Refusal('stock.empty', 'no apples')
      },
    })
    const asAttempt1 = (): Promise<void> => deliver(binding, request, commandHeaders(id, 'invoke'), 1)
    await expect(asAttempt1()).rejects.toMatchObject({ code: '57P01' })
    await asAttempt1()
    expect(await takeReplies(sql, schema)).toMatchObject([{ status: 'failed', final: true, code: 'stock.empty' }])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['undone'])
  })

  test('does so too when both attempts were calls for one delivery', async () => {
    let calls = 0
    const binding = bind({
      invoke: () => {
        if (++calls === 1) throw new Error('half way')
        throw new Refusal('stock.empty', 'no apples')
      },
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke failed stock.empty'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['undone'])
  })

  test('undoes outside effects of a process that died, and leaves no other trace', async () => {
    const charges: string[] = []
    const client = new MortalClient(sql, Number.POSITIVE_INFINITY, 'before')
    const dying = bind({ invoke: () => void (charges.push('charged'), (client.dead = true)) }, client)
    await expect(deliver(dying, request, commandHeaders(id, 'invoke'), 1)).rejects.toThrow()
    expect(await replies()).toEqual([])
    const next = bind({ compensate: () => void charges.push('paid back') })
    expect(await send(next, 'compensate')).toEqual(['compensate ok'])
    expect(await send(next, 'invoke', 2)).toEqual(['invoke refused saga.cancelled'])
    expect(charges).toEqual(['charged', 'paid back'])
  })

  test('does not accept a refusal after an attempt whose process died as definite, either', async () => {
    const client = new MortalClient(sql, Number.POSITIVE_INFINITY, 'before')
    const dying = bind({ invoke: () => void (client.dead = true) }, client)
    await expect(deliver(dying, request, commandHeaders(id, 'invoke'), 1)).rejects.toThrow()
    const no = () => {
      throw new Refusal('stock.empty', 'no apples')
    }
    const next = bind({ invoke: no })
    await deliver(next, request, commandHeaders(id, 'invoke'))
    expect(await takeReplies(sql, schema)).toMatchObject([{ status: 'failed', final: true, code: 'stock.empty' }])
    expect(await send(next, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['undone'])
  })

  test.each(['at once', 'after another refusal'])(
    'undoes it, too, when an operator had retried after a refusal: %s',
    async (when) => {
      const no = () => {
        throw new Refusal('stock.empty', 'no apples')
      }
      expect(await send(bind({ invoke: no }), 'invoke')).toEqual(['invoke refused stock.empty'])
      const again = { ...commandHeaders(id, 'invoke'), 'saga-round': 1 }
      const client = new MortalClient(sql, Number.POSITIVE_INFINITY, 'before')
      const dying = bind({ invoke: () => void (client.dead = true) }, client)
      await expect(deliver(dying, request, again, 1)).rejects.toThrow()
      if (when !== 'at once') {
        await deliver(bind({ invoke: no }), request, again)
        expect(await takeReplies(sql, schema)).toMatchObject([{ status: 'failed', final: true, code: 'stock.empty' }])
      }
      expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
      expect(await effects()).toEqual(['undone'])
    },
  )

  test('undoes it, too, when a release with effects elsewhere is tried again after a final failure of one with effects in `tx`', async () => {
    const bug = () => {
      throw Object.assign(new Error('bug'), { retryable: false })
    }
    expect(await send(bind({ invoke: bug }, sql, 'tx'), 'invoke')).toEqual(['invoke failed Error'])
    const again = { ...commandHeaders(id, 'invoke'), 'saga-round': 1 }
    const client = new MortalClient(sql, Number.POSITIVE_INFINITY, 'before')
    const dying = bind({ invoke: () => void (client.dead = true) }, client)
    await expect(deliver(dying, request, again, 1)).rejects.toThrow()
    expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['undone'])
  })

  test('refuses again when an operator retries and nothing went wrong', async () => {
    const binding = bind({
      invoke: () => {
        throw new Refusal('stock.empty', 'no apples')
      },
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke refused stock.empty'])
    await deliver(binding, request, { ...commandHeaders(id, 'invoke'), 'saga-round': 1 })
    expect(await replies()).toEqual(['invoke refused stock.empty'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual([])
  })

  test('an error with retryable false is final at once', async () => {
    let calls = 0
    const binding = bind({
      invoke: () => {
        calls++
        throw Object.assign(new Error('bug'), { retryable: false })
      },
    })
    await deliver(binding, request, commandHeaders(id, 'invoke'))
    expect(await takeReplies(sql, schema)).toMatchObject([{ status: 'failed', final: true, attempt: 1 }])
    expect(await send(binding, 'invoke', 2)).toEqual(['invoke failed Error'])
    expect(calls).toBe(1)
  })

  test('a compensation that fails answers failed and succeeds when repeated', async () => {
    let broken = true
    const binding = bind({
      compensate: async (_, { tx }) => {
        if (broken) throw new Error('not now')
        await tx.query('INSERT INTO effects VALUES ($1, $2)', [id, 'undone'])
      },
    })
    await send(binding, 'invoke')
    expect(await send(binding, 'compensate')).toEqual(['compensate failed Error'])
    broken = false
    expect(await send(binding, 'compensate', 2)).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['done', 'undone'])
  })

  test('knows which saga it works for, across awaits', async () => {
    let seen: unknown
    const binding = bind({
      invoke: async (_, { tx }) => {
        await tx.query('SELECT 1')
        seen = currentSaga()
      },
    })
    await send(binding, 'invoke')
    expect(seen).toEqual({
      saga: 'order',
      sagaId: id,
      step: 'reserve',
      operation: 'invoke',
      key: `order/${id}/reserve`,
    })
  })

  test('refuses a message without saga headers permanently', async () => {
    await expect(deliver(bind(), request, {}, 1)).rejects.toMatchObject({ retryable: false })
  })

  test('names a wrong option', () => {
    expect(() => bind({ compensate: undefined as never })).toThrow(
      'participant("stock.commands").compensate: expected a function, got undefined',
    )
  })
})

describe('a participant that writes through tx alone', () => {
  const bindInside = (handlers: Partial<ParticipantHandlers<StockCommand>> = {}): SinkBinding =>
    bind(handlers, sql, 'tx')

  test('has nothing to undo for an invoke that failed, also permanently, and refuses a late one', async () => {
    for (const retryable of [true, false]) {
      id = `s${++ids}`
      const binding = bindInside({
        invoke: async (_, { tx }) => {
          await tx.query('INSERT INTO effects VALUES ($1, $2)', [id, 'half'])
          throw Object.assign(new Error('half way'), { retryable })
        },
      })
      expect(await send(binding, 'invoke')).toEqual(['invoke failed Error'])
      expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
      expect(await effects()).toEqual([])
      expect(await send(binding, 'invoke', 2)).toEqual(['invoke refused saga.cancelled'])
    }
  })

  test('refuses definitely after a failed attempt, whichever it was', async () => {
    for (const failures of [1, 3]) {
      id = `s${++ids}`
      let calls = 0
      const binding = bindInside({
        invoke: () => {
          if (++calls <= failures) throw new Error('half way')
          throw new Refusal('stock.empty', 'no apples')
        },
      })
      const first = failures === 1 ? 'invoke refused stock.empty' : 'invoke failed Error'
      expect(await send(binding, 'invoke')).toEqual([first])
      expect(await send(binding, 'invoke', 2)).toEqual(['invoke refused stock.empty'])
      expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
      expect(await effects()).toEqual([])
    }
  })

  test('undoes a commit whose answer was lost, and a later attempt’s effect', async () => {
    const deaf = bind({}, new MortalClient(sql, 5, 'after'), 'tx')
    await deliver(deaf, request, commandHeaders(id, 'invoke'), 1).catch(() => {})
    const binding = bindInside()
    await send(binding, 'invoke', 2)
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toEqual(['done', 'undone'])
  })

  test('requires nothing else', () => {
    expect(() => bind({}, sql, 'inside' as 'tx')).toThrow(
      'participant("stock.commands").effects: expected \'anywhere\' or \'tx\', got "inside"',
    )
  })
})

describe.each(['anywhere', 'tx'] as const)('with effects %s, under any deliveries in any order', (where) => {
  type Outcome = 'ok' | 'refuse' | 'fail' | 'final'
  const delivery = fc.record({
    operation: fc.constantFrom<Operation>('invoke', 'compensate'),
    outcome: fc.constantFrom<Outcome>('ok', 'ok', 'refuse', 'fail', 'final'),
    dieAt: fc.option(fc.integer({ min: 1, max: 5 }), { nil: 0, freq: 3 }),
    when: fc.constantFrom('before' as const, 'after' as const),
  })

  test('an effect happens at most once, never after its compensation, and is undone at most once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(delivery, { minLength: 1, maxLength: 8 }), async (deliveries) => {
        const key = `p${++ids}`
        for (const { operation, outcome, dieAt, when } of deliveries) {
          const handler: ParticipantHandlers<StockCommand>['compensate'] = async (_, { tx }) => {
            await tx.query('INSERT INTO effects VALUES ($1, $2)', [key, operation])
            if (outcome === 'refuse') throw new Refusal('no', 'no')
            if (outcome !== 'ok') throw Object.assign(new Error(outcome), { retryable: outcome !== 'final' })
          }
          const binding = bind({ invoke: handler, compensate: handler }, new MortalClient(sql, dieAt, when), where)
          await deliver(binding, request, commandHeaders(key, operation), 1).catch(() => {})
        }
        const ends =
          where === 'tx' ? ['', 'invoke', 'invoke,compensate'] : ['', 'invoke', 'compensate', 'invoke,compensate']
        expect(ends).toContain((await effects(key)).join())
        await takeReplies(sql, schema)
      }),
      { numRuns: 150 },
    )
  })
})
