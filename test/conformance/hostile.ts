/**
 * Hostile messages, written by a bare driver: each is handled or becomes a dead letter, and the valid message after it
 * is handled. One binder handles them all, so that damage by one of them shows in the next.
 */
import { randomUUID } from 'node:crypto'
import { type Binder, createBinder, defineChannel, type Headers, sink } from 'concordat/binder'
import { bytesCodec } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import { NO_PAUSE, TestPayload } from './transport-kit.ts'

export interface RawMessage {
  readonly body: Uint8Array
  readonly headers?: ReadonlyArray<readonly [name: string, value: string | Uint8Array]> | undefined
  /** Media type of the body. */
  readonly contentType?: string | undefined
}

export interface HostileHarness {
  transport(): Transport
  /** Past this package, to partition 0. */
  send(destination: string, messages: readonly RawMessage[]): Promise<void>
  /** The most headers and header bytes that the driver can be made to send. */
  readonly limits: { readonly headers: number; readonly headerBytes: number; readonly bodyBytes: number }
  close?(): Promise<void>
}

interface Handled {
  readonly payload: TestPayload
  readonly headers: Headers
  readonly attempt: number
  readonly id: string
}

interface Letter {
  readonly body: Uint8Array
  readonly headers: Headers
  readonly id: string
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
const good = (n: number): RawMessage => ({ body: bytes(JSON.stringify({ key: 'k', n })) })

export function hostileCases(name: string, setup: () => Promise<HostileHarness>): void {
  describe(`hostile messages on ${name}`, () => {
    const handled: Handled[] = []
    const letters: Letter[] = []
    const destination = `h${randomUUID().slice(0, 8)}`
    let harness: HostileHarness
    let binder: Binder
    let next = 1_000

    beforeAll(async () => {
      harness = await setup()
      const channel = defineChannel(destination, { payload: TestPayload, partitions: 1, groups: ['g'] })
      const dead = defineChannel(`${destination}.g.dlq`, {
        payload: z.instanceof(Uint8Array),
        codec: bytesCodec,
        partitions: 1,
        groups: ['redrive'],
      })
      binder = createBinder({
        service: 'hostile',
        transport: harness.transport(),
        drainTimeoutMs: 2_000,
        bindings: [
          sink(channel, { group: 'g', backoff: NO_PAUSE }, (payload, { headers, attempt, id }) => {
            handled.push({ payload, headers, attempt, id })
          }),
          sink(dead, { group: 'redrive' }, (body, { headers, id }) => {
            letters.push({ body, headers, id })
          }),
        ],
      })
      await binder.start()
      await binder.ready({ timeoutMs: 60_000 })
    })
    afterAll(async () => {
      await binder?.close()
      await harness?.close?.()
    })

    /**
     * Sends the message and a valid one after it; resolves when the valid one was handled and every dead letter is
     * stored.
     */
    async function survive(message: RawMessage, ends: 'handled' | 'dead-lettered'): Promise<Handled | Letter> {
      const before = { handled: handled.length, letters: letters.length }
      const behind = next++
      await harness.send(destination, [message, good(behind)])
      await until('the good one behind it is handled', () => handled.some(({ payload }) => payload.n === behind))
      if (ends === 'handled') {
        const [first] = handled.slice(before.handled)
        if (first === undefined || first.payload.n === behind) throw new Error('it was not handled')
        return first
      }
      await until('it is a dead letter', () => letters.length > before.letters)
      return letters[before.letters] as Letter
    }

    it.for([
      ['no JSON', 'nonsense'],
      ['nothing at all', ''],
      ['JSON of another shape', '{"key":7}'],
      ['JSON that is nested 100 000 deep', deep(100_000)],
      [
        'JSON that is nested 100 000 deep inside',
        `{"key":"k","n":1,"more":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
      ],
    ] as const)('a payload that is %s becomes a dead letter, byte for byte', async ([, text], { expect }) => {
      const letter = (await survive({ body: bytes(text) }, 'dead-lettered')) as Letter
      expect(Buffer.compare(letter.body, bytes(text))).toBe(0)
      expect(letter.headers['dead-letter-attempts']).toBe(0)
    })

    it('invalid UTF-8 becomes a dead letter, byte for byte', async ({ expect }) => {
      const body = new Uint8Array([0x7b, 0xff, 0xfe, 0xc3, 0x28, 0x7d])
      const letter = (await survive({ body }, 'dead-lettered')) as Letter
      expect([...letter.body]).toEqual([...body])
    })

    it('keys that mean a prototype stay data', async ({ expect }) => {
      const text =
        '{"key":"k","n":1,"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":"x"}'
      const { payload } = (await survive({ body: bytes(text) }, 'handled')) as Handled
      expect(payload).toEqual({ key: 'k', n: 1 })
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    })

    it('header names of prototypes are plain headers, also of a dead letter', async ({ expect }) => {
      const headers = [
        ['__proto__', 'p'],
        ['constructor', 'c'],
        ['hasOwnProperty', 'h'],
        ['toString', 't'],
      ] as const
      const seen = (await survive({ ...good(1), headers }, 'handled')) as Handled
      expect(Object.getPrototypeOf(seen.headers)).toBe(Object.prototype)
      expect(Object.entries(seen.headers)).toEqual(expect.arrayContaining([['constructor', 'c']]))
      const letter = (await survive({ body: bytes('poison'), headers }, 'dead-lettered')) as Letter
      expect(Object.getPrototypeOf(letter.headers)).toBe(Object.prototype)
      expect(Object.entries(letter.headers)).toEqual(expect.arrayContaining([['constructor', 'c']]))
    })

    it('forged trace contexts, internal headers and dead letter facts change nothing', async ({ expect }) => {
      const headers = [
        ['traceparent', `00-${'f'.repeat(32)}-${'0'.repeat(16)}-zz${'x'.repeat(2_000)}`],
        ['tracestate', '=,=,'.repeat(500)],
        ['concordat-types', deep(5_000)],
        ['concordat-retry-attempts', '999999999'],
        ['dead-letter-attempts', '77'],
        ['dead-letter-group', 'somebody'],
      ] as const
      const seen = (await survive({ ...good(2), headers }, 'handled')) as Handled
      expect(seen.attempt).toBe(1)
      expect(Object.keys(seen.headers).filter((header) => header.startsWith('concordat-'))).toEqual([])
      const letter = (await survive({ body: bytes('poison'), headers }, 'dead-lettered')) as Letter
      expect(letter.headers).toMatchObject({ 'dead-letter-attempts': 0, 'dead-letter-group': 'g' })
    })

    it('as many headers as can be sent do not stop it', async ({ expect }) => {
      const headers = Array.from({ length: harness.limits.headers }, (_, i) => [`bomb-${i}`, 'x'] as const)
      const seen = (await survive({ ...good(3), headers }, 'handled')) as Handled
      expect(Object.keys(seen.headers)).toHaveLength(headers.length)
      const letter = (await survive({ body: bytes('poison'), headers }, 'dead-lettered')) as Letter
      const dropped = letter.headers['dead-letter-headers-dropped'] ?? 0
      const kept = Object.keys(letter.headers).filter((header) => header.startsWith('bomb-')).length
      expect(kept + Number(dropped)).toBe(headers.length)
    })

    it('as large a header as can be sent does not stop it', async ({ expect }) => {
      const headers = [['bomb', 'x'.repeat(harness.limits.headerBytes)]] as const
      const seen = (await survive({ ...good(4), headers }, 'handled')) as Handled
      expect(String(seen.headers['bomb'])).toHaveLength(harness.limits.headerBytes)
      const letter = (await survive({ body: bytes('poison'), headers }, 'dead-lettered')) as Letter
      const facts = [letter.headers['bomb'] === headers[0][1], letter.headers['dead-letter-headers-dropped'] === 1]
      expect(facts).toContain(true)
    })

    it('a message of 10 MB is handled, and a bad one a dead letter byte for byte', async ({ expect }) => {
      const padding = 'x'.repeat(harness.limits.bodyBytes)
      const seen = (await survive({ body: bytes(JSON.stringify({ key: padding, n: 5 })) }, 'handled')) as Handled
      expect(seen.payload.key).toHaveLength(padding.length)
      const letter = (await survive({ body: bytes(padding) }, 'dead-lettered')) as Letter
      expect(Buffer.compare(letter.body, bytes(padding))).toBe(0)
    })

    it('invalid events in structured mode become dead letters', async ({ expect }) => {
      const contentType = 'application/cloudevents+json'
      for (const text of ['nonsense', '[]', '{"specversion":"1.0","id":"x"}', deep(100_000)]) {
        const letter = (await survive({ body: bytes(text), contentType }, 'dead-lettered')) as Letter
        expect(letter.headers['dead-letter-error-code']).toBe('core.codec')
      }
      const event = { specversion: '1.0', id: 'e'.repeat(5_000), source: 's', type: 't', data: { key: 'k', n: 6 } }
      const seen = (await survive({ body: bytes(JSON.stringify(event)), contentType }, 'handled')) as Handled
      expect(seen.id).toMatch(/^sha256-/)
    })

    it('attributes of an event that the broker cannot carry do not stop it', async ({ expect }) => {
      const contentType = 'application/cloudevents+json'
      const event = { specversion: '1.0', id: 'e', source: 's', type: 't', data: 'poison' }
      const odd = [{ datacontenttype: 'é'.repeat(200) }, { ['x'.repeat(300)]: 'y' }, { y: 'é'.repeat(100_000) }]
      for (const attribute of odd) {
        const body = bytes(JSON.stringify({ ...event, ...attribute }))
        const letter = (await survive({ body, contentType }, 'dead-lettered')) as Letter
        expect(new TextDecoder().decode(letter.body)).toContain('poison')
      }
    })
  })
}
