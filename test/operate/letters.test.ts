import { createOperator, type DeadLetterPageOptions, type DeadLetterProgress, type Operator } from '@concordat/cli'
import { combineTransports, createBinder, defineChannel, sink, TerminalError, TransportError } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- as above
import type { Invocation } from '../../packages/cli/commands/command.ts'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: a process of a test has no terminal
import { DLQ_COMMANDS } from '../../packages/cli/commands/dlq.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const placed = defineChannel('orders.placed', { payload: z.object({ n: z.number() }), key: () => 'k' })
const place = { channel: 'orders.placed', group: 'stock' }
const note = { by: 'ann', reason: 'the warehouse is back' }
/** Default for an invocation that the operator does not stop. */
const { signal: stop } = new AbortController()
let schemas = 0

async function withLetters(count: number) {
  const schema = `letters_${++schemas}`
  const broker = memoryBroker()
  const handled: number[] = []
  const state = { broken: true }
  const stock = sink(placed, { group: 'stock' }, ({ n }) => {
    if (state.broken) throw new TerminalError('closed')
    handled.push(n)
  })
  const binder = createBinder({ service: 'shop', transport: memoryTransport({ broker }), bindings: [stock] })
  onTestFinished(() => binder.close())
  await binder.start()
  const ids = []
  for (let n = 1; n <= count; n++) ids.push((await binder.send(placed, { n })).id)
  const operator = createOperator({ sql, schema, transport: () => memoryTransport({ broker }) })
  await operator.migrate({ by: 'ann', reason: 'setup', parts: ['operator'] })
  await until('they are dead letters', async () => (await operator.letters.count(place)) === count)
  return { operator, state, handled, ids, schema, broker, binder }
}

/** Without the lines of the migration. */
const deeds = async (operator: Operator) => (await operator.audit()).filter(({ part }) => part !== 'tables')

describe('letters', () => {
  test('are listed, with payloads only when asked, and sent back without the declaration of the channel', async () => {
    const { operator, state, handled } = await withLetters(1)
    expect(await operator.letters.list(place)).toMatchObject([{ body: null, error: { message: 'closed' } }])
    const [{ body } = { body: null }] = await operator.letters.list(place, { payloads: true })
    expect(new TextDecoder().decode(body ?? undefined)).toBe('{"n":1}')
    expect(await operator.letters.list(place, { code: 'another' })).toEqual([])
    expect(await operator.letters.redrive(place, note)).toMatchObject({ sent: 1, complete: true })
    expect(handled).toEqual([])
    state.broken = false
    expect(await operator.letters.redrive(place, { ...note, dryRun: false })).toMatchObject({ sent: 1 })
    await until('it was handled', () => handled.length === 1)
    await until('nothing is left', async () => (await operator.letters.lag(place)) === 0)
    expect(await operator.letters.count(place)).toBe(0)
  })

  test('are counted on the transport of their channel, when a function of combined transports knows channels alone', async () => {
    const { schema, broker } = await withLetters(2)
    const combined = () =>
      combineTransports({
        transports: { orders: memoryTransport({ broker }), others: memoryTransport() },
        of: (channel) => (channel === placed.name ? 'orders' : 'others'),
      })
    const { letters } = createOperator({ sql, schema, transport: combined })
    expect(await letters.count(place)).toBe(2)
    expect(await letters.redrive(place, { ...note, to: 'group', dryRun: false })).toMatchObject({ sent: 2 })
    expect(await letters.count(place)).toBe(0)
  })

  test('dead letters that went back to their group alone are in its lag until it reads them', async () => {
    const { operator, binder } = await withLetters(2)
    await binder.close()
    expect(await operator.letters.lag(place)).toBe(0)
    expect(await operator.letters.redrive(place, { ...note, to: 'group', dryRun: false })).toMatchObject({ sent: 2 })
    expect(await operator.letters.lag(place)).toBe(2)
    expect(await operator.letters.backlog(place)).toMatchObject({ lag: 2 })
  })

  test('dropped dead letters are gone, the others stay in their order', async () => {
    const { operator, ids } = await withLetters(3)
    const order = { ...note, id: ids[1] }
    expect(await operator.letters.drop(place, order)).toMatchObject({ sent: 1 })
    expect(await operator.letters.count(place)).toBe(3)
    expect(await operator.letters.drop(place, { ...order, dryRun: false })).toMatchObject({ sent: 1, kept: 2 })
    expect((await operator.letters.list(place)).map(({ id }) => id)).toEqual([ids[0], ids[2]])
  })

  test('that came after they were shown are left alone when the operator confirms', async () => {
    const { operator, ids, binder } = await withLetters(1)
    const confirm = async (): Promise<boolean> => {
      await binder.send(placed, { n: 2 })
      await until('another failed', async () => (await operator.letters.count(place)) === 2)
      return true
    }
    const drop = DLQ_COMMANDS.find(({ name }) => name === 'dlq drop')
    const invocation = {
      values: { by: 'ann', reason: 'a test' },
      positionals: [place.channel, place.group],
      operator: async () => operator,
      confirm,
      progress: () => {},
      stop,
    } as unknown as Invocation
    expect(await drop?.run(invocation)).toMatchObject({ json: { sent: 1, kept: 1, dryRun: false } })
    const left = await operator.letters.list(place)
    expect(left.map(({ id }) => ids.includes(id))).toEqual([false])
  })

  test('are counted as dropped copies when a kill has written one of them twice', async () => {
    const { operator, binder } = await withLetters(2)
    const [letter] = await operator.letters.list(place, { payloads: true })
    const copy = { id: letter?.id ?? '', source: 'shop', key: 'k', headers: {}, time: 0, body: letter?.body ?? null }
    const destination = `${place.channel}.${place.group}.dlq`
    await binder.publish([{ ...copy, destination, type: place.channel, contentType: 'application/json' }])
    await until('the copy counts', async () => (await operator.letters.count(place)) === 3)
    const invocation = {
      values: { by: 'ann', reason: 'a test' },
      positionals: [place.channel, place.group],
      operator: async () => operator,
      confirm: async () => true,
      progress: () => {},
      stop,
    } as unknown as Invocation
    const redrive = DLQ_COMMANDS.find(({ name }) => name === 'dlq redrive')
    expect(await redrive?.run(invocation)).toMatchObject({
      text: '2 sent back to the channel, 0 kept, 1 second copy dropped.\n',
      json: { sent: 2, kept: 0, copies: 1, complete: true },
    })
    expect(await deeds(operator)).toMatchObject([{ outcome: '2 sent back, 0 kept, 1 second copy dropped' }])
  })

  test('are said to be left when the limit ended a redrive before all of them were seen', async () => {
    const { operator, state } = await withLetters(3)
    state.broken = false
    const run = async (values: object) => {
      const invocation = {
        values: { ...note, ...values },
        positionals: [place.channel, place.group],
        operator: async () => operator,
        confirm: async () => true,
        progress: () => {},
        stop,
      } as unknown as Invocation
      const outcome = await DLQ_COMMANDS.find(({ name }) => name === 'dlq redrive')?.run(invocation)
      return outcome?.text.trimEnd().split('\n').at(-1)
    }
    expect(await run({ limit: '2', 'dry-run': true })).toBe(
      '2 of 2 dead letters looked at would be sent back to the channel. More dead letters are behind them.',
    )
    expect(await run({ limit: '2' })).toBe('2 sent back to the channel, 0 kept. More dead letters are behind them.')
    expect(await run({ limit: '2' })).toBe('1 sent back to the channel, 0 kept.')
  })

  test('are not said to be absent when not all of them were read', async () => {
    const { operator, ids } = await withLetters(3)
    const letters = {
      ...operator.letters,
      list: () => operator.letters.list(place, { id: 'none', lookAt: 2 }),
      page: () => operator.letters.page(place, { lookAt: 2 }),
      redrive: () => operator.letters.redrive(place, { ...note, id: 'none', lookAt: 2 }),
    }
    const said = async (name: string, positionals: readonly string[], values: object = {}) => {
      const invocation = {
        values: { ...note, ...values },
        positionals,
        operator: async () => ({ ...operator, letters }),
        stop,
      }
      return DLQ_COMMANDS.find((command) => command.name === name)?.run(invocation as unknown as Invocation)
    }
    const { channel, group } = place
    expect(await said('dlq redrive', [channel, group], { id: ids[2] })).toMatchObject({
      text: 'No dead letter fits among the first 2, and more are behind them.\n',
      code: 1,
    })
    expect(await said('dlq show', [channel, group, String(ids[2])])).toMatchObject({
      text: expect.stringContaining('none of the first 2 dead letters has this id or key, and more are behind them'),
      code: 1,
    })
  })

  test('are refused by a dry run as by the real one where the audit has no table', async () => {
    const { broker } = await withLetters(1)
    const operator = createOperator({ sql, schema: 'no_audit', transport: () => memoryTransport({ broker }) })
    for (const dryRun of [true, false])
      for (const action of ['redrive', 'drop'] as const)
        await expect(operator.letters[action](place, { ...note, dryRun })).rejects.toMatchObject({
          code: 'core.tables_missing',
          call: 'operator.migrate()',
        })
    expect(await operator.letters.count(place)).toBe(1)
  })

  test('leave a line of what was done, by whom, why and with which outcome; a dry run leaves none', async () => {
    const { operator, state, ids } = await withLetters(2)
    await operator.letters.redrive(place, note)
    expect(await deeds(operator)).toEqual([])
    state.broken = false
    await operator.letters.redrive(place, { ...note, id: ids[0], dryRun: false })
    await operator.letters.drop(place, { by: 'bob', reason: 'a test', dryRun: false })
    const target = 'orders.placed.stock.dlq'
    expect(await deeds(operator)).toMatchObject([
      { part: 'letters', action: 'drop', target, by: 'bob', reason: 'a test', outcome: '1 dropped, 0 kept' },
      { part: 'letters', action: 'redrive', target, ...note, outcome: '1 sent back, 1 kept' },
    ])
  })

  test('are not touched when the line cannot be written', async () => {
    const { broker } = await withLetters(1)
    const operator = createOperator({ sql, schema: 'without_tables', transport: () => memoryTransport({ broker }) })
    const drop = operator.letters.drop(place, { ...note, dryRun: false })
    await expect(drop).rejects.toMatchObject({ code: 'core.tables_missing' })
    await expect(drop).rejects.toThrow('operator.migrate()')
    expect(await operator.letters.count(place)).toBe(1)
  })

  test('keep the line of an action that failed, with the code of the error', async () => {
    const { operator, schema } = await withLetters(1)
    const away = createOperator({
      sql,
      schema,
      transport: () => Promise.reject(Object.assign(new Error('no broker'), { code: 'ECONNREFUSED' })),
    })
    await expect(away.letters.drop(place, { ...note, dryRun: false })).rejects.toThrow('no broker')
    expect(await deeds(operator)).toMatchObject([{ action: 'drop', outcome: 'ECONNREFUSED' }])
  })

  test('say why an action failed, also when that cannot be written down', async () => {
    const { schema } = await withLetters(1)
    const failing: SqlClient = {
      ...sql,
      query: async (text, parameters) => {
        if (text.startsWith('INSERT') && parameters?.at(-1) === 'ECONNREFUSED')
          throw new Error('cut (made by the test)')
        return sql.query(text, parameters)
      },
    }
    const transport = () => Promise.reject(Object.assign(new Error('no broker'), { code: 'ECONNREFUSED' }))
    const away = createOperator({ sql: failing, schema, transport })
    await expect(away.letters.drop(place, { ...note, dryRun: false })).rejects.toThrow('no broker')
  })

  test('keep the line of an action that failed on the way, with the number of letters done until then', async () => {
    const { operator, schema, broker, state } = await withLetters(3)
    state.broken = false
    let sent = 0
    const failing = createOperator({
      sql,
      schema,
      transport: () => {
        const transport = memoryTransport({ broker })
        const publish = transport.publish.bind(transport)
        transport.publish = async (messages, until) => {
          if (messages[0]?.destination !== 'orders.placed' || ++sent < 3) return publish(messages, until)
          const destination = 'orders.placed'
          const error = { kind: 'too_large', message: 'too large', transport: 'memory', destination } as const
          return messages.map(() => new TransportError(error))
        }
        return transport
      },
    })
    const redrive = failing.letters.redrive(place, { ...note, to: 'channel', dryRun: false })
    await expect(redrive).rejects.toMatchObject({ code: 'binder.send' })
    expect(await deeds(operator)).toMatchObject([{ action: 'redrive', outcome: 'binder.send: 2 sent back, 1 kept' }])
  })

  test('tell that an action was done when its outcome cannot be written down', async () => {
    const { schema, broker } = await withLetters(2)
    const outcomes: unknown[] = []
    const failing: SqlClient = {
      ...sql,
      query: async (text, parameters) => {
        const outcome = parameters?.at(-1)
        if (!text.includes('operator_audit') || !text.startsWith('INSERT') || outcome === null)
          return sql.query(text, parameters)
        outcomes.push(outcome)
        throw Object.assign(new Error('cut (made by the test)'), { code: 'ECONNRESET' })
      },
    }
    const operator = createOperator({ sql: failing, schema, transport: () => memoryTransport({ broker }) })
    await expect(operator.letters.drop(place, { ...note, dryRun: false })).rejects.toMatchObject({
      code: 'operate.outcome_not_kept',
      retryable: false,
      action: 'drop',
      target: 'orders.placed.stock.dlq',
      outcome: '2 dropped, 0 kept',
      result: { sent: 2, kept: 0 },
      cause: { code: 'ECONNRESET' },
      message:
        'drop of orders.placed.stock.dlq was done (2 dropped, 0 kept), but the line with its outcome is missing in ' +
        'operator_audit: do not do it again, and keep the outcome elsewhere',
    })
    expect(outcomes).toEqual(['2 dropped, 0 kept'])
    expect(await operator.letters.count(place)).toBe(0)
    expect(await deeds(operator)).toMatchObject([{ action: 'drop', outcome: null }])
  })

  test('need a transport, unless the log is in the database', async () => {
    const { letters } = createOperator({ sql, schema: 'no_log' })
    await expect(letters.lag(place)).rejects.toMatchObject({ code: 'operate.transport_missing' })
    await expect(letters.list(place)).rejects.toMatchObject({ code: 'operate.transport_missing' })

    const schema = 'with_log'
    const stock = sink(placed, { group: 'stock' }, () => {
      throw new TerminalError('closed')
    })
    const binder = createBinder({ service: 'shop', transport: postgresTransport({ sql, schema }), bindings: [stock] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.send(placed, { n: 1 })
    const operator = createOperator({ sql, schema })
    await until('it is a dead letter', async () => (await operator.letters.count(place)) === 1)
    expect(await operator.letters.list(place)).toMatchObject([{ error: { message: 'closed' } }])
    const group = async () => (await operator.groups()).find((each) => each.group === 'stock')
    await until('the group has settled it', async () => (await group())?.lag === 0)
    expect(await group()).toEqual({ channel: 'orders.placed', group: 'stock', lag: 0, isCut: false, readers: 1 })
  })

  test('messages that were not read since they were sent count as behind', async () => {
    const schema = 'unread'
    const stock = sink(placed, { group: 'stock' }, () => {})
    const reader = createBinder({ service: 'stock', transport: postgresTransport({ sql, schema }), bindings: [stock] })
    await reader.start()
    await reader.close()
    const shop = createBinder({ service: 'shop', transport: postgresTransport({ sql, schema }), sends: [placed] })
    onTestFinished(() => shop.close())
    await shop.start()
    await shop.sendBatch(placed, [{ n: 1 }, { n: 2 }, { n: 3 }])
    const operator = createOperator({ sql, schema })
    expect(await operator.groups()).toContainEqual(expect.objectContaining({ group: 'stock', lag: 3, readers: 0 }))
    const { lines } = await operator.doctor()
    expect(lines).toContainEqual(
      expect.objectContaining({ text: 'orders.placed.stock is 3 behind, and no instance reads it' }),
    )
  })

  test('dead letters of a missing channel make nothing', async () => {
    const operator = createOperator({ sql, schema: 'with_log' })
    await expect(operator.letters.list({ channel: 'ordres.placed', group: 'stock' })).rejects.toThrow('ordres.placed')
    expect((await operator.groups()).filter(({ channel }) => channel.startsWith('ordres'))).toEqual([])
  })
})

describe('ten thousand letters', () => {
  async function pagesOf(operator: Operator, options: DeadLetterPageOptions): Promise<string[][]> {
    const pages: string[][] = []
    for (let after: string | undefined; ; ) {
      const { letters, next } = await operator.letters.page(place, { ...options, after })
      pages.push(letters.map(({ id }) => id))
      if (next === null) return pages
      after = next
    }
  }

  test('are gone through page by page, each once and in their order', { timeout: 120_000 }, async () => {
    const { operator, ids } = await withLetters(10_000)
    const pages = await pagesOf(operator, { limit: 2_500 })
    expect(pages.map(({ length }) => length)).toEqual([2_500, 2_500, 2_500, 2_500, 0])
    expect(pages.flat()).toEqual(ids)
    const [first] = await pagesOf(operator, { code: 'another', lookAt: 6_000 })
    expect(first).toEqual([])
  })

  test('go back with a word of how far it is', { timeout: 60_000 }, async () => {
    const { operator, state } = await withLetters(300)
    state.broken = false
    const told: DeadLetterProgress[] = []
    const onProgress = (progress: DeadLetterProgress): void => void told.push(progress)
    await operator.letters.redrive(place, { ...note, dryRun: false, limit: 200, perSecond: 100_000, onProgress })
    expect(told[99]).toEqual({ sent: 100, kept: 0, copies: 0, of: 300 })
    expect(told.at(-1)).toEqual({ sent: 200, kept: 0, copies: 0, of: 300 })
  })
})

describe('a page', () => {
  test('a page of dead letters that were settled in between continues after the last one shown', async () => {
    const { operator, ids } = await withLetters(10)
    const { next } = await operator.letters.page(place, { limit: 4 })
    await operator.letters.drop(place, { ...note, id: ids[1] ?? '', dryRun: false })
    const behind = await operator.letters.page(place, { after: next ?? '' })
    expect(behind.letters.map(({ id }) => id)).toEqual(ids.slice(4))
    expect(behind.next).toBeNull()
  })

  test('whose letters are all settled before the next is asked for leaves none out', async () => {
    const { operator, ids } = await withLetters(7)
    const { next } = await operator.letters.page(place, { limit: 3 })
    for (const id of ids.slice(0, 3)) await operator.letters.drop(place, { ...note, id, dryRun: false })
    const second = await operator.letters.page(place, { limit: 3, after: next ?? '' })
    expect(second.letters.map(({ id }) => id)).toEqual(ids.slice(3, 6))
    const third = await operator.letters.page(place, { limit: 3, after: second.next ?? '' })
    expect([third.letters.map(({ id }) => id), third.next]).toEqual([ids.slice(6), null])
  })

  test('whose last letter is gone shows those again that stayed', async () => {
    const { operator, ids } = await withLetters(6)
    const { next } = await operator.letters.page(place, { limit: 2 })
    await operator.letters.drop(place, { ...note, id: ids[1] ?? '', dryRun: false })
    const { letters } = await operator.letters.page(place, { after: next ?? '' })
    expect(letters.map(({ id }) => id)).toEqual(ids.filter((_, n) => n !== 1))
  })

  test('a page beyond the limit of a reading is refused with a remedy, and so is an invalid cursor', async () => {
    const { operator } = await withLetters(4)
    const { next } = await operator.letters.page(place, { limit: 3 })
    const beyond = operator.letters.page(place, { after: next ?? '', lookAtBytes: 8 })
    await expect(beyond).rejects.toMatchObject({ code: 'operate.letters_out_of_reach', group: 'stock' })
    for (const after of [
      '',
      'x',
      Buffer.from('["0","x"]').toString('base64url'),
      Buffer.from('["1",""]').toString('base64url'),
    ])
      await expect(operator.letters.page(place, { after })).rejects.toThrow('letters.page.after: expected')
  })
})
