import { defineChannel, sink, sinkBatch, TerminalError } from 'concordat/binder'
import { bytesCodec, textCodec } from 'concordat/core'
import { describe, it } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, deadLettersOf, NO_PAUSE, started, type TestChannel } from './transport-kit.ts'

export function attemptCases(context: CaseContext): void {
  describe('attempts', () => {
    it.for([1, 2, 4])('calls the handler exactly maxAttempts = %i times', async (maxAttempts, { expect }) => {
      const channel = createTestChannel(context.freshName())
      const attempts: number[] = []
      const failing = sink(channel, { group: 'g', maxAttempts, backoff: NO_PAUSE }, (_payload, { attempt }) => {
        attempts.push(attempt)
        throw new Error('always')
      })
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [failing, dead.binding] })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it was dead-lettered', () => dead.got.length > 0)
      expect(attempts).toEqual(Array.from({ length: maxAttempts }, (_, i) => i + 1))
    })

    it('calls the handler once for a terminal error', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      let calls = 0
      const failing = sink(channel, { group: 'g', backoff: NO_PAUSE }, () => {
        calls++
        throw new TerminalError('no use')
      })
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [failing, dead.binding] })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it was dead-lettered', () => dead.got.length > 0)
      expect(calls).toBe(1)
    })

    it('keep a message that succeeds on a later attempt out of the dead letters', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const attempts: number[] = []
      const flaky = sink(channel, { group: 'g', backoff: NO_PAUSE }, (payload, { attempt }) => {
        if (payload.n === 1) attempts.push(attempt)
        if (payload.n === 1 && attempt < 3) throw new Error('not yet')
      })
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [flaky, dead.binding] })
      await binder.sendBatch(channel, [
        { key: 'k', n: 1 },
        { key: 'k', n: 2 },
      ])
      await until('both were handled', () => binder.binding(`${channel.name}.g`).status().handled === 2)
      expect(attempts).toEqual([1, 2, 3])
      expect(dead.got).toEqual([])
    })

    it.for(['blocking', 'delayed'] as const)(
      'get the message unchanged, whatever the previous attempt wrote into it (%s)',
      async (retry, { expect }) => {
        const name = retry === 'delayed' ? context.delayedName('attempts') : context.freshName()
        const bytes = defineChannel(name, { payload: z.instanceof(Uint8Array), codec: bytesCodec, groups: ['g', 'h'] })
        const seen: unknown[] = []
        const writing = (group: string) =>
          sink(bytes, { group, retry, maxAttempts: 2, backoff: NO_PAUSE }, (payload, { headers }) => {
            seen.push({ bytes: [...payload], headers: { ...headers } })
            payload.fill(0)
            Object.assign(headers, { tenant: 'changed' })
            throw new Error('always')
          })
        const letterChannel = { payload: bytes.schema, codec: bytesCodec, partitions: 1, groups: ['redrive'] }
        const dead = defineChannel(`${name}.g.dlq`, letterChannel)
        const letters: unknown[] = []
        const reader = sink(dead, { group: 'redrive' }, (payload, { headers }) => {
          letters.push({ bytes: [...payload], tenant: headers['tenant'] })
        })
        const binder = await started(context.transport(), { bindings: [writing('g'), writing('h'), reader] })
        const sent = Uint8Array.of(1, 2, 3)
        await binder.send(bytes, sent, { key: 'k', headers: { tenant: 'north' } })
        sent.fill(9)
        await until('it was dead-lettered', () => letters.length > 0 && seen.length >= 4)
        const asSent = { bytes: [1, 2, 3], headers: { tenant: 'north' } }
        expect(seen).toEqual([asSent, asSent, asSent, asSent])
        expect(letters[0]).toEqual({ bytes: [1, 2, 3], tenant: 'north' })
      },
    )

    it('get an object as it was sent, one by one and in batches', async ({ expect }) => {
      const channel = createTestChannel(context.freshName(), ['g', 'h'])
      const seen: number[] = []
      const change = (payload: { n: number }): never => {
        seen.push(payload.n)
        payload.n = 99
        throw new Error('always')
      }
      const options = { maxAttempts: 2, backoff: NO_PAUSE }
      const binder = await started(context.transport(), {
        bindings: [
          sink(channel, { ...options, group: 'g' }, change),
          sinkBatch(
            channel,
            { ...options, group: 'h', batch: { maxSize: 1 } },
            ([item]) => item && change(item.payload),
          ),
        ],
      })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('both groups gave up', () => binder.bindings().every(({ deadLettered }) => deadLettered === 1))
      expect(seen).toEqual([1, 1, 1, 1])
    })
  })

  describe('dead letters', () => {
    it('keep bytes, key, id and headers, with the failure', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const failing = sink(channel, { group: 'g', maxAttempts: 2, backoff: NO_PAUSE }, () => {
        throw Object.assign(new RangeError('stock too low'), { code: 'stock.low' })
      })
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [failing, dead.binding] })
      const { id } = await binder.send(channel, { key: 'k', n: 7 }, { headers: { tenant: 'acme', priority: 3 } })
      await until('it was dead-lettered', () => dead.got.length > 0)
      const [letter] = dead.got
      expect(letter?.payload).toEqual({ key: 'k', n: 7 })
      expect(letter?.context).toMatchObject({ id, key: 'k' })
      expect(letter?.context.headers).toMatchObject({
        tenant: 'acme',
        priority: 3,
        'dead-letter-channel': channel.name,
        'dead-letter-group': 'g',
        'dead-letter-attempts': 2,
        'dead-letter-service': 'conformance',
        'dead-letter-error-name': 'RangeError',
        'dead-letter-error-message': 'stock too low',
        'dead-letter-error-code': 'stock.low',
      })
      expect(letter?.context.headers['dead-letter-error-stack']).toContain('stock too low')
      expect(letter?.context.headers['dead-letter-position']).toEqual(expect.any(String))
    })

    it('replace the metadata the second time', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const failing = sink(channel, { group: 'g', maxAttempts: 1 }, () => {
        throw new Error('first')
      })
      const again = sink(deadLettersOf(channel, 'g'), { group: 'redrive', maxAttempts: 1 }, () => {
        throw new Error('second')
      })
      const twice = collector(deadLettersOf(deadLettersOf(channel, 'g') as TestChannel, 'redrive'), 'redrive')
      const binder = await started(context.transport(), { bindings: [failing, again, twice.binding] })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it was dead-lettered twice', () => twice.got.length > 0)
      const headers = twice.got[0]?.context.headers ?? {}
      expect(headers['dead-letter-error-message']).toBe('second')
      expect(Object.keys(headers).filter((name) => name === 'dead-letter-error-message')).toHaveLength(1)
    })

    it('take an undecodable and an invalid payload without a handler call', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const raw = defineChannel(channel.name, { payload: z.string(), codec: textCodec, groups: ['g'] })
      let calls = 0
      const consumer = sink(channel, { group: 'g' }, () => {
        calls++
      })
      const letters: string[] = []
      const dead = defineChannel(`${channel.name}.g.dlq`, {
        payload: z.string(),
        codec: textCodec,
        partitions: 1,
        groups: ['redrive'],
      })
      const reader = sink(dead, { group: 'redrive' }, (text, { headers }) => {
        letters.push(`${text} ${String(headers['dead-letter-attempts'])} ${String(headers['dead-letter-error-code'])}`)
      })
      await started(context.transport(), { bindings: [consumer, reader] })
      const sender = await started(context.transport())
      await sender.send(raw, 'not json {', { key: 'k' })
      await sender.send(raw, '{"key":"k","n":"text"}', { key: 'k' })
      await sender.send(raw, '{"key":"k","n":1}', { key: 'k' })
      await until('two letters came and the good one was handled', () => letters.length >= 2 && calls > 0)
      expect(letters).toEqual(['not json { 0 core.codec', '{"key":"k","n":"text"} 0 core.schema'])
      expect(calls).toBe(1)
    })

    it('are not written with onFailure drop, and halt stops the binding with the message unsettled', async ({
      expect,
    }) => {
      const dropped = createTestChannel(context.freshName())
      const halted = createTestChannel(context.freshName())
      let broken = true
      const handledAfterHalt: number[] = []
      const dropping = sink(dropped, { group: 'g', maxAttempts: 1, onFailure: 'drop' }, () => {
        throw new Error('always')
      })
      const halting = sink(halted, { group: 'g', maxAttempts: 1, onFailure: 'halt' }, (payload) => {
        if (broken) throw new Error('out of order')
        handledAfterHalt.push(payload.n)
      })
      const binder = await started(context.transport(), { bindings: [dropping, halting] })
      await binder.send(dropped, { key: 'k', n: 1 })
      await until('it was dropped', () => binder.binding(`${dropped.name}.g`).status().dropped === 1)
      await binder.sendBatch(halted, [
        { key: 'k', n: 1 },
        { key: 'k', n: 2 },
      ])
      const control = binder.binding(`${halted.name}.g`)
      await until('the binding halted', () => control.status().state === 'halted')
      expect(binder.health().status).toBe('down')
      broken = false
      await control.start()
      await until('both came again', () => handledAfterHalt.length >= 2)
      expect(handledAfterHalt).toEqual([1, 2])
    })
  })
}
