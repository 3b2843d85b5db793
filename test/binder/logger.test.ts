import { createBinder, defineChannel, redrive, sink } from 'concordat/binder'
import type { Logger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { expect, it } from 'vitest'
import { z } from 'zod'

const orders = defineChannel('orders', { payload: z.number() })
const js = (value: unknown): never => value as never

it.each([
  ['an empty object', {}, 'another object'],
  ['one without debug', { info() {}, warn() {}, error() {} }, 'another object'],
  ['a name', 'pino', 'a string'],
  ['null', null, 'null'],
])('a binder refuses an invalid logger: %s', async (_, logger, got) => {
  const expected = `logger: expected a logger with debug, info, warn and error, such as pino(), got ${got}`
  const transport = memoryTransport()
  expect(() => createBinder({ service: 's', transport, logger: js(logger) })).toThrow(`createBinder.${expected}`)
  await expect(redrive({ service: 's', transport, logger: js(logger) }, orders, 'g')).rejects.toThrow(
    `redrive.${expected}`,
  )
})

it('handles, retries and dead-letters although the logger throws', async () => {
  const fail = (): never => {
    throw new Error('disk full')
  }
  const logger: Logger = { debug: fail, info: fail, warn: fail, error: fail }
  const seen: number[] = []
  const done = Promise.withResolvers<void>()
  const options = { group: 'g', maxAttempts: 2, backoff: { initialMs: 1 } }
  const binding = sink(orders, options, (order, { log }) => {
    log.info({}, 'a line of the handler')
    seen.push(order)
    if (order === 1) throw new Error('no')
    done.resolve()
  })
  await using binder = createBinder({ service: 's', transport: memoryTransport(), logger, bindings: [binding] })
  await binder.start()
  await binder.sendBatch(orders, [1, 2])
  await done.promise
  expect(seen).toEqual([1, 1, 2])
  expect(binder.binding('orders.g').status().deadLettered).toBe(1)
})
