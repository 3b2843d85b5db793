// oxlint-disable no-restricted-imports -- inside of the coordinator: ten thousand calls at once
import { systemClock } from 'concordat/core'
import { expect, onTestFinished, test } from 'vitest'
import { DirectCalls } from '../../../saga/coordinator/direct-calls.ts'
import type { CoordinatorRuntime } from '../../../saga/coordinator/runtime.ts'
import type { DirectCommand } from '../../../saga/coordinator/write-plan.ts'
import type { DirectAnswer, DirectTarget } from '../../support/inside/saga.ts'
import { gate, until } from '../../support/until.ts'

const MIB = 1_024 * 1_024
const RETRY = { initialMs: 60_000, factor: 1, maxMs: 60_000, jitter: 0 }
const NONE: DirectAnswer = { again: { code: 'saga.http_no_answer', message: '503' } }

function setup() {
  const answered: string[] = []
  const rounds: unknown[] = []
  const warnings: string[] = []
  const lines: string[] = []
  const keep = (fields: object, message: string): void => void lines.push(`${message} ${JSON.stringify(fields)}`)
  const warn = (fields: object, message: string): void => {
    warnings.push(message)
    keep(fields, message)
  }
  const logger = { debug: keep, info: keep, warn, error: keep }
  const runtime = { clock: systemClock, logger } as unknown as CoordinatorRuntime
  const calls = new DirectCalls(runtime, {
    take: async ({ sagaId, round }) => {
      rounds.push(round)
      answered.push(sagaId)
    },
    giveBack: async () => {},
  })
  onTestFinished(() => calls.close(0))
  return { calls, answered, rounds, warnings, lines }
}

/** A participant that answers what `ask` returns for the id of a saga. */
function targetOf(name: string, ask: (id: string) => DirectAnswer | Promise<DirectAnswer>): DirectTarget {
  const asking = { concurrency: 1, retry: RETRY, ask: async ({ command }: DirectCommand) => ask(command.sagaId) }
  return { channel: { name }, asking } as unknown as DirectTarget
}

function commandOf(target: DirectTarget, sagaId: string, bytes = 10, round = 0): DirectCommand {
  const command = { saga: 's', sagaId, step: 'x', operation: 'invoke', key: `s/${sagaId}/x`, birth: 'b', round }
  return { target, waitMs: 60_000, message: { body: new Uint8Array(bytes) }, command } as unknown as DirectCommand
}

const okTo = (sagaId: string): DirectAnswer => ({
  reply: { saga: 's', sagaId, step: 'x', operation: 'invoke', status: 'ok' },
})
const silent = (): Promise<DirectAnswer> => new Promise(() => {})

test('a call that waits until it is repeated leaves its place to other calls of the participant', async () => {
  const { calls, answered, lines } = setup()
  const target = targetOf('bank', (id) => (id === 'refused' ? NONE : okTo(id)))
  calls.make([commandOf(target, 'refused')])
  await until('it is refused', () => lines.length === 1)
  calls.make([commandOf(target, 'other')])
  await until('the other call is answered', () => answered.includes('other'))
})

test('a call that is replaced while it waits for its turn takes no place from the calls behind it', async () => {
  const { calls, answered } = setup()
  const answers = gate()
  const target = targetOf('bank', async (id) => (id === 'first' && (await answers.opened), okTo(id)))
  calls.make(['first', 'replaced', 'replaced'].map((id) => commandOf(target, id)))
  answers.open()
  await until('the call that replaced the other is answered', () => answered.includes('replaced'), 5_000)
  expect(answered).toEqual(['first', 'replaced'])
})

test('an answer that names no round belongs to the round of its request', async () => {
  const { calls, rounds } = setup()
  const target = targetOf('bank', okTo)
  calls.make([commandOf(target, 'retried', 10, 2)])
  await until('it is answered', () => rounds.length === 1)
  expect(rounds).toEqual([2])
})

test('a participant without answers is one warning, until it answers again', async () => {
  const { calls, answered, warnings, lines } = setup()
  const target = targetOf('bank', (id) => (id.startsWith('refused') ? NONE : okTo(id)))
  calls.make([1, 2, 3].map((n) => commandOf(target, `refused-${n}`)))
  await until('all are refused', () => lines.length === 3)
  expect(warnings).toHaveLength(1)
  calls.make([commandOf(target, 'other')])
  await until('the other call is answered', () => answered.includes('other'))
  calls.make([commandOf(target, 'refused-4')])
  await until('one more is refused', () => lines.length === 4)
  expect(warnings).toHaveLength(2)
})

test.for<[string, number, number]>([
  ['ten thousand', 10_000, 10],
  ['64 MiB of', 64, MIB],
])(
  '%s calls to a dead participant keep out its own further ones with a warning, and none of others',
  async ([, count, bytes]) => {
    const { calls, answered, lines } = setup()
    const dead = targetOf('dead', silent)
    calls.make(Array.from({ length: count + 2 }, (_, n) => commandOf(dead, `d-${n}`, bytes)))
    const full = 'too many calls of a participant are open: further ones are repeated when their time is up'
    expect(lines).toEqual([expect.stringContaining(`${full} {"to":"dead","calls":${count}`)])
    calls.make([commandOf(targetOf('bank', okTo), 'healthy')])
    await until('the other participant answers', () => answered.includes('healthy'))
  },
)
