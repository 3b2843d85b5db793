/**
 * PostgreSQL's errors for a write of a saga, and their outcome: for a coordinator after a step, a due timer, a
 * participant. Same table as `write-faults-sql.test.ts`. No step is called twice because its outcome could not be
 * written.
 */
import { defineSaga, type Saga } from 'concordat/saga'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  closeEmbedded,
  embedded,
  FAST,
  openEmbedded,
  setupWorld,
  stockCommands,
  type World,
} from '../saga/support/world.ts'
import { FaultySql, SQL_FAULTS, WORDS } from '../support/sql-faults.ts'
import { until } from '../support/until.ts'

const Input = z.object({ n: z.number() })
const within = { timeoutMs: 20_000 }
let world: World | undefined
let calls: string[] = []

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  await world?.close()
  world = undefined
  calls = []
})

const retry = { maxAttempts: 1, ...FAST }
const undo = (name: string) => (): void => void calls.push(name)

async function started(saga: Saga<unknown, unknown, object>, faulty: FaultySql, isOfCoordinator: boolean) {
  const stuck: unknown[] = []
  world = await setupWorld({
    sagas: [saga],
    sql: faulty.sql,
    participantAttempts: 2,
    handlers: { invoke: () => void calls.push('asked'), compensate: undo('taken back') },
    coordinator: {
      leaseMs: 1_000,
      onStuck: (each) => void stuck.push(each),
      ...(!isOfCoordinator && { sql: embedded() }),
    },
  })
  await world.start()
  const run = await world.coordinator.start(saga as never, { id: '1', input: { n: 1 } as never })
  return { run, stuck, coordinator: world.coordinator }
}

type Started = Awaited<ReturnType<typeof started>>

/** Checks that the part waits out `busy`, and waits with health down for a server that is down, or an operator. */
async function comesThrough({ run, coordinator }: Started, faulty: FaultySql, fault: string): Promise<void> {
  if (fault !== 'busy') {
    await until('health is down', () => coordinator.health().status === 'down')
    expect(coordinator.health().error).toContain(WORDS)
    faulty.release()
  }
  expect((await run.outcome(within)).status).toBe('completed')
  expect(faulty.refused).toBeGreaterThan(0)
  await until('health is up', () => coordinator.health().status === 'up')
}

describe.each(SQL_FAULTS)('%s (%s)', (code, fault) => {
  test('during a write after a step: the step is called once', async () => {
    const faulty = new FaultySql(embedded(), code, (_, [writes]) => String(writes).includes('BITTER'))
    const saga = defineSaga('s', { version: 1, input: Input })
      .step('a', { invoke: () => void calls.push('a'), compensate: undo('a undone'), retry })
      .step('b', {
        invoke: () => {
          calls.push('b')
          faulty.refuse(fault === 'busy' ? 3 : Number.POSITIVE_INFINITY)
          return 'BITTER'
        },
        compensate: undo('b undone'),
        retry,
      })
    const at = await started(saga, faulty, true)
    if (fault !== 'permanent') {
      await comesThrough(at, faulty, fault)
      expect(calls).toEqual(['a', 'b'])
      return
    }
    const outcome = await at.run.outcome(within)
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code, message: expect.stringContaining(WORDS) } })
    expect(calls).toEqual(['a', 'b', 'b undone', 'a undone'])
  })

  test('during a write for a due timer: the saga continues, or is stuck and reported', async () => {
    let writes = 0
    const faulty = new FaultySql(embedded(), code, (text) => text.includes('saga_write') && ++writes > 1)
    const saga = defineSaga('s', { version: 1, input: Input })
      .step('a', {
        invoke: () => {
          calls.push('a')
          faulty.refuse(fault === 'busy' ? 3 : fault === 'permanent' ? 1 : Number.POSITIVE_INFINITY)
        },
        compensate: undo('a undone'),
        retry,
      })
      .timer('t', { delay: 50 })
      .step('b', { invoke: () => void calls.push('b'), compensate: 'none', retry })
    const at = await started(saga, faulty, true)
    if (fault !== 'permanent') {
      await comesThrough(at, faulty, fault)
      expect(calls).toEqual(['a', 'b'])
      return
    }
    const outcome = await at.run.outcome(within)
    expect(outcome.status).toBe('stuck')
    await until('onStuck was called', () => at.stuck.length > 0)
    expect(JSON.stringify(outcome)).toContain(WORDS)
  })

  test('during a write of a participant: waits, counts as an attempt, or fails the command', async () => {
    const faulty = new FaultySql(embedded(), code, (text) => /INSERT INTO\s+\S*saga_barrier/.test(text))
    const saga = defineSaga('s', { version: 1, input: Input })
      .step('a', {
        invoke: () => {
          calls.push('a')
          faulty.refuse(fault === 'permanent' ? 1 : fault === 'session-ended' ? 2 : 5)
        },
        compensate: undo('a undone'),
        retry,
      })
      .command('c', { to: stockCommands, request: () => ({ sku: 'x', n: 1 }), compensate: true, retry })
    const { run } = await started(saga, faulty, false)
    const outcome = await run.outcome(within)
    if (fault === 'permanent' || fault === 'session-ended') {
      expect(outcome).toMatchObject({ status: 'compensated', failure: { code } })
      expect(JSON.stringify(outcome)).toContain(WORDS)
    } else {
      expect([outcome.status, calls]).toEqual(['completed', ['a', 'asked']])
      expect(faulty.refused).toBe(5)
    }
  })
})
