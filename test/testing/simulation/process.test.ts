import * as nodeCrypto from 'node:crypto'
import { getRandomValues, randomBytes, randomFill, randomFillSync, randomInt } from 'node:crypto'
import * as timers from 'node:timers'
import { scheduler, setTimeout as sleep, setInterval as ticks } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type SimulatedService, simulate } from '@concordat/simulator'
import { describe, expect, it } from 'vitest'
import { IDLE } from './failure.ts'

const realTimeout = setTimeout

/** Result of `work` in a simulated service, for the same seed. */
async function inService<T>(work: () => T | Promise<T>): Promise<T> {
  const given: T[] = []
  const start: SimulatedService['start'] = async () => void given.push(await work())
  await simulate({ ...IDLE, seeds: { from: 4, count: 1 }, services: { shop: { instances: 1, start } }, faults: [] })
  return given[0] as T
}

/** Duration in the world's time. */
function durationOf(wait: () => Promise<unknown>): Promise<number> {
  return inService(async () => {
    const beganMs = performance.now()
    await wait()
    return Math.round(performance.now() - beganMs)
  })
}

async function third(delayMs: number): Promise<void> {
  let n = 0
  for await (const value of ticks(delayMs, 'tick')) {
    expect(value).toBe('tick')
    if (++n === 3) return
  }
}

describe('a service waits for the time of its world', () => {
  const WAIT_MS = 3 * 60_000

  it.each([
    ['setTimeout of node:timers', () => new Promise((resolve) => void timers.setTimeout(resolve, WAIT_MS))],
    ['setInterval of node:timers', () => new Promise((resolve) => void timers.setInterval(resolve, WAIT_MS))],
    ['setTimeout of node:timers/promises', () => sleep(WAIT_MS)],
    ['setInterval of node:timers/promises', () => third(WAIT_MS / 3)],
    ['scheduler.wait', () => scheduler.wait(WAIT_MS)],
  ])('with %s', async (_, wait) => {
    expect(await durationOf(wait)).toBe(WAIT_MS)
  })

  it('until it is aborted, with the error of a real sleep', async () => {
    const aborted = await inService(async () => {
      const abort = new AbortController()
      setTimeout(() => abort.abort('enough'), 1_000)
      const { signal } = abort
      const iterate = async (): Promise<void> => {
        for await (const _ of ticks(60_000, 1, { signal }));
      }
      const waits = [sleep(60_000, 1, { signal }), scheduler.wait(60_000, { signal }), iterate()]
      const errors = await Promise.all(waits.map((wait) => wait.then(String, (error: unknown) => error as Error)))
      return { errors, atMs: Math.round(performance.now()) }
    })
    for (const error of aborted.errors)
      expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' })
    expect(aborted.atMs).toBeLessThan(1_100)
  })

  it('a service no longer waits when it ends its timer', async () => {
    const ticked = await inService(async () => {
      let n = 0
      const count = (): void => void n++
      timers.clearTimeout(timers.setTimeout(count, 10))
      timers.clearInterval(setInterval(count, 10))
      setTimeout(count, 10).close()
      setTimeout(count, 10)[Symbol.dispose]()
      await sleep(1_000)
      return n
    })
    expect(ticked).toBe(0)
  })
})

/** Results of two histories with the same seed. */
async function twice<T>(ask: () => T | Promise<T>): Promise<readonly T[]> {
  return [await inService(ask), await inService(ask)]
}

describe('a service gets the time of its world', () => {
  const BEGINS = Date.UTC(2026, 0, 1)
  it.each([
    ['hrtime', () => process.hrtime().join()],
    ['hrtime.bigint', () => process.hrtime.bigint()],
    ['uptime', () => process.uptime()],
    ['performance.mark', () => performance.mark('here').startTime],
    ['performance.measure', () => performance.measure('so far').duration],
    ['timeOrigin', () => performance.timeOrigin],
    ['a format without a date', () => new Intl.DateTimeFormat('en', { dateStyle: 'full', timeStyle: 'full' }).format()],
    ['parts of such a format', () => JSON.stringify(new Intl.DateTimeFormat('en').formatToParts())],
  ])('by %s, which is the same for the same seed', async (_, ask) => {
    const [first, second] = await twice<unknown>(ask)
    expect(second).toBe(first)
    expect(ask()).not.toBe(first)
  })

  interface Temporal {
    readonly Now: Readonly<Record<'instant' | 'plainDateISO' | 'plainTimeISO', () => unknown>>
  }
  it('by Temporal, where Node has it (since 26)', async () => {
    const { Temporal } = globalThis as unknown as { readonly Temporal?: Temporal }
    if (Temporal === undefined) return expect(Number(process.versions.node.split('.')[0])).toBeLessThan(26)
    const { Now } = Temporal
    const told = await inService(() => [Now.instant(), Now.plainDateISO(), Now.plainTimeISO()].map(String))
    expect(told).toEqual([
      expect.stringMatching(/^2026-01-01T00:00:00\.0\d\dZ$/),
      '2026-01-01',
      expect.stringMatching(/^00:00:00\.0\d\d$/),
    ])
  })

  it('in every unit', async () => {
    const told = await inService(async () => {
      const begunAt = process.hrtime()
      const nanos = process.hrtime.bigint()
      await sleep(1_500.5)
      const measured = performance.measure('pause', { start: performance.mark('end').startTime - 10 })
      return {
        pair: process.hrtime(begunAt),
        nanos: process.hrtime.bigint() - nanos,
        seconds: Math.floor(process.uptime()),
        measured: Math.round(measured.duration),
        date: new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC' }).format(),
        other: new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC' }).format(0),
        originMs: performance.timeOrigin,
      }
    })
    expect(told).toEqual({
      pair: [1, 500_500_000],
      nanos: 1_500_500_000n,
      seconds: 1,
      measured: 10,
      date: '01/01/2026',
      other: '01/01/1970',
      originMs: BEGINS,
    })
  })
})

describe('a service gets random numbers of its seed', () => {
  const called = <T>(ask: (callback: (error: Error | null | undefined, value: T) => void) => void): Promise<T> =>
    new Promise((resolve, reject) => ask((error, value) => (error ? reject(error) : resolve(value))))
  const filledBuffer = (): ArrayBuffer => {
    const buffer = new ArrayBuffer(8)
    randomFillSync(buffer as never)
    return buffer
  }
  it.each([
    ['randomInt', () => randomInt(2 ** 40)],
    ['randomInt with a callback', () => called<number>((done) => randomInt(-(2 ** 40), 2 ** 40, done))],
    ['randomFillSync', () => randomFillSync(Buffer.alloc(8)).toString('hex')],
    ['randomFillSync of a part', () => randomFillSync(Buffer.alloc(8), 2, 4).toString('hex')],
    ['randomFillSync of an array buffer', () => Buffer.from(filledBuffer()).toString('hex')],
    ['randomFill', async () => (await called<Buffer>((done) => randomFill(Buffer.alloc(8), done))).toString('hex')],
    ['randomBytes', async () => (await called<Buffer>((done) => randomBytes(8, done))).toString('hex')],
    ['crypto.getRandomValues', () => crypto.getRandomValues(new Uint32Array(2)).join()],
    ['getRandomValues of node:crypto', () => getRandomValues(new Uint32Array(2)).join()],
  ])('by %s', async (_, ask) => {
    const [first, second] = await twice<string | number>(ask)
    expect(second).toBe(first)
    expect(await ask()).not.toBe(first)
  })

  it('by randomUUIDv7, where Node has it', async () => {
    const newer = nodeCrypto as unknown as { readonly randomUUIDv7?: () => string }
    if (newer.randomUUIDv7 === undefined) return expect(Number(process.versions.node.split('.')[0])).toBeLessThan(26)
    const [first, second] = await twice(() => newer.randomUUIDv7?.() ?? '')
    expect(second).toBe(first)
    expect(first).toMatch(/^019b76da-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  it('within their bounds, and only where they were requested', async () => {
    const drawn = await inService(() => ({
      dice: Array.from({ length: 500 }, () => randomInt(1, 7)),
      part: randomFillSync(new Uint16Array(4), 1, 2),
    }))
    expect(new Set(drawn.dice)).toEqual(new Set([1, 2, 3, 4, 5, 6]))
    expect([drawn.part[0], drawn.part[3]]).toEqual([0, 0])
    expect((drawn.part[1] ?? 0) + (drawn.part[2] ?? 0)).toBeGreaterThan(0)
  })

  it('wrong bounds of random numbers are refused, as elsewhere', async () => {
    const refusalOf = (draw: () => unknown): unknown => {
      try {
        return draw()
      } catch (error) {
        return (error as { readonly code: unknown }).code
      }
    }
    const wrong = [
      () => randomInt(3, 1),
      () => randomInt(1, '5' as never),
      () => randomFillSync(Buffer.alloc(2), 3),
      () => randomFill(Buffer.alloc(2), 3, () => {}),
      () => randomBytes(-1),
      () => crypto.getRandomValues(new Float64Array(1) as never),
    ]
    expect(await inService(() => wrong.map(refusalOf))).toEqual(wrong.map(refusalOf))
  })
})

describe('code outside of every world has the real ones', () => {
  /** While histories are played. */
  async function meanwhile<T>(work: () => T | Promise<T>): Promise<T> {
    const playing = simulate({ ...IDLE, seeds: 300 })
    for (let n = 0; n < 3; n++) await new Promise((resolve) => void setImmediate(resolve))
    const isPlaying = setTimeout !== realTimeout
    const result = await work()
    await playing
    expect(isPlaying).toBe(true)
    return result
  }

  it.each([
    ['a timer with a promise', () => promisify(setTimeout)(1, 'done')],
    ['an immediate with a promise', () => promisify(setImmediate)('done')],
    ['a sleep', () => sleep(1, 'done')],
    ['a timer', () => new Promise((resolve) => void setTimeout(resolve, 1, 'done'))],
  ])('%s', async (_, wait) => {
    expect(await meanwhile(wait)).toBe('done')
  })

  it('the time, and dates that know their class', async () => {
    const told = await meanwhile(() => ({ at: Date.now(), class: new Date().constructor === Date }))
    expect(told).toEqual({ at: expect.toSatisfy((at: number) => at > Date.UTC(2026, 5)), class: true })
  })
})

it('a service has timers with promises, too, and the same refusals', async () => {
  const told = await inService(async () => {
    const nothing = undefined as unknown as () => void
    const beganMs = performance.now()
    const value = await promisify(setTimeout)(60_000, 'done')
    const refusal = ((): unknown => {
      try {
        return setTimeout(nothing, 1)
      } catch (error) {
        return (error as { readonly code: unknown }).code
      }
    })()
    return { value, refusal, tookMs: performance.now() - beganMs }
  })
  expect(told).toEqual({ value: 'done', refusal: 'ERR_INVALID_ARG_TYPE', tookMs: 60_000 })
})
