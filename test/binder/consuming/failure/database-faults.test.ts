import { type ConsumerOptions, createBinder, defineChannel, type Inbox, sink } from 'concordat/binder'
import { type Clock, SqlCommitError, type SqlTransaction, systemClock } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { throwFromOwnWait } from '../../../support/inside/core.ts'
import { until } from '../../../support/until.ts'
import { ScriptedTransport } from '../../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const failed = (code: string, message = `SQLSTATE ${code}`): Error => Object.assign(new Error(message), { code })
/** Error that `pg` raises for a connection that the server has ended, with the server's reason. */
const ended = (code: string): Error =>
  Object.assign(new Error('Client has encountered a connection error and is not queryable: idle'), {
    cause: failed(code),
  })

/** Does not wait between attempts. */
const QUICK: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 1), signal) }

const tx: SqlTransaction = { inTransaction: true, query: async () => ({ rows: [], rowCount: 0 }) }
const inbox = {
  hasOutbox: false,
  process: async (_: unknown, work: (tx: SqlTransaction, emit: never) => Promise<void>) => {
    await work(tx, undefined as never)
    return true
  },
} as unknown as Inbox

async function attemptsOf(errors: readonly Error[], options: Partial<ConsumerOptions> & { readonly inbox?: Inbox }) {
  const attempts: number[] = []
  const left = [...errors]
  const transport = new ScriptedTransport()
  const binding = sink(
    channel,
    { group: 'g', maxAttempts: 2, backoff: { initialMs: 1 }, ...options } as ConsumerOptions,
    (_, { attempt }) => {
      attempts.push(attempt)
      const error = left.shift()
      if (error !== undefined) throw error
    },
  )
  const binder = createBinder({ service: 'test', transport, bindings: [binding], clock: QUICK })
  onTestFinished(() => binder.close())
  await binder.start()
  const delivery = transport.subscription.deliver('k', 1)
  await until('it is settled', () => delivery.end !== undefined)
  return { attempts, letters: transport.published.flat().map(({ destination }) => destination) }
}

describe('the error of a handler’s database', () => {
  it.each(['40001', '40P01', '55P03'])('%s in the transaction of an inbox is no attempt', async (code) => {
    const busy = Array.from({ length: 5 }, () => failed(code))
    expect(await attemptsOf(busy, { inbox })).toEqual({ attempts: [1, 1, 1, 1, 1, 1], letters: [] })
  })

  it('lock_timeout is no attempt, however often it ends the wait for another delivery of the message', async () => {
    let left = 30
    const waiting = {
      ...inbox,
      process: async (...args: Parameters<Inbox['process']>) => {
        if (left-- > 0) await Promise.reject(failed('55P03')).catch(throwFromOwnWait)
        return inbox.process(...args)
      },
    }
    expect(await attemptsOf([], { inbox: waiting })).toEqual({ attempts: [1], letters: [] })
  })

  it('is no attempt for a conflict that the handler swallowed', async () => {
    const swallowed = new SqlCommitError([failed('55P03')])
    expect(await attemptsOf([swallowed, swallowed], { inbox })).toEqual({
      attempts: [1, 1, 1],
      letters: [],
    })
  })

  it('is a dead letter at once for a constraint that the handler swallowed', async () => {
    expect(await attemptsOf([new SqlCommitError([failed('23505')])], { inbox })).toEqual({
      attempts: [1],
      letters: ['numbers.g.dlq'],
    })
  })

  it('counts in the end for a handler that conflicts with itself, which becomes a dead letter', async () => {
    const busy = Array.from({ length: 30 }, () => failed('40P01'))
    const { attempts, letters } = await attemptsOf(busy, { inbox })
    expect(attempts).toEqual([...Array.from({ length: 21 }, () => 1), 2])
    expect(letters).toEqual(['numbers.g.dlq'])
  }, 40_000)

  it('a conflict in a transaction that is not the binding’s own is an attempt', async () => {
    expect(await attemptsOf([failed('40001'), failed('40001')], {})).toEqual({
      attempts: [1, 2],
      letters: ['numbers.g.dlq'],
    })
  })

  it.each(['25P03', '25P04'])(
    '%s, a session that the server ended because the handler paused in it, is an attempt',
    async (code) => {
      expect(await attemptsOf([ended(code), ended(code)], { inbox })).toEqual({
        attempts: [1, 2],
        letters: ['numbers.g.dlq'],
      })
    },
  )
})
