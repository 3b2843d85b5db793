// oxlint-disable no-restricted-imports -- inside of the command line: its time limits without waiting for them
/** The operator's commands on a transport that never answers. */
import { createOperator } from '@concordat/cli'
import type { SqlClient } from 'concordat/core'
import { expect, onTestFinished, test, vi } from 'vitest'
import { instancesOn } from '../../packages/cli/commands/group-arguments.ts'
import { namingTheServer, ServerAway } from '../../packages/cli/commands/server-away.ts'
import { drain } from '../support/locks/fake-clock.ts'

const sql = { query: async () => ({ rows: [] }), transaction: async () => {} } as unknown as SqlClient
const place = { channel: 'orders', group: 'stock' }
const silence = (): Promise<never> => new Promise(() => {})

function operatorOn(transport: object) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const given = { name: 'foreign', features: {}, attach: () => {}, close: async () => {}, ...transport }
  return createOperator({ sql, transport: async () => given as never })
}

/** The outcome of the work within three minutes. */
async function outcomeOf<T>(work: Promise<T>): Promise<{ readonly value: T } | { readonly error: unknown } | 'none'> {
  const done = work.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  for (let n = 0; n < 18; n++) {
    await drain()
    await vi.advanceTimersByTimeAsync(10_000)
  }
  return Promise.race([done, Promise.resolve('none' as const)])
}

const UNANSWERED = {
  code: 'binder.transport',
  kind: 'timeout',
  message: expect.stringMatching(/"orders(\.stock\.dlq)?".*within 60 s/),
}

test.each<[string, object]>([
  ['counts no messages', { lag: silence }],
  ['is asked for a position', { lag: async () => 1, withoutPosition: silence }],
  ['is closed', { lag: async () => 1, close: silence }],
])('a transport that does not answer when it %s is an error that names the channel', async (_title, transport) => {
  const { letters } = operatorOn(transport)
  expect(await outcomeOf(letters.lag(place))).toMatchObject({ error: UNANSWERED })
  expect(await outcomeOf(letters.count(place))).toMatchObject({ error: UNANSWERED })
})

test('a transport that is never made is an error that names the channel, and exit code 3', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const { letters } = createOperator({ sql, transport: silence })
  const outcome = await outcomeOf(letters.lag(place))
  expect(outcome).toMatchObject({ error: UNANSWERED })
  const { error } = outcome as { readonly error: unknown }
  expect(namingTheServer(error, { kafka: 'broker:9092' }, {})).toBeInstanceOf(ServerAway)
})

test('a transport that cannot be closed does not hold up the groups beside the log', async () => {
  const { letters } = operatorOn({ isOn: () => false, close: silence, lag: silence })
  const line = { ...place, lag: 0, isCut: false, readers: 0 }
  expect(await outcomeOf(letters.besideLog([line], [place]))).toEqual({ value: [place] })
})

test('a bus whose transport does not answer is one that is not reached', async () => {
  const silent = { provision: silence, subscribe: silence, publish: silence, health: () => ({ status: 'idle' }) }
  expect(await outcomeOf(instancesOn(operatorOn({ ...silent, lag: silence }), 1_000))).toEqual({ value: undefined })
})
