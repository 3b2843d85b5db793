import type { SqlClient } from 'concordat/core'
import { createOutbox, type Outbox } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import type { RelayOptions } from '../support/inside/outbox.ts'
import { IdleTime, SaidListener } from './support/idle.ts'
import { message, until } from './support/messages.ts'
import { setupOutbox, useEmbedded } from './support/pglite.ts'
import type { OutboxSetup } from './support/setup.ts'

useEmbedded()

interface IdleSetup extends OutboxSetup {
  readonly texts: readonly string[]
  /** Outbox through which others add. */
  readonly other: Outbox
  /** @see IdleTime.pass */
  pass(durationMs: number): Promise<number>
}

const SECONDS = 10

/** Creates relays that have been idle for a while, on a clock that only the test moves. */
async function setupIdle(options: Partial<RelayOptions> = {}, relays = 1, partitions = 4): Promise<IdleSetup> {
  const t = await setupOutbox({ partitions })
  const time = new IdleTime(t.sql)
  const outbox = createOutbox({ sql: time.sql, service: 'orders', schema: t.outbox.schema, partitions })
  for (let i = 0; i < relays; i++) {
    await t.relay({ outbox, clock: time.clock, idlePollMs: undefined, ...options }).start()
  }
  await time.pass(70_000)
  return { ...t, outbox, other: t.outbox, texts: time.texts, pass: (durationMs) => time.pass(durationMs) }
}

async function add(sql: SqlClient, outbox: Outbox, id: string): Promise<void> {
  await sql.transaction((tx) => outbox.addEncoded(tx, [message(id, id)]))
}

describe('an idle relay', () => {
  test('polls all of its partitions with one statement, five times a second', async () => {
    await using t = await setupIdle()
    const perSecond = (await t.pass(SECONDS * 1_000)) / SECONDS
    expect(perSecond).toBeGreaterThan(5)
    expect(perSecond).toBeLessThanOrEqual(6)
  })

  test('with a connected listener makes fewer than two statements a second', async () => {
    await using t = await setupIdle({ listener: new SaidListener(7) })
    expect((await t.pass(SECONDS * 1_000)) / SECONDS).toBeLessThan(2)
  })

  test('polls as often as without a listener while that has no connection', async () => {
    await using t = await setupIdle({ listener: new SaidListener(undefined) })
    expect((await t.pass(SECONDS * 1_000)) / SECONDS).toBeGreaterThan(5)
  })

  test('asks for a partition that it misses only when one is free', async () => {
    await using t = await setupIdle({}, 2, 3)
    const from = t.texts.length
    await t.pass(5_000)
    expect(t.texts.slice(from).filter((text) => text.includes('SKIP LOCKED'))).toEqual([])
  })
})

describe('a message added while the pauses are long', () => {
  test('leaves at once when it is added in this process: no time goes by', async () => {
    await using t = await setupIdle({ listener: new SaidListener(7) })
    await add(t.sql, t.outbox, 'a')
    await until(() => t.publisher.ids.includes('a'), 'it has left')
  })

  test('leaves at once when NOTIFY reports it', async () => {
    const listener = new SaidListener(7)
    await using t = await setupIdle({ listener })
    await add(t.sql, t.other, 'a')
    listener.say('0,1,2,3')
    await until(() => t.publisher.ids.includes('a'), 'it has left')
  })

  test('leaves within 200 ms without a notification or a listener', async () => {
    await using t = await setupIdle()
    await add(t.sql, t.other, 'a')
    await t.pass(210)
    expect(t.publisher.ids).toEqual(['a'])
  })

  test('leaves within 2 s without a notification, and what follows in the next minute within 200 ms', async () => {
    await using t = await setupIdle({ listener: new SaidListener(7) })
    await add(t.sql, t.other, 'a')
    await t.pass(2_010)
    expect(t.publisher.ids).toEqual(['a'])
    for (const id of ['b', 'c']) {
      await t.pass(20_000)
      await add(t.sql, t.other, id)
      await t.pass(210)
      expect(t.publisher.ids).toContain(id)
    }
    await t.pass(60_000)
    expect((await t.pass(SECONDS * 1_000)) / SECONDS).toBeLessThan(2)
  })

  test('is tried again when that is due, with pauses of any length', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    t.publisher.verdict = (_, tries) => (tries === 1 ? 'refused' : undefined)
    await add(t.sql, t.outbox, 'a')
    const since = performance.now()
    await t.relay({ idlePollMs: 60_000, backoff: { initialMs: 3_000, maxMs: 3_000, jitter: 0 } }).start()
    await until(() => t.publisher.ids.includes('a'), 'it has left')
    await expectWithin(performance.now() - since, 4_500)
  })
})
