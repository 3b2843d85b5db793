import { createBinder, defineChannel, redrive, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { type Clock, MINUTE, systemClock } from 'concordat/core'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { RabbitTransportOptions, RedriveOptions } from '../../../support/inside/binder.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { admin, freshDestination } from '../kit.ts'

const LOOKS_SOON: Clock = {
  ...systemClock,
  setTimer: (durationMs, ...rest) => systemClock.setTimer(durationMs === MINUTE ? 100 : durationMs, ...rest),
}

describeWith(['rabbitmq'], 'a redrive on RabbitMQ', () => {
  const url = serverUrl('rabbitmq') ?? ''

  /** Channel with one dead letter of the group `g`, whose consumers only check what exists. */
  async function withLetter() {
    const name = freshDestination(url, ['g'], 1)
    onTestFinished(() =>
      admin(url, async (channel) => {
        for (const queue of [`${name}.g.dlq:redrive`, `${name}.g.retry:g`]) await channel.deleteQueue(queue)
        for (const exchange of [`${name}.g.dlq`, `${name}.g.retry`])
          for (const end of ['', ':partitions']) await channel.deleteExchange(exchange + end)
      }),
    )
    const orders = defineChannel(name, { payload: z.number(), partitions: 1 })
    const state = { isBroken: true, handled: [] as number[] }
    const start = async (provision: RabbitTransportOptions['provision']) => {
      const binding = sink(orders, { group: 'g', maxAttempts: 1 }, (n) => {
        if (state.isBroken) throw new Error('closed')
        state.handled.push(n)
      })
      const transport = rabbitTransport({ url, provision })
      const binder = createBinder({ service: 'shop', transport, bindings: [binding], clock: LOOKS_SOON })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready()
      return binder
    }
    await (await start('create')).close()
    const binder = await start('check')
    await binder.send(orders, 1)
    await until('it is a dead letter', () => binder.binding(`${name}.g`).status().deadLettered === 1)
    state.isBroken = false
    const run = (provision: RabbitTransportOptions['provision'], options: RedriveOptions, group = 'g') =>
      redrive(
        { service: provision === 'check' ? 'operator' : 'ops', transport: rabbitTransport({ url, provision }) },
        orders,
        group,
        options,
      )
    return { name, orders, state, start, binder, run }
  }

  it('to a group without its retry channel makes all that bindings with `provision: check` need, also after a restart', async () => {
    const { state, start, binder, run } = await withLetter()
    expect(await run('create', { to: 'group' })).toMatchObject({ sent: 1, complete: true })
    await until('it is handled', () => state.handled.length === 1)
    expect(binder.health().status).toBe('up')
    await binder.close()
    expect((await start('check')).health().status).toBe('up')
  })

  it('leaves the number of dead letters unknown while a reader holds some, and known again after it', async () => {
    const { name, binder } = await withLetter()
    const count = () => binder.deadLetters(`${name}.g`)
    expect(await count()).toBe(1)
    await admin(url, async (channel) => {
      const held = Promise.withResolvers<unknown>()
      await channel.consume(`${name}.g.dlq:redrive`, held.resolve)
      await held.promise
      expect(await count()).toBeUndefined()
    })
    expect(await count()).toBe(1)
  })

  it('of a mistyped group is refused and makes no queue for it', async () => {
    const { name, state, run } = await withLetter()
    for (const options of [{}, { dryRun: true }, { to: 'group' }, { to: 'nowhere' }] as const)
      await expect(run('create', options, 'h')).rejects.toMatchObject({
        kind: 'mismatch',
        destination: `${name}.h.dlq`,
      })
    await admin(url, async (channel) => {
      await expect(channel.checkQueue(`${name}:h`)).rejects.toThrow('NOT_FOUND')
    })
    expect(await run('create', { to: 'channel' })).toMatchObject({ sent: 1, complete: true })
    await until('it is handled', () => state.handled.length === 1)
  })

  it('to a group with a retry channel makes nothing and needs no delays', async () => {
    const { state, binder, run } = await withLetter()
    await run('create', { to: 'group', filter: () => false })
    expect(await run('check', { to: 'group' })).toMatchObject({ sent: 1, complete: true })
    await until('it is handled', () => state.handled.length === 1)
    await admin(url, async (channel) => {
      channel.on('error', () => {})
      await expect(channel.checkExchange('concordat:delay:ops:due')).rejects.toThrow('NOT_FOUND')
    })
    expect(binder.health().status).toBe('up')
  })
})
