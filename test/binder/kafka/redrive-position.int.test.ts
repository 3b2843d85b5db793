import { randomUUID } from 'node:crypto'
import { Connection } from '@platformatic/kafka'
import { createBinder, defineChannel, redrive, sink, TerminalError } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import type { RedriveOptions } from '../../support/inside/binder.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { client } from './kit.ts'

const DRIVERS = ['kafkajs', 'platformatic'] as const

describeWith(['kafka'], 'a redrive on Kafka whose position the broker has dropped', () => {
  const url = serverUrl('kafka') as string
  const open = (driver: (typeof DRIVERS)[number]) =>
    driver === 'kafkajs'
      ? kafkaTransport({ kafka: client(url) })
      : platformaticTransport({ kafka: { Connection, bootstrapBrokers: [url.replace(/^.*:\/\//, '')] } })

  /** A service whose handler refuses `fails`. */
  async function setup(driver: (typeof DRIVERS)[number]) {
    const channel = defineChannel(`position-${randomUUID().slice(0, 8)}`, { payload: TestPayload, partitions: 1 })
    const handled: number[] = []
    const state = { fails: true }
    const work = sink(channel, { group: 'g' }, ({ n }) => {
      if (state.fails) throw new TerminalError(`no room for ${n}`)
      handled.push(n)
    })
    const binder = createBinder({ service: 'shop', transport: open(driver), bindings: [work] })
    onTestFinished(() => binder.close())
    await binder.start()
    let failed = 0
    /** Sends these numbers, which become dead letters. */
    const fail = async (...numbers: readonly number[]) => {
      state.fails = true
      await binder.sendBatch(
        channel,
        numbers.map((n) => ({ key: 'k', n })),
      )
      failed += numbers.length
      await until('they are dead letters', () => binder.bindings()[0]?.deadLettered === failed)
      state.fails = false
    }
    const { logger, lines } = memoryLogger()
    const run = (options: RedriveOptions = {}) =>
      redrive({ service: 'ops', transport: open(driver), logger }, channel, 'g', { perSecond: 10_000, ...options })
    /** Deletes the group's offsets, as the broker does after their retention time. */
    const forget = async () => {
      const admin = client(url).admin()
      await admin.connect()
      const groupId = `redrive.${channel.name}.g.dlq`
      await until('the group is gone', () =>
        admin.deleteGroups([groupId]).then(
          () => true,
          () => false,
        ),
      )
      await admin.disconnect()
    }
    return { channel, binder, handled, fail, run, forget, said: (text: string) => JSON.stringify(lines).includes(text) }
  }

  it.for(DRIVERS)('on %s continues after the dead letters that the previous run has settled', async (driver) => {
    const { fail, run, forget, handled } = await setup(driver)
    await fail(1, 2, 3)
    expect(await run()).toMatchObject({ sent: 3, kept: 0, complete: true })
    await fail(4)
    await forget()
    expect(await run({ dryRun: true })).toMatchObject({ sent: 1, complete: true })
    await forget()
    expect(await run({ limit: 1 })).toMatchObject({ sent: 1, kept: 0 })
    await until('all are handled', () => handled.length >= 4)
    await fail(5)
    await forget()
    expect(await run({ filter: () => false })).toMatchObject({ sent: 0, kept: 1, complete: true })
    await forget()
    expect(await run()).toMatchObject({ sent: 1, kept: 0, complete: true })
    await until('all are handled', () => handled.length >= 5)
    expect(handled.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5])
  })

  it.for(DRIVERS)('on %s refuses possibly sent dead letters of a killed run, and shows them', async (driver) => {
    const { channel, binder, fail, run, forget, said } = await setup(driver)
    await fail(1)
    expect(await run()).toMatchObject({ sent: 1, complete: true })
    await fail(2, 3)
    const mark = {
      id: 'a-killed-run',
      destination: `${channel.name}.g.dlq`,
      key: null,
      type: 'concordat.redrive.end',
      source: 'concordat',
      contentType: 'application/octet-stream',
      time: Date.now(),
      headers: { 'concordat-redrive-run': 'a-killed-run' },
      body: new Uint8Array(),
    }
    expect(await binder.publish([mark])).toEqual([undefined])
    await forget()
    await expect(run()).rejects.toMatchObject({ code: 'binder.redrive_position_unknown', retryable: false })
    expect(await run({ dryRun: true })).toMatchObject({ sent: 3, complete: true })
    expect(said('may have sent')).toBe(true)
  })
})
