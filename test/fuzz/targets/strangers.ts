/** Input of strangers where no broker authenticates them: replies to a running saga, tokens, names in a picture. */

import { systemMermaid } from '@concordat/cli'
import { hasCode } from 'concordat/core'
import { createTokens } from 'concordat/locks'
import { memoryTokens } from 'concordat/memory'
import { defineSaga, type SagaState } from 'concordat/saga'
import { z } from 'zod'
import { advance, initialState } from '../../support/inside/saga.ts'
import { hostileJsonText, hostileText } from '../hostile.ts'
import { decodePayload, replyEvent, sagaReplies } from '../inside.ts'
import { MESSAGES } from '../samples.ts'
import { check, isWrongArgument, target } from '../target.ts'

const [message] = MESSAGES as [(typeof MESSAGES)[0]]
const step = { invoke: () => 1, compensate: () => {} }
const saga = defineSaga('order', { version: 1, input: z.object({}) })
  .step('open', step)
  .parallel((group) => group.step('pay', step).step('pack', step))
  .step('ship', { pivot: true, invoke: () => 1 })

/** The saga on its way: `open` is called, then `pay` and `pack`, then it turns back. */
const STATES: readonly SagaState[] = statesOf([
  { type: 'started' },
  { type: 'succeeded', step: 'open', operation: 'invoke' },
  { type: 'refused', step: 'pay', operation: 'invoke', error: { code: 'bank.no', message: 'no' } },
])

function statesOf(events: ReadonlyArray<Parameters<typeof advance>[2]>): readonly SagaState[] {
  const states: SagaState[] = [initialState(saga)]
  for (const event of events) {
    const next = advance(saga, states.at(-1) as SagaState, event)
    if (next === undefined) throw new Error(`${event.type} changes nothing`)
    states.push(next.state)
  }
  return states
}

const REPLY = { saga: 'order', sagaId: 'o-1', step: 'pay', operation: 'invoke', status: 'ok', result: 1, attempt: 1 }
const replies = sagaReplies('shop')

export const sagaAnswered = target({
  name: 'saga-answered',
  about: 'an answer that nobody asked for, and what it changes of a saga under way',
  input: (tape) => ({
    text: hostileJsonText(
      tape,
      REPLY,
      { ...REPLY, step: 'open', status: 'failed', final: true },
      { ...REPLY, step: 'ship', operation: 'compensate' },
      { ...REPLY, step: 'pack', status: 'refused', round: 1 },
    ),
    at: tape.below(STATES.length),
  }),
  isAsync: true,
  async run({ text, at }) {
    const reply = await decodePayload(replies, { ...message, body: Buffer.from(text) })
    const before = STATES[at] as SagaState
    const frozen = JSON.stringify(before)
    const after = advance(saga, before, await replyEvent(saga as never, reply, 100_000))?.state
    check(JSON.stringify(before) === frozen, 'the state that it began with is another')
    if (after === undefined) return
    const calling = { invoke: 'invoking', compensate: 'compensating', confirm: 'confirming' }[reply.operation]
    const asked = before.steps.find((each) => each.step === reply.step)
    check(asked?.status === calling, `${reply.step} was not asked to ${reply.operation}, and the saga goes on`)
    const names = after.steps.map((each) => each.step).join()
    check(names === before.steps.map((each) => each.step).join(), 'it has other steps')
  },
})

const tokens = createTokens({ store: memoryTokens(), logger: { debug() {}, info() {}, warn() {}, error() {} } })
const { token } = await tokens.issue('sign-in', { user: 'ann' }, 24 * 3_600_000)

export const oneTimeToken = target({
  name: 'one-time-token',
  about: 'a text that is held out as a token, for a purpose',
  input: (tape) => ({
    text: hostileText(tape, token, `${token}=`, token.toLowerCase()),
    purpose: tape.once(4) ? hostileText(tape, 'sign-in') : 'sign-in',
  }),
  isAsync: true,
  refuses: isWrongArgument,
  async run({ text, purpose }) {
    // The valid token would be used up, and is not a stranger's.
    if (text === token && purpose === 'sign-in') return
    const outcome = await tokens.redeem(purpose, text).catch((error: unknown) => error)
    if (outcome instanceof TypeError && isWrongArgument(outcome)) return
    check(hasCode(outcome, 'tokens.refused'), `it is taken: ${String(outcome)}`)
    check(!String(outcome).includes(token.slice(0, 12)), 'the refusal says the token')
  },
})

const NAMES = { service: 'shop', channel: 'orders', group: 'stock', role: 'sweeper' } as const
const TAME = drawn(NAMES).split('\n').length

function drawn({ service, channel, group, role }: Record<keyof typeof NAMES, string>): string {
  const uses = { senders: [service], readers: [{ service, group }], otherGroups: [] }
  const place = { role: 'channel', partitions: 1, retentionMs: null, of: null } as const
  const nothing = { bindings: [], sends: [], sagas: [], pipelines: [], schedules: [], cluster: null }
  return systemMermaid({
    services: [{ ...nothing, name: service, leads: [role] }],
    channels: [{ ...place, ...uses, name: channel }],
  })
}

export const picture = target({
  name: 'picture',
  about: 'names in the Mermaid picture of a system',
  input: (tape) => ({
    service: hostileText(tape, NAMES.service),
    channel: hostileText(tape, NAMES.channel),
    group: hostileText(tape, NAMES.group),
    role: hostileText(tape, NAMES.role, 'a"]; click A href "javascript:alert(1)"', '<img src=x>'),
  }),
  run(names) {
    const text = drawn(names)
    check(text.split('\n').length === TAME, 'a name begins a line of its own')
    check(!/[^\n\P{Cc}]/u.test(text), 'it has a control character')
    for (const line of text.split('\n').filter((each) => each.includes('"')))
      check(line.split('"').length === 3 && !/<(?!br>)/.test(line), `a name leaves its quotes: ${line.slice(0, 80)}`)
  },
})
