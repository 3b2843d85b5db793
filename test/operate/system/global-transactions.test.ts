import { systemMermaid, systemText } from '@concordat/cli'
import { asyncapi } from '@concordat/cli/asyncapi'
import { defineChannel } from 'concordat/binder'
import { describeSystem } from 'concordat/operator'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { tccParticipant } from 'concordat/saga/tcc'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'

const moves = defineChannel('bank.moves', { payload: z.object({ account: z.string() }) })
const fees = defineChannel('fees.moves', { payload: z.object({ cents: z.number() }) })
const transfer = defineGlobalTransaction('transfer', {
  input: z.object({}),
  branches: [defineBranch('move', { to: moves }), defineBranch('fee', { to: fees })],
})
const never = (): never => {
  throw new Error('nothing of it runs')
}
const handlers = { try: never, confirm: never, cancel: never }
const services = [
  { name: 'front', sagas: [transfer] },
  { name: 'bank', bindings: [tccParticipant(moves, { group: 'bank' }, handlers)] },
  { name: 'fees', bindings: [tccParticipant(fees, { group: 'fees' }, handlers)] },
]
const system = describeSystem(services)
const channel = (name: string) => system.channels.find((each) => each.name === name)

describe('a global transaction', () => {
  test('has the branches that its code can call, all at once', () => {
    const [front] = system.services
    expect(front?.sagas).toMatchObject([
      {
        name: 'transfer',
        steps: [
          { name: 'code', kind: 'code', to: null, group: null },
          { name: 'move', kind: 'branch', to: 'bank.moves', compensates: true, conditional: true, group: 1 },
          { name: 'fee', kind: 'branch', to: 'fees.moves', compensates: true, conditional: true, group: 1 },
        ],
      },
    ])
  })

  test('shows who sends its commands, and who answers them', () => {
    expect(channel('bank.moves')).toMatchObject({ senders: ['front'], readers: [{ service: 'bank' }] })
    expect(channel('front.saga-replies')).toMatchObject({ role: 'replies', senders: ['bank', 'fees'] })
  })

  test('is drawn and printed with them', () => {
    const text = systemText(system)
    expect(text).toMatch(/2 +move +branch +to bank\.moves/)
    expect(text).toMatch(/2 +fee +branch +to fees\.moves/)
    expect(systemMermaid(system).match(/-\.->\|"command"\|/g)).toHaveLength(2)
  })

  test('is in the AsyncAPI document: what is sent, and where the answer goes', async () => {
    const { channels, operations } = await asyncapi({ services, info: { title: 'Bank', version: '1' } })
    expect(Object.keys(channels)).toEqual(expect.arrayContaining(['bank.moves', 'fees.moves', 'front.saga-replies']))
    const sent = Object.values(operations).filter(
      ({ action, channel }) => action === 'send' && channel.$ref.endsWith('bank.moves'),
    )
    expect(sent).toMatchObject([
      {
        reply: { channel: { $ref: '#/channels/front.saga-replies' } },
        'x-concordat': { service: 'front', sagas: ['transfer'] },
      },
    ])
  })
})
