/** Commands and replies of sagas, headers of transactions. */
import { defineSaga } from 'concordat/saga'
import { z } from 'zod'
import { hostileJson, hostileJsonText, hostileMap, hostileText } from '../hostile.ts'
import {
  answerTo,
  decodePayload,
  formatTransaction,
  readCommandHeaders,
  readTransaction,
  replyEvent,
  sagaReplies,
} from '../inside.ts'
import { MESSAGES } from '../samples.ts'
import { check, target } from '../target.ts'

const [message] = MESSAGES as [(typeof MESSAGES)[0]]
const COMMAND = {
  'saga-name': 'order',
  'saga-id': 'o-1',
  'saga-step': 'pay',
  'saga-operation': 'invoke',
  'saga-key': 'order/o-1/pay',
  'saga-attempt': 1,
  'saga-birth': 'b-12345678',
  'saga-round': 1,
  'saga-reply-to': 'shop.saga-replies',
  'saga-kind': 'tcc',
}

export const sagaCommand = target({
  name: 'saga-command',
  about: 'the headers of a command, and the answer that they lead to',
  input: (tape) => hostileMap<unknown>(tape, COMMAND, (from, sample) => hostileJson(from, sample ?? 'x')),
  run(headers) {
    const plain = Object.entries(headers).filter(([, value]) => typeof value !== 'object' || value === null)
    const command = readCommandHeaders(Object.fromEntries(plain) as never)
    if (command === undefined) return
    const { saga, sagaId, step, key, attempt, round } = command
    check(![saga, sagaId, step, key].some((text) => text.includes('\0')), 'no table can hold what it says')
    check(attempt === undefined || (Number.isSafeInteger(attempt) && attempt > 0), 'the attempt is no number of one')
    check(Number.isSafeInteger(round) && round >= 0, 'the round is none')
    answerTo(command)
  },
})

const saga = defineSaga('order', { version: 1, input: z.object({}) }).step('pay', {
  invoke: () => ({ paid: true }),
  compensate: () => {},
})
const replies = sagaReplies('shop')
const REPLY = {
  saga: 'order',
  sagaId: 'o-1',
  step: 'pay',
  operation: 'invoke',
  status: 'ok',
  result: { paid: true },
  code: 'c',
  message: 'm',
  final: true,
  attempt: 1,
  birth: 'b-12345678',
  round: 0,
}

export const sagaReply = target({
  name: 'saga-reply',
  about: 'what a participant answers, and what it means to the saga',
  input: (tape) => hostileJsonText(tape, REPLY, { ...REPLY, status: 'refused' }, { ...REPLY, status: 'failed' }),
  isAsync: true,
  async run(text) {
    const reply = await decodePayload(replies, { ...message, body: Buffer.from(text) })
    check(![reply.saga, reply.sagaId, reply.step].some((each) => each.includes('\0')), 'no table can hold what it says')
    await replyEvent(saga as never, reply, 100_000)
  },
})

const REF = formatTransaction({ service: 'shop', name: 'transfer', id: 'ä/1', birth: '12345678-abcd' })

export const transactionHeader = target({
  name: 'transaction-header',
  about: 'the header of a global transaction',
  input: (tape) => ({
    value: tape.once(4) ? hostileJson(tape, REF, [REF]) : hostileText(tape, REF),
    form: tape.below(2),
  }),
  run({ value, form }) {
    const get = (name: string): string | null =>
      name === 'saga-transaction' && typeof value === 'string' ? value : null
    const ref = readTransaction(form === 0 ? ({ 'saga-transaction': value } as never) : { get })
    if (ref === undefined) return
    const again = readTransaction({ 'saga-transaction': formatTransaction(ref) })
    check(JSON.stringify(again) === JSON.stringify(ref), 'it is another when it is passed on')
  },
})
