import { channelAt, defineChannel, into, processor, responder, route, sink, to } from 'concordat/binder'
import { describe, it } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, NO_PAUSE, started } from './transport-kit.ts'

/** Composition where the wire has a say in it. */
export function composeCases(context: CaseContext): void {
  describe('composition', () => {
    it('carries a tombstone with its key to a channel that has them, and to the dead letters of one that has not', async ({
      expect,
    }) => {
      const name = context.freshName()
      const payload = z.object({ name: z.string() })
      const users = defineChannel(name, {
        payload,
        tombstones: true,
        key: (user) => user.name,
        groups: ['with', 'without'],
      })
      const plain = defineChannel(name, { payload })
      const got: unknown[] = []
      const letters: unknown[] = []
      const binder = await started(context.transport(), {
        bindings: [
          sink(users, { group: 'with' }, (user, { key }) => void got.push([key, user])),
          sink(plain, { group: 'without' }, () => {}),
          sink(
            defineChannel(`${name}.without.dlq`, { payload, tombstones: true, partitions: 1 }),
            { group: 'redrive' },
            (user, { key, headers }) => void letters.push([key, user, headers['dead-letter-error-code']]),
          ),
        ],
      })
      await binder.send(users, { name: 'ann' })
      await binder.send(users, null, { key: 'ann' })
      await until('all came', () => got.length === 2 && letters.length === 1)
      expect(got).toEqual([
        ['ann', { name: 'ann' }],
        ['ann', null],
      ])
      expect(letters).toEqual([['ann', null, 'core.codec']])
    })

    it('delivers an older payload as a new one, and dead-letters a newer one', async ({ expect }) => {
      const name = context.freshName()
      const groups = ['g']
      const first = defineChannel(name, { payload: z.string(), groups })
      const second = defineChannel(name, {
        payload: z.object({ text: z.string() }),
        version: 2,
        upcasts: { 1: (text: string) => ({ text }) },
        groups,
      })
      const third = defineChannel(name, { payload: z.object({ text: z.string() }), version: 3, groups })
      const got: string[] = []
      const letterBox = defineChannel(`${name}.g.dlq`, {
        payload: z.object({ text: z.string() }),
        version: 3,
        partitions: 1,
      })
      const letters: unknown[] = []
      const binder = await started(context.transport(), {
        bindings: [
          sink(second, { group: 'g' }, ({ text }, { attempt }) => void got.push(`${text} ${attempt}`)),
          sink(letterBox, { group: 'redrive' }, ({ text }, { headers }) => {
            letters.push([text, headers['payload-version'], headers['dead-letter-error-code']])
          }),
        ],
      })
      await binder.send(first, 'one')
      await binder.send(second, { text: 'two' })
      await binder.send(third, { text: 'three' })
      await until('all came', () => got.length === 2 && letters.length === 1)
      expect(got.toSorted((a, b) => a.localeCompare(b))).toEqual(['one 1', 'two 1'])
      expect(letters).toEqual([['three', 3, 'binder.payload_version']])
    })

    it('makes a destination that is named at run time, from a send and from a processor', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const eu = channelAt(channel, context.freshName())
      const got: number[] = []
      const ids = new Set<string>()
      const binder = await started(context.transport(), {
        bindings: [
          processor(channel, channel, { group: 'g' }, (payload) => to(eu.name, { ...payload, n: payload.n + 1 })),
          sink(eu, { group: 'g' }, ({ n }, { id, key }) => {
            got.push(n)
            ids.add(`${id} ${key}`)
          }),
        ],
      })
      await binder.send(channel, { key: 'k', n: 1 })
      await binder.send(channel, { key: 'k', n: 3 }, { destination: eu.name })
      const unseen = context.freshName()
      await binder.send(channel, { key: 'k', n: 4 }, { destination: unseen })
      await until('both came', () => got.length === 2)
      expect(got.toSorted((a, b) => a - b)).toEqual([2, 3])
      expect(ids.size).toBe(2)
    })

    it('routes by a header or by a function, to a handler, to a channel or nowhere', async ({ expect }) => {
      const channel = createTestChannel(context.freshName(), ['g', 'f'])
      const output = createTestChannel(context.freshName(), ['out'])
      const seen: string[] = []
      const byHeader = route(channel, {
        group: 'g',
        by: 'kind',
        routes: { one: ({ n }) => void seen.push(`one ${n}`), '1': ({ n }) => void seen.push(`text ${n}`) },
        default: 'discard',
      })
      const byFunction = route(channel, {
        group: 'f',
        maxAttempts: 1,
        by: ({ n }) => (n % 2 === 0 ? 'even' : `odd ${n}`),
        routes: { even: into(output, ({ key, n }) => ({ key, n: n * 10 })) },
      })
      const { got, binding } = collector(output, 'out')
      const binder = await started(context.transport(), { bindings: [byHeader, byFunction, binding] })
      for (const [n, kind] of [null, 'one', 1, '1', 'other'].entries())
        await binder.send(channel, { key: 'k', n }, { headers: { kind } })
      const status = (group: string) => binder.binding(`${channel.name}.${group}`).status()
      await until('all came to their end', () => {
        const { handled, discarded } = status('g')
        // An output may come before its input is settled.
        const byF = status('f')
        return handled + discarded >= 5 && byF.handled >= 3 && byF.deadLettered >= 2 && got.length >= 3
      })
      expect(seen).toEqual(['one 1', 'text 3'])
      expect(status('g')).toMatchObject({ handled: 2, discarded: 3, deadLettered: 0 })
      expect(got.map(({ payload }) => payload.n)).toEqual([0, 20, 40])
      expect(status('f')).toMatchObject({ handled: 3, deadLettered: 2 })
    })

    it('answers requests of several instances, each its own, and refuses', async ({ expect }) => {
      const asked = createTestChannel(context.freshName(), ['answering'])
      const told = defineChannel(context.freshName(), { payload: z.object({ n: z.number() }) })
      const answering = responder(asked, told, { group: 'answering', backoff: NO_PAUSE, maxAttempts: 1 }, ({ n }) => {
        if (n < 0) throw new Error('negative')
        return { n: n * 2 }
      })
      await started(context.transport(), { service: 'answers', bindings: [answering] })
      const [one, two] = await Promise.all(
        [1, 2].map(() => started(context.transport(), { service: 'asks', replies: [told] })),
      )
      const ask = (binder: typeof one, n: number): Promise<{ n: number }> | undefined =>
        binder?.request(asked, { key: `k${n}`, n }, { reply: told, timeoutMs: 60_000 })
      const numbers = [1, 2, 3, 4, 5]
      const replies = await Promise.all([...numbers.map((n) => ask(one, n)), ...numbers.map((n) => ask(two, n * 10))])
      expect(replies.map((reply) => reply?.n)).toEqual([2, 4, 6, 8, 10, 20, 40, 60, 80, 100])
      await expect(ask(one, -1)).rejects.toMatchObject({
        code: 'binder.request_failed',
        reason: 'failed',
        responder: 'answers',
      })
    })

    it('settles a request whose requester is gone', async ({ expect }) => {
      const asked = createTestChannel(context.freshName(), ['answering'])
      const told = defineChannel(context.freshName(), { payload: z.object({ n: z.number() }) })
      const answering = responder(asked, told, { group: 'answering', maxAttempts: 1 }, ({ n }) => ({ n }))
      const binder = await started(context.transport(), { service: 'answers', bindings: [answering] })
      const headers = { 'request-reply-to': `${told.name}.nobody`, 'request-id': 'gone/1' }
      await binder.send(asked, { key: 'k', n: 1 }, { headers })
      const status = () => binder.binding(`${asked.name}.answering`).status()
      await until('it is settled', () => status().handled + status().deadLettered === 1)
      expect(status()).toMatchObject({ handled: 1, deadLettered: 0, state: 'running' })
    })
  })
}
