import { systemMermaid, systemText } from '@concordat/cli'
import { defineChannel } from 'concordat/binder'
import { describeSystem } from 'concordat/operator'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { describedByBinder, orders, shop } from '../support/shop.ts'

const system = describeSystem(shop)
const service = (name: string) => system.services.find((each) => each.name === name)
const channel = (name: string) => system.channels.find((each) => each.name === name)

describe('the picture of all services', () => {
  test('is JSON, whether a service is given or what it declares', () => {
    expect(JSON.parse(JSON.stringify(system))).toEqual(system)
    expect(describeSystem([orders.describe()])).toEqual(describeSystem([orders]))
  })

  test('has the bindings and destinations that a binder of the same declarations has', () => {
    const { bindings, destinations } = describedByBinder()
    expect(service('audit')?.bindings).toMatchObject(
      bindings.map(({ name, kind, input, group, deadLetters }) => ({ name, kind, input, group, deadLetters })),
    )
    for (const { name, role, partitions } of destinations) expect(channel(name)).toMatchObject({ role, partitions })
  })

  test('knows who sends to a channel and who reads it', () => {
    expect(channel('orders.placed')).toMatchObject({
      senders: ['orders'],
      readers: [
        { service: 'orders', group: 'orders' },
        { service: 'payments', group: 'payments' },
        { service: 'audit', group: 'audit' },
      ],
      otherGroups: [],
    })
    expect(channel('orders.placed.payments.dlq')).toMatchObject({
      role: 'dead-letters',
      of: 'orders.placed',
      senders: ['payments'],
      otherGroups: ['redrive'],
    })
    expect(channel('orders.placed.orders.retry')).toMatchObject({ role: 'retries', senders: ['orders'] })
  })

  test('knows the ways of sagas: commands, replies, signals', () => {
    expect(channel('payments.commands')).toMatchObject({ senders: ['orders'], readers: [{ service: 'payments' }] })
    expect(channel('orders.saga-replies')).toMatchObject({ role: 'replies', senders: ['payments'] })
    expect(channel('orders.approved')).toMatchObject({
      senders: ['admin'],
      readers: [{ service: 'orders', group: 'orders.sagas' }],
    })
    expect(service('orders')?.sagas.map(({ name }) => name)).toEqual(['buy', 'deliver'])
    expect(service('orders')?.sagas[0]?.steps).toMatchObject([
      { name: 'reserve', kind: 'local', compensates: true },
      { name: 'charge', kind: 'command', to: 'payments.commands' },
      { name: 'approve', kind: 'signal', from: 'orders.approved' },
      { name: 'confirm', pivot: true },
      { name: 'deliver', kind: 'saga', saga: 'deliver' },
    ])
  })

  test('knows requests and their answers', () => {
    expect(channel('quotes.answers.orders')).toMatchObject({
      role: 'replies',
      senders: ['payments'],
      readers: [{ service: 'orders', group: null }],
    })
  })

  test('knows roles, jobs and clusters', () => {
    expect(service('orders')).toMatchObject({
      leads: ['pricing'],
      schedules: [{ role: 'nightly', jobs: [{ name: 'close', when: '0 3 * * * Europe/Berlin' }] }],
      cluster: null,
    })
    expect(service('payments')?.schedules).toEqual([
      { role: 'settlement', jobs: [{ name: 'settle', when: 'every 60 s' }] },
    ])
    expect(service('audit')?.cluster).toBe('shop')
  })
})

describe('as text', () => {
  const text = systemText(system)

  test('the text has a line for each binding, step, role and channel', () => {
    expect(text).toMatch(/^ {2}orders\.placed\.payments +processor +orders\.placed +payments +orders\.paid$/m)
    expect(text).toMatch(/^ {2}saga buy v3, within 60 s$/m)
    expect(text).toMatch(/^ {4}2 +charge +command +to payments\.commands +can be undone$/m)
    expect(text).toMatch(/^ {4}4 +confirm +local +- +point of no return$/m)
    expect(text).toMatch(/^ {2}schedule settlement: settle \(every 60 s\)$/m)
    expect(text).toMatch(/^orders\.paid +channel +4 +payments +audit \(each instance\)$/m)
  })

  test('the text names channels without readers or senders', () => {
    expect(text).toMatch(/^orders\.large .*no readers$/m)
    const lonely = systemText(describeSystem([shop[1] as (typeof shop)[number]]))
    expect(lonely).toMatch(/^orders\.placed .*no senders$/m)
  })
})

describe('as Mermaid', () => {
  test('the diagram has a node for each service and channel, an edge for each way, a box for each saga', () => {
    const lines = systemMermaid(system).split('\n')
    const id = (label: string): string =>
      /^ +(\w+)/.exec(lines.find((line) => line.includes(`"${label}`)) ?? '')?.[1] ?? '?'
    expect(lines[0]).toBe('flowchart LR')
    expect(lines).toContain(`  ${id('orders<br>')} --> ${id('orders.placed')}`)
    expect(lines).toContain(`  ${id('orders.placed')} -->|"payments"| ${id('payments<br>')}`)
    expect(lines).toContain('  subgraph s0g0["saga buy v3"]')
    expect(lines).toContain('    s0g0t0 --> s0g0t1')
    expect(lines).toContain('    s0g0t3[["confirm"]]')
    expect(lines).toContain(`  s0g0t1 -.->|"command"| ${id('payments.commands')}`)
    expect(lines).toContain(`  ${id('orders.approved')} -.->|"signal"| s0g0t2`)
    expect(lines.filter((line) => line.includes('dlq'))).toEqual([])
  })

  test('a name can not leave its label', () => {
    const sent = defineChannel('a', { payload: z.object({}) })
    const leads = { 'x"] --> y["<b>#1\n': () => undefined }
    const drawn = systemMermaid(describeSystem([{ name: 'evil', sends: [sent], leads }]))
    expect(drawn).toContain('s0["evil<br>leads x#quot;] --#gt; y[#quot;#lt;b#gt;#35;1 "]')
  })
})

test('a service tells what it declares, also when it is closed', async () => {
  const declared = orders.describe()
  expect(Object.isFrozen(declared)).toBe(true)
  expect(declared).toMatchObject({ name: 'orders', leads: { pricing: expect.any(Function) } })
  expect(declared.bindings).toHaveLength(2)
})
