import { createBinder, defineChannel, sink, sinkBatch } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { messageOn, ScriptedDelivery, ScriptedTransport } from '../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })

/** Delivers one message and withdraws its loan while its handler runs, up to 5 times. */
async function takeAwayAgainAndAgain(
  newBinding: (handle: (attempt: number) => Promise<void>) => ReturnType<typeof sinkBatch> | ReturnType<typeof sink>,
) {
  const transport = new ScriptedTransport()
  let ran = gate()
  const attempts: number[] = []
  const binding = newBinding(async (attempt) => {
    attempts.push(attempt)
    await ran.opened
  })
  const binder = createBinder({ service: 's', transport, bindings: [binding], logger: silentLogger })
  onTestFinished(() => binder.close())
  await binder.start()
  const status = () => binder.binding('numbers.g').status()
  const message = messageOn('numbers', 'k', 0)
  for (let n = 1; n <= 5 && status().deadLettered === 0; n++) {
    ran = gate()
    const loan = new AbortController()
    transport.subscription.receiver.deliver(new ScriptedDelivery(message, 0, loan))
    await until('it was called, or is a dead letter', () => attempts.length === n || status().deadLettered === 1)
    loan.abort(new Error('lost'))
    ran.open()
    await until('it came to its end', () => status().running === 0)
  }
  return { attempts, status: status() }
}

it('a message that is taken away from its running handler again and again counts as an attempt from the second time on', async () => {
  const { attempts, status } = await takeAwayAgainAndAgain((handle) =>
    sink(channel, { group: 'g', maxAttempts: 3 }, (_, { attempt }) => handle(attempt)),
  )
  expect(attempts).toEqual([1, 1, 2, 3])
  expect(status).toMatchObject({ handled: 0, deadLettered: 1 })
})

it('a batch message that is taken away from its running handler counts its attempts as a single one does', async () => {
  const { attempts, status } = await takeAwayAgainAndAgain((handle) =>
    sinkBatch(channel, { group: 'g', maxAttempts: 3, batch: { maxSize: 10, maxWaitMs: 1 } }, ([item]) =>
      handle(item?.context.attempt ?? 0),
    ),
  )
  expect(attempts).toEqual([1, 1, 2, 3])
  expect(status).toMatchObject({ handled: 0, deadLettered: 1 })
})
