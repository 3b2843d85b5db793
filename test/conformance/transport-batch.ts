import { type EncodedMessage, failed, ok, processorBatch, produced, sinkBatch, TerminalError } from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { describe, it } from 'vitest'
import type { BatchSinkOptions } from '../support/inside/binder.ts'
import { gate, until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import {
  collector,
  createTestChannel,
  deadLettersOf,
  failingPublish,
  NO_PAUSE,
  started,
  type TestChannel,
  type TestPayload,
} from './transport-kit.ts'

const SOON = Object.freeze({ initialMs: 150, maxMs: 150, jitter: 0 })
const LIMITS = Object.freeze({ maxSize: 5, maxWaitMs: 20 })

const numbers = (count: number, key: (n: number) => string = () => 'k'): TestPayload[] =>
  Array.from({ length: count }, (_, n) => ({ key: key(n), n }))

/** Transport that refuses messages to a destination, as if the broker were down, and keeps them in `refused`. */
function refusing(transport: Transport, destination: string): { transport: Transport; refused: EncodedMessage[] } {
  const refused: EncodedMessage[] = []
  const fails = (message: EncodedMessage): boolean => message.destination === destination && refused.push(message) > 0
  return { transport: failingPublish(transport, fails), refused }
}

/** Processor that copies its messages in batches. */
function copying(input: TestChannel, output: TestChannel, options: Partial<BatchSinkOptions> = {}) {
  const all = { group: 'g', batch: LIMITS, backoff: NO_PAUSE, ...options, inbox: undefined }
  return processorBatch(input, output, all, (items) => items.map(({ payload }) => produced(payload)))
}

export function batchCases(context: CaseContext): void {
  describe('batches', () => {
    it('settle each message by its own outcome: failed ones are redelivered in order, terminal ones are dead letters', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const calls: string[][] = []
      const handled: number[] = []
      const binding = sinkBatch(
        channel,
        { group: 'g', batch: { maxSize: 5, maxWaitMs: 20 }, backoff: NO_PAUSE },
        (items) => {
          calls.push(items.map(({ payload: { key, n }, context: { attempt } }) => `${key}${n}/${attempt}`))
          return items.map(({ payload: { n }, context: { attempt } }) => {
            if (n === 3) return failed(new TerminalError('never'))
            if (n === 5 && attempt < 3) return failed(new Error('not yet'))
            handled.push(n)
            return ok
          })
        },
      )
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [binding, dead.binding] })
      await binder.sendBatch(channel, numbers(12))
      const status = () => binder.binding(`${channel.name}.g`).status()
      await until('all were settled', () => status().handled === 11 && dead.got.length === 1)
      expect(dead.got.map(({ payload }) => payload.n)).toEqual([3])
      expect(new Set(handled).size).toBe(11)
      expect(calls.every((call) => call.length <= 5)).toBe(true)
      expect(calls.flat()).toEqual(expect.arrayContaining(['k5/1', 'k5/2', 'k5/3']))
      // The last calls of all messages are in order: none overtook the one that failed.
      const last = numbers(12).map(({ n }) => (n === 3 ? undefined : handled.lastIndexOf(n)))
      const inOrder = last.filter((at) => at !== undefined)
      expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b))
      await binder.close()
      const rest = collector(channel, 'g')
      const next = await started(context.transport(), { bindings: [rest.binding], sends: [channel] })
      await next.send(channel, { key: 'k', n: 99 })
      await until('the next member got what was left', () => rest.got.length > 0)
      expect(rest.got.map(({ payload }) => payload.n)).toEqual([99])
    })

    it('batches that a stop interrupts come back whole to the next member', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const begun = gate()
      const binding = sinkBatch(
        channel,
        { group: 'g', batch: { maxSize: 4, maxWaitMs: 20 }, backoff: { initialMs: 60_000, maxMs: 60_000 } },
        () => {
          begun.open()
          throw new Error('away')
        },
      )
      const first = await started(context.transport(), { bindings: [binding] })
      await first.sendBatch(channel, numbers(4))
      await begun.opened
      await first.close()
      const rest = collector(channel, 'g')
      await started(context.transport(), { bindings: [rest.binding] })
      await until('all came', () => rest.got.length >= 4)
      expect(rest.got.map(({ payload }) => payload.n)).toEqual([0, 1, 2, 3])
    })
  })

  describe('outputs of batches', () => {
    it('hold up the input until they are confirmed, and have the same ids in another process', async ({ expect }) => {
      const input = createTestChannel(context.freshName())
      const output = createTestChannel(context.freshName(), ['out'])
      const { transport, refused } = refusing(context.transport(), output.name)
      const first = await started(transport, { bindings: [copying(input, output)], drainTimeoutMs: 0 })
      await first.sendBatch(input, numbers(4))
      const refusedIds = (): Set<string> => new Set(refused.map(({ id }) => id))
      await until('an output was refused', () => refused.length > 0)
      await first.close()
      expect(first.binding(`${input.name}.g`).status().handled).toBe(0)

      const { got, binding } = collector(output, 'out')
      // Batches differ from those before: one message each.
      const again = copying(input, output, { batch: { maxSize: 1 } })
      await started(context.transport(), { bindings: [again, binding] })
      await until('the outputs arrived', () => got.length >= 4)
      expect(got.map(({ payload }) => payload.n)).toEqual([0, 1, 2, 3])
      const ids = new Set(got.map(({ context: { id } }) => id))
      expect(ids.size).toBe(4)
      for (const id of refusedIds()) expect(ids).toContain(id)
    })

    it('arrive in the order of their keys and once each, with any failed message', async ({ expect }) => {
      const input = createTestChannel(context.freshName())
      const output = createTestChannel(context.freshName(), ['out'])
      const options = { group: 'g', batch: LIMITS, backoff: NO_PAUSE, concurrency: 2 }
      const flaky = processorBatch(input, output, options, (items) =>
        items.map(({ payload, context: { attempt } }) => {
          if (payload.n === 7) return failed(new TerminalError('never'))
          if (payload.n % 5 === 0 && attempt < 3) return failed(new Error('not yet'))
          return payload.n === 8 ? ok : produced(payload)
        }),
      )
      const { got, binding } = collector(output, 'out')
      const binder = await started(context.transport(), { bindings: [flaky, binding] })
      await binder.sendBatch(
        input,
        numbers(20, (n) => 'abc'.charAt(n % 3)),
      )
      const status = () => binder.binding(`${input.name}.g`).status()
      await until('all were settled', () => status().handled === 19 && status().deadLettered === 1)
      const firsts = (): ReadonlyMap<string, TestPayload> =>
        new Map(got.map(({ payload, context: { id } }) => [id, payload]))
      await until('all came', () => firsts().size >= 18)
      const inOrder = [...firsts().values()]
      expect(inOrder.map(({ n }) => n).toSorted((a, b) => a - b)).toEqual(
        numbers(20).flatMap(({ n }) => (n === 7 || n === 8 ? [] : [n])),
      )
      for (const key of ['a', 'b', 'c']) {
        const ofKey = inOrder.flatMap((payload) => (payload.key === key ? [payload.n] : []))
        expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b))
      }
    })
  })

  describe('delayed retry in batches', () => {
    it('sends the failed message away, and counts its attempts to the end', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'), ['g', 'h'])
      const seen: string[] = []
      const failing = sinkBatch(channel, { group: 'g', retry: 'delayed', backoff: SOON, batch: LIMITS }, (items) =>
        items.map(({ payload: { n }, context: { attempt } }) => {
          seen.push(`${n}/${attempt}`)
          return n === 1 || (n === 2 && attempt === 1) ? failed(new Error('not yet')) : ok
        }),
      )
      const other = collector(channel, 'h')
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [failing, other.binding, dead.binding] })
      await binder.sendBatch(channel, numbers(5))
      const status = () => binder.binding(`${channel.name}.g`).status()
      await until('all ended', () => status().handled === 4 && dead.got.length === 1)
      expect(seen.toSorted((a, b) => a.localeCompare(b))).toEqual([
        '0/1',
        '1/1',
        '1/2',
        '1/3',
        '2/1',
        '2/2',
        '3/1',
        '4/1',
      ])
      expect(dead.got[0]?.payload.n).toBe(1)
      expect(dead.got[0]?.context.headers).toMatchObject({
        'dead-letter-channel': channel.name,
        'dead-letter-attempts': 3,
      })
      await until('it was settled', () => status().deadLettered === 1)
      expect(status().retried).toBe(3)
      await until('the other group is through', () => other.got.length >= 5)
      expect(other.got.map(({ payload }) => payload.n)).toEqual([0, 1, 2, 3, 4])
    })

    it('does not settle the message with an unconfirmed copy, and settles the others', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'))
      const { transport, refused } = refusing(context.transport(), `${channel.name}.g.retry`)
      const failing = sinkBatch(channel, { group: 'g', retry: 'delayed', backoff: SOON, batch: LIMITS }, (items) =>
        items.map(({ payload: { n } }) => (n === 1 ? failed(new Error('always')) : ok)),
      )
      const first = await started(transport, { bindings: [failing], drainTimeoutMs: 0 })
      await first.sendBatch(channel, numbers(2))
      await until('the copy was refused', () => refused.length > 0)
      await until('the other is settled', () => first.binding(`${channel.name}.g`).status().handled === 1)
      await first.close()

      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      await until('the message came again', () => got.some(({ payload }) => payload.n === 1))
      expect(got.find(({ payload }) => payload.n === 1)?.context.attempt).toBe(1)
    })
  })
}
