import { type BinderError, redrive, sink } from 'concordat/binder'
import { type Clock, MINUTE, systemClock } from 'concordat/core'
import { describe, it } from 'vitest'
import type { RedriveOptions } from '../support/inside/binder.ts'
import { insist } from '../support/refusals.ts'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import {
  collector,
  createTestChannel,
  deadLettersOf,
  failingPublish,
  NO_PAUSE,
  started,
  type TestChannel,
} from './transport-kit.ts'

/** Clock that runs a binder's minute checks soon. */
const LOOKS_SOON: Clock = {
  ...systemClock,
  setTimer: (durationMs, ...rest) => systemClock.setTimer(durationMs === MINUTE ? 100 : durationMs, ...rest),
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const KEYS = 3
const LETTERS_OF_KEYS = 24
/** Handled numbers grouped by key, in their order. */
const ofKeys = (handled: readonly number[]): number[][] =>
  numbers(KEYS).map((key) => handled.filter((n) => n % KEYS === key))
const sorted = <T extends string | number | null>(items: readonly T[]): T[] =>
  items.toSorted((a, b) => String(a).localeCompare(String(b)))

export function redriveCases(context: CaseContext): void {
  const run = (channel: TestChannel, options: RedriveOptions = {}, transport = () => context.transport()) =>
    insist(() =>
      redrive({ service: 'operator', transport: transport() }, channel, 'g', {
        to: 'channel',
        perSecond: 10_000,
        ...options,
      }),
    )

  /** Service whose handler fails for the numbers for which `broken` is true, with the handled ones. */
  async function service(channel: TestChannel, broken: (n: number) => boolean, retry?: 'delayed') {
    const state = { broken }
    const handled: number[] = []
    const binding = sink(channel, { group: 'g', maxAttempts: 1, backoff: NO_PAUSE, retry }, ({ n }) => {
      if (state.broken(n)) throw Object.assign(new Error(`no room for ${n}`), { code: 'stock.low' })
      handled.push(n)
    })
    const binder = await started(context.transport(), { bindings: [binding], clock: LOOKS_SOON })
    const deadLettered = (): number => binder.binding(`${channel.name}.g`).status().deadLettered
    return { state, handled, binder, deadLettered }
  }

  async function withLetters(channel: TestChannel, count: number) {
    const shop = await service(channel, () => true)
    await shop.binder.sendBatch(
      channel,
      numbers(count).map((n) => ({ key: `k${n}`, n })),
    )
    await until('all are dead letters', () => shop.deadLettered() === count)
    return shop
  }

  /** Creates dead letters 0, 1, 2 ... of the keys k0, k1, k2 in turns. */
  async function withLettersOf(channel: TestChannel, letters: number, retry?: 'delayed') {
    const shop = await service(channel, () => true, retry)
    await shop.binder.sendBatch(
      channel,
      numbers(letters).map((n) => ({ key: `k${n % KEYS}`, n })),
    )
    await until('all are dead letters', () => shop.deadLettered() === letters)
    return shop
  }

  describe('redrive', () => {
    it('counts the same dead letters after listings of all and of some', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { binder } = await withLetters(channel, 4)
      const count = (): Promise<number | undefined> => binder.deadLetters(`${channel.name}.g`)
      await until('they are counted', async () => (await count()) === 4)
      for (const limit of [1, 2, 4, 9]) {
        const { letters, complete } = await run(channel, { dryRun: true, limit })
        expect(letters).toHaveLength(Math.min(limit, 4))
        expect(complete).toBe(limit === 9)
      }
      await until('they are given back', async () => (await count()) === 4)
      // The last run settles the marks of the first ones, too.
      for (const complete of [false, true])
        expect(await run(channel, { to: 'nowhere', limit: 2 })).toMatchObject({ sent: 2, kept: 0, complete })
      await until('none is left', async () => (await count()) === 0)
    })

    it('redrives dead letters that match the filter unchanged, and keeps the others', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { state, handled } = await withLetters(channel, 6)
      state.broken = () => false
      const chosen = await run(channel, { filter: ({ key }) => key === 'k1' || key === 'k4' })
      expect(chosen).toEqual({ sent: 2, kept: 4, copies: 0, complete: true, letters: [], to: 'channel' })
      await until('they are handled', () => handled.length >= 2)
      expect(sorted(handled)).toEqual([1, 4])
      const rest = await run(channel, { filter: ({ error }) => error.code === 'stock.low' })
      expect(rest).toMatchObject({ sent: 4, kept: 0, complete: true })
      await until('all are handled', () => handled.length >= 6)
      expect(sorted(handled)).toEqual(numbers(6))
      expect(await run(channel)).toMatchObject({ sent: 0, kept: 0, copies: 0, complete: true })
    })

    it('delivers id, key, headers and payload unchanged, and no part of the failure', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await service(channel, () => true)
      const { id } = await shop.binder.send(channel, { key: 'k', n: 7 }, { headers: { tenant: 'acme', tries: 3 } })
      await until('it is a dead letter', () => shop.deadLettered() === 1)
      await shop.binder.close()
      await run(channel)
      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      await until('it came again', () => got.length > 0)
      expect(got[0]?.payload).toEqual({ key: 'k', n: 7 })
      expect(got[0]?.context).toMatchObject({ id, key: 'k', attempt: 1 })
      expect(got[0]?.context.headers).toEqual({ tenant: 'acme', tries: 3 })
    })

    it('changes nothing in a dry run, and lists dead letters with their failures, payloads only on request', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const { handled } = await withLetters(channel, 3)
      const dry = await run(channel, { dryRun: true, filter: ({ key }) => key !== 'k1' })
      expect(dry).toMatchObject({ sent: 2, kept: 1, copies: 0, complete: true })
      expect(sorted(dry.letters.map(({ key }) => key))).toEqual(['k0', 'k2'])
      expect(dry.letters[0]).toMatchObject({
        body: null,
        attempts: 1,
        service: 'conformance',
        error: { name: 'Error', message: expect.stringContaining('no room for'), code: 'stock.low' },
        failedAt: expect.any(Number),
        position: expect.any(String),
        headers: {},
      })
      const { letters } = await run(channel, { dryRun: true, payloads: true, limit: 1 })
      expect(letters).toHaveLength(1)
      expect(channel.codec.decode(letters[0]?.body as Uint8Array)).toMatchObject({ key: expect.any(String) })
      expect(await run(channel, { dryRun: true })).toMatchObject({ sent: 3, kept: 0, complete: true })
      expect(handled).toEqual([])
    })

    it('leaves one dead letter of a message that fails again, with the last failure’s metadata', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await withLetters(channel, 3)
      const [before] = (await run(channel, { dryRun: true })).letters
      for (let round = 1; round <= 2; round++) {
        expect(await run(channel)).toMatchObject({ sent: 3, kept: 0, copies: 0, complete: true })
        await until('they failed again', () => shop.deadLettered() === 3 + 3 * round)
      }
      const { letters } = await run(channel, { dryRun: true })
      expect(sorted(letters.map(({ key }) => key))).toEqual(['k0', 'k1', 'k2'])
      const after = letters.find(({ id }) => id === before?.id)
      expect(after?.failedAt).toBeGreaterThan(before?.failedAt ?? Number.POSITIVE_INFINITY)
      expect(after?.position).not.toBe(before?.position)
    })

    it.for(['channel', 'group'] as const)(
      'redrives the dead letters of a key in the order in which they failed, to the %s',
      async (to, { expect }) => {
        const channel = createTestChannel(context.delayedName('attempts'))
        const shop = await withLettersOf(channel, LETTERS_OF_KEYS, 'delayed')
        shop.state.broken = () => false
        expect(await run(channel, { to })).toMatchObject({ sent: 24, kept: 0, complete: true })
        await until('all are handled', () => shop.handled.length >= 24)
        expect(ofKeys(shop.handled)).toEqual(ofKeys(numbers(24)))
      },
    )

    it('keeps the order of what stays, also when it stops at its limit', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await withLettersOf(channel, LETTERS_OF_KEYS)
      shop.state.broken = () => false
      const filter: RedriveOptions['filter'] = ({ key }) => key === 'k1'
      expect(await run(channel, { filter, limit: 2 })).toMatchObject({ sent: 2, kept: 22, complete: false })
      expect(await run(channel, { filter, limit: 20 })).toMatchObject({ sent: 6, kept: 16, complete: true })
      expect(await run(channel)).toMatchObject({ sent: 16, kept: 0, complete: true })
      await until('all are handled', () => shop.handled.length >= 24)
      expect(ofKeys(shop.handled)).toEqual(ofKeys(numbers(24)))
    })

    it('ends while redriven messages fail again, each once', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await withLettersOf(channel, LETTERS_OF_KEYS)
      expect(await run(channel, { perSecond: 200 })).toMatchObject({ sent: 24, kept: 0, copies: 0, complete: true })
      await until('they failed again', () => shop.deadLettered() === 48)
      const { letters, ...counts } = await run(channel, { dryRun: true, payloads: true })
      expect(counts).toEqual({ sent: 24, kept: 0, copies: 0, complete: true, to: 'channel' })
      expect(new Set(letters.map(({ id }) => id)).size).toBe(24)
      const again = letters.map(({ body }) => (channel.codec.decode(body as Uint8Array) as { n: number }).n)
      expect(ofKeys(again)).toEqual(ofKeys(numbers(24)))
    })

    it('stops at its limit and continues from there the next time', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { state, handled } = await withLetters(channel, 5)
      state.broken = () => false
      expect(await run(channel, { limit: 2 })).toMatchObject({ sent: 2, kept: 0, complete: false })
      expect(await run(channel, { limit: 2 })).toMatchObject({ sent: 2, kept: 0, complete: false })
      expect(await run(channel)).toMatchObject({ sent: 1, kept: 0, complete: true })
      await until('all are handled', () => handled.length >= 5)
      expect(sorted(handled)).toEqual(numbers(5))
    })

    it('ends early at its signal, and its work stays done', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      await withLetters(channel, 4)
      const enough = new AbortController()
      const report = await run(channel, {
        signal: enough.signal,
        onProgress: ({ sent }) => (sent === 2 ? enough.abort() : undefined),
      })
      expect(report).toMatchObject({ sent: 2, complete: false })
    })

    it('loses no dead letter that the broker refuses, nor any after it', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await withLetters(channel, 3)
      await shop.binder.close()
      let first: string | undefined
      const away = () =>
        failingPublish(context.transport(), ({ destination, id }) => {
          return destination === channel.name && (first ??= id) !== id
        })
      const stalled = await run(channel, { stallTimeoutMs: 1_500 }, away).catch((error: unknown) => error)
      expect(stalled).toMatchObject({ code: 'binder.redrive_stalled' })
      const { sent } = stalled as BinderError<'binder.redrive_stalled'>
      expect(sent).toBeLessThan(2)
      expect(await run(channel)).toMatchObject({ sent: 3 - sent, kept: 0, complete: true })
    })

    it('rejects with its filter’s error, and keeps the dead letter', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      await withLetters(channel, 2)
      const filter = (): boolean => {
        throw new RangeError('no such tenant')
      }
      await expect(run(channel, { filter })).rejects.toThrow('no such tenant')
      expect(await run(channel, { dryRun: true })).toMatchObject({ sent: 2 })
    })

    it('drops copies of a killed run, with any consumer of them', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await withLetters(channel, 1)
      const [letter] = (await run(channel, { dryRun: true, payloads: true })).letters
      // Left by a run that was killed after its dead letter was confirmed at the end and before it was settled there.
      const copy = { id: letter?.id ?? '', source: 'conformance', key: 'k0', headers: {}, time: Date.now() }
      const destination = `${channel.name}.g.dlq`
      const more = { destination, type: channel.name, contentType: 'application/json', body: letter?.body ?? null }
      const mark = { ...copy, ...more, id: 'left-behind', type: 'concordat.redrive.end', body: new Uint8Array() }
      expect(await shop.binder.publish([{ ...copy, ...more }, mark])).toEqual([undefined, undefined])
      shop.state.broken = () => false
      expect(await run(channel)).toMatchObject({ sent: 1, kept: 0, copies: 1, complete: true })
      await until('it is handled', () => shop.handled.length > 0)
      expect(shop.handled).toEqual([0])
    })

    it('leaves nothing behind that would disturb a reader of the dead letters', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await withLetters(channel, 2)
      await run(channel, { limit: 1, filter: () => true })
      await run(channel, { dryRun: true })
      const letters = collector(deadLettersOf(channel, 'g'), 'redrive')
      const reader = await started(context.transport(), { bindings: [letters.binding] })
      await shop.binder.send(channel, { key: 'k9', n: 9 })
      await until('the last one came', () => letters.got.some(({ payload }) => payload.n === 9))
      expect(new Set(letters.got.map(({ payload }) => payload.n))).toEqual(new Set([0, 1, 9]))
      expect(reader.binding(`${channel.name}.g.dlq.redrive`).status()).toMatchObject({ deadLettered: 0, dropped: 0 })
    })

    it('gives up with `to: nowhere` dead letters that match the filter, and keeps the others in their order', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const { state, handled } = await withLettersOf(channel, 4)
      const given = await run(channel, { to: 'nowhere', filter: ({ key }) => key === 'k1' })
      expect(given).toMatchObject({ sent: 1, kept: 3, complete: true })
      state.broken = () => false
      expect(await run(channel)).toMatchObject({ sent: 3, complete: true })
      await until('the others are handled', () => handled.length >= 3)
      expect(ofKeys(handled)).toEqual([[0, 3], [], [2]])
    })

    it('reaches every group of the channel, or with `to: group` only the one that failed', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'), ['g', 'other'])
      const shop = await service(channel, () => true, 'delayed')
      const other = collector(channel, 'other')
      await started(context.transport(), { bindings: [other.binding] })
      await shop.binder.send(channel, { key: 'k', n: 1 })
      await until('it is a dead letter', () => shop.deadLettered() === 1 && other.got.length === 1)
      expect(await run(channel, { to: 'group' })).toMatchObject({ sent: 1 })
      await until('it failed again', () => shop.deadLettered() === 2)
      shop.state.broken = () => false
      expect(await run(channel, { to: 'channel' })).toMatchObject({ sent: 1 })
      await until('both had it', () => shop.handled.length === 1 && other.got.length >= 2)
      // Once of the sender, once of the channel's redrive, and nothing of the group's.
      expect(other.got).toHaveLength(2)
      expect(new Set(other.got.map(({ context: { id } }) => id)).size).toBe(1)
    })

    it('with `to: group` reaches a group that runs without its retry channel, whose lag counts the message until then', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.delayedName('attempts'), ['g', 'other'])
      const shop = await service(channel, () => true)
      const other = collector(channel, 'other')
      await started(context.transport(), { bindings: [other.binding] })
      await shop.binder.send(channel, { key: 'k', n: 1 })
      await until('it is a dead letter', () => shop.deadLettered() === 1 && other.got.length === 1)
      const name = `${channel.name}.g`
      const lag = (): Promise<number | undefined> => shop.binder.lag(name)
      await until('nothing waits', async () => (await lag()) === 0)
      shop.state.broken = () => false
      shop.binder.binding(name).pause()
      expect(await run(channel, { to: 'group' })).toMatchObject({ sent: 1 })
      await until('the lag counts it', async () => (await lag()) === 1)
      shop.binder.binding(name).resume()
      await until('it is handled', () => shop.handled.length === 1)
      await until('nothing waits any more', async () => (await lag()) === 0)
      expect(other.got).toHaveLength(1)
    })

    it('redrives each failure of a reader of dead letters, to that reader alone', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'))
      const shop = await service(channel, () => true)
      const letters = deadLettersOf(channel, 'g')
      const seen: string[] = []
      const state = { isBroken: true }
      const reading = sink(letters, { group: 'tickets', maxAttempts: 1, backoff: NO_PAUSE }, (_, { id, headers }) => {
        if (state.isBroken) throw new Error('the admin is closed')
        seen.push([id, headers['dead-letter-channel'], headers['dead-letter-time']].join(' '))
      })
      const admin = await started(context.transport(), { bindings: [reading], clock: LOOKS_SOON })
      const failed = (): number => admin.binding(`${letters.name}.tickets`).status().deadLettered
      const { id } = await shop.binder.send(channel, { key: 'k', n: 1 })
      await until('the admin has failed on it', () => failed() === 1)
      const first = (await run(channel, { dryRun: true })).letters
      await run(channel)
      await until('it failed again', () => shop.deadLettered() === 2)
      await until('the admin has failed on both', () => failed() === 2)
      const second = (await run(channel, { dryRun: true })).letters
      state.isBroken = false
      const ofLetters = (options: RedriveOptions) =>
        insist(() => redrive({ service: 'operator', transport: context.transport() }, letters, 'tickets', options))
      await expect(ofLetters({ to: 'channel' })).rejects.toMatchObject({ code: 'binder.redrive_would_repeat' })
      expect(await ofLetters({})).toMatchObject({ sent: 2, kept: 0, copies: 0, complete: true, to: 'group' })
      await until('the admin has both', () => seen.length >= 2)
      const times = [...first, ...second].map(({ failedAt }) => new Date(failedAt ?? 0).toISOString())
      expect(seen).toEqual(times.map((time) => `${id} ${channel.name} ${time}`))
      expect(await run(channel, { dryRun: true })).toMatchObject({ sent: 1 })
    })

    it('reports a stall when another consumer reads the dead letters', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const shop = await withLetters(channel, 1)
      await shop.binder.close()
      const silent = () => failingSubscription(context.transport())
      await expect(run(channel, { stallTimeoutMs: 100 }, silent)).rejects.toMatchObject({
        code: 'binder.redrive_stalled',
        retryable: true,
      })
      expect(await run(channel, { dryRun: true })).toMatchObject({ sent: 1, complete: true })
    })

    it('refuses wrong options before anything is opened', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      await expect(run(channel, { perSecond: 0 })).rejects.toThrow(/redrive.perSecond: expected a whole number >= 1/)
      await expect(run(channel, { to: 'topic' as never })).rejects.toThrow(
        /redrive.to: expected 'channel', 'group' or 'nowhere'/,
      )
      await expect(run(channel, { fliter: () => true } as never)).rejects.toThrow(/Did you mean "filter"/)
      await expect(run('orders' as never)).rejects.toThrow(TypeError)
    })
  })
}

/** Subscription that joins and gets no message, as a member beside one that has all partitions. */
function failingSubscription(transport: ReturnType<CaseContext['transport']>): typeof transport {
  return new Proxy(transport, {
    get(target, property) {
      if (property === 'subscribe') {
        const idle = { pause: () => {}, resume: () => {}, close: () => Promise.resolve() }
        return () => Promise.resolve(idle)
      }
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
}
