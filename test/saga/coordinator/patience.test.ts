import { type Clock, systemClock } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const setup = runningWorlds()
const Input = z.object({ sku: z.string(), n: z.number() })
const input = { sku: 'apple', n: 2 }

describe('a participant that answers late', () => {
  test('is waited for without end, and so is its undoing', async () => {
    const late: string[] = []
    const handled: string[] = []
    const away = gate()
    const saga = defineSaga('night', { version: 1, input: Input })
      .command('reserve', { to: stockCommands, timeoutMs: 10, request: () => input, compensate: true })
      .step('no', {
        invoke: async () => {
          await away.opened
          throw Object.assign(new Error('no'), { retryable: false })
        },
        compensate: 'none',
      })
    const world = await setup({
      sagas: [saga],
      handlers: {
        invoke: () => void handled.push('invoke'),
        compensate: () => void handled.push('compensate'),
      },
      coordinator: { onLate: ({ saga, id, step, operation }) => late.push(`${saga}/${id} ${operation} ${step}`) },
    })
    const { coordinator, stock } = world
    stock().pause()
    const run = await coordinator.start(saga, { id: 's1', input })
    // Ten times as often as a command used to be sent.
    await until('it was asked for often', () => late.length >= 8)
    expect(await run.report()).toMatchObject({ status: 'running' })
    expect(late[0]).toBe('night/s1 invoke reserve')
    expect(coordinator.health().late).toEqual([
      { saga: 'night', step: 'reserve', operation: 'invoke', to: 'stock.commands', count: 1 },
    ])
    stock().resume()
    await until('it was handled', () => handled.length >= 1)
    stock().pause()
    away.open()
    const before = late.length
    await until(
      'its undoing is late',
      () => late.slice(before).filter((line) => line.includes('compensate')).length >= 3,
    )
    expect((await run.report()).status).toBe('compensating')
    stock().resume()
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'compensated' })
    expect(handled).toEqual(['invoke', 'compensate'])
    expect(coordinator.health().late).toEqual([])
  })

  test('causes one warning, for any number of sagas that wait for it, and another when it is late once more', async () => {
    const warnings: object[] = []
    const ignore = (): void => {}
    const warn = (fields: object, message: string): void => {
      if (message.startsWith('command not answered')) warnings.push(fields)
    }
    let late = 0
    const saga = defineSaga('crowd', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      timeoutMs: 50,
      request: () => input,
      compensate: 'none',
    })
    const logger = { debug: ignore, info: ignore, warn, error: ignore }
    const { coordinator, stock } = await setup({ sagas: [saga], coordinator: { logger, onLate: () => void late++ } })
    for (const round of [1, 2]) {
      stock().pause()
      const before = late
      const runs = await Promise.all(
        [1, 2, 3, 4, 5].map((n) => coordinator.start(saga, { id: `${round}-${n}`, input })),
      )
      await until('all were asked for twice', () => late - before >= 10)
      expect(warnings).toHaveLength(round)
      stock().resume()
      for (const run of runs) expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
    }
  })

  test('is counted no longer once another coordinator has ended the saga', async () => {
    let ahead = 0
    const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + ahead }
    const saga = defineSaga('elsewhere', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      timeoutMs: 10,
      request: () => input,
      compensate: 'none',
    })
    const world = await setup({ sagas: [saga], coordinator: { clock } })
    const { coordinator, another, stock } = world
    stock().pause()
    const run = await coordinator.start(saga, { id: 's1', input })
    await until('it is late', () => coordinator.health().late.length === 1)
    const other = another({ clock: systemClock })
    await other.cancel(run, { by: 'ann', reason: 'enough' })
    ahead += 30_000
    await until('it is no longer counted', () => coordinator.health().late.length === 0, 5_000)
    await other.close()
  })

  test('gets repeated commands after ever longer pauses', async () => {
    const saga = defineSaga('pauses', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      timeoutMs: 20,
      request: () => input,
      compensate: 'none',
    })
    const world = await setup({ sagas: [saga] })
    world.stock().pause()
    const run = await world.coordinator.start(saga, { id: 's1', input })
    await until('it was asked for five times', async () => (await asked(run)).length >= 5)
    const [step] = (await run.report()).steps
    expect(step?.leftMs).toBe(20 * 2 ** ((step?.attempts ?? 0) - 1))
  })

  test('counts as failed after the attempts that the step allows, by option', async () => {
    const saga = defineSaga('limited', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      timeoutMs: 10,
      retry: { maxAttempts: 2, ...FAST },
      request: () => input,
      compensate: 'none',
    })
    const world = await setup({ sagas: [saga] })
    world.stock().pause()
    const outcome = await (await world.coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 10_000 })
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'saga.no_reply' } })
  })

  test('is no reason to wait beyond the deadline of the saga', async () => {
    const saga = defineSaga('deadline', { version: 1, input: Input, deadlineMs: 200 }).command('reserve', {
      to: stockCommands,
      timeoutMs: 10,
      request: () => input,
      compensate: 'none',
    })
    const world = await setup({ sagas: [saga] })
    world.stock().pause()
    const outcome = await (await world.coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 10_000 })
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'saga.deadline' } })
  })

  test('does not use up the attempts that its failures have', async () => {
    let isBroken = true
    let answered = 0
    const saga = defineSaga('both', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      timeoutMs: 10,
      request: () => input,
      compensate: 'none',
    })
    const world = await setup({
      sagas: [saga],
      participantAttempts: 1,
      handlers: {
        invoke: () => {
          answered++
          if (isBroken && answered === 1) throw new Error('a failure of its own')
        },
        compensate: () => {},
      },
    })
    world.stock().pause()
    const run = await world.coordinator.start(saga, { id: 's1', input })
    await until('silence has cost more attempts than there are', async () => (await asked(run)).length >= 6)
    world.stock().resume()
    isBroken = true
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
  })
})

async function asked(run: { report(): Promise<{ timeline: readonly { kind: string; at: number }[] }> }) {
  return (await run.report()).timeline.filter(({ kind }) => kind === 'invoking').map(({ at }) => at)
}
