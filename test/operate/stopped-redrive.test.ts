import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink, TerminalError } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: a process of a test has no terminal
import type { Invocation } from '../../packages/cli/commands/command.ts'
// oxlint-disable-next-line no-restricted-imports -- as above
import { DLQ_COMMANDS } from '../../packages/cli/commands/dlq.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const placed = defineChannel('orders.placed', { payload: z.object({ n: z.number() }), key: () => 'k' })
const place = { channel: 'orders.placed', group: 'stock' }
let schemas = 0

/** @param confirm answers the question; it may stop the command */
async function setup(count: number, values: object, confirm: (stop: AbortController) => boolean = () => true) {
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
  for (let n = 1; n <= count; n++) await binder.send(placed, { n })
  const operator = createOperator({
    sql,
    schema: `stopped_${++schemas}`,
    transport: () => memoryTransport({ broker }),
  })
  await operator.migrate({ by: 'ann', reason: 'setup', parts: ['operator'] })
  await until('they are dead letters', async () => (await operator.letters.count(place)) === count)
  state.broken = false
  const stop = new AbortController()
  const invocation = {
    values: { by: 'ann', reason: 'a test', ...values },
    positionals: [place.channel, place.group],
    operator: async () => operator,
    confirm: async () => confirm(stop),
    progress: () => {},
    stop: stop.signal,
  } as unknown as Invocation
  const redrive = DLQ_COMMANDS.find(({ name }) => name === 'dlq redrive')
  const deeds = async () => (await operator.audit()).filter(({ part }) => part === 'letters')
  return { operator, handled, stop, deeds, run: () => redrive?.run(invocation) }
}

describe('a redrive that the operator stops', () => {
  test('says how many dead letters went back, and leaves the others', async () => {
    const { operator, handled, stop, deeds, run } = await setup(3, { 'per-second': '1' })
    const running = run()
    await until('the first went back', () => handled.length === 1)
    stop.abort()
    expect(await running).toMatchObject({
      text: '1 sent back to the channel, 0 kept. Stopped before the end: the others are still dead letters.\n',
      json: { sent: 1, kept: 0, complete: false },
      code: 1,
    })
    expect(await deeds()).toMatchObject([{ outcome: '1 sent back, 0 kept' }])
    expect(await operator.letters.list(place)).toHaveLength(2)
  })

  test('at its question changes nothing', async () => {
    const { deeds, run } = await setup(1, {}, (stop) => {
      stop.abort()
      return true
    })
    expect(await run()).toMatchObject({ text: 'Nothing was changed.\n', code: 1 })
    expect(await deeds()).toEqual([])
  })
})
