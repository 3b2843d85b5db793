import { defineEvent } from 'concordat/bus'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Ping } from '../conformance/bus-kit.ts'
import { gate, until } from '../support/until.ts'
import { world } from './kit.ts'

/** Event whose schema awaits a promise that never settles. */
const Asking = defineEvent('asking', { payload: z.object({}).refine(() => new Promise<boolean>(() => {})) })
const TO = { to: '**' }

describe('an event that waits for the members who answer it', () => {
  it('holds up no close: its publisher gets an error at once', async () => {
    const asked = gate()
    let hangs = false
    const { bus } = await world().join({
      members: () => {
        if (!hangs) return []
        asked.open()
        return new Promise(() => {})
      },
    })
    hangs = true
    const publishing = Promise.allSettled([bus.publish(Ping, { n: 1 }, { ...TO, ack: true, ackTimeoutMs: 20_000 })])
    await asked.opened
    await bus.close()
    expect(await publishing).toMatchObject([{ reason: { code: 'bus.closed' } }])
  })
})

describe('an event whose schema never answers', () => {
  it('is not published, its publisher gets an error with the schema, and later events leave', async () => {
    const { bus, pings } = await world().join({ handlerTimeoutMs: 50 })
    const asking = bus.publish(Asking, {}, TO)
    const ping = bus.publish(Ping, { n: 1 }, TO)
    await expect(asking).rejects.toMatchObject({
      code: 'bus.schema_timeout',
      retryable: true,
      subject: 'event "asking"',
      timeoutMs: 50,
      message:
        'the schema of event "asking" has not answered within 50 ms: let it answer sooner, or raise handlerTimeoutMs',
    })
    await ping
    await until('it is handled', () => pings.length === 1)
    expect(bus.health().counters.published).toBe(1)
  })

  it('delays no other event once its publisher has given it up', async () => {
    const { bus } = await world().join()
    const patience = new AbortController()
    const asking = bus.publish(Asking, {}, { ...TO, signal: patience.signal })
    const ping = bus.publish(Ping, { n: 1 }, TO)
    patience.abort(new Error('no more patience'))
    await expect(asking).rejects.toThrow('no more patience')
    await ping
  })

  it('holds up no close: its publisher and later ones get an error', async () => {
    const { bus } = await world().join()
    const publishing = Promise.allSettled([bus.publish(Asking, {}, TO), bus.publish(Ping, { n: 1 }, TO)])
    await bus.close()
    const code = 'bus.closed'
    expect(await publishing).toMatchObject([{ reason: { code } }, { reason: { code } }])
  })
})
