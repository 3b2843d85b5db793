import { systemMermaid, systemText } from '@concordat/cli'
import { importStateMachine } from '@concordat/state-language'
import { describeSystem } from 'concordat/operator'
import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'

const none = { invoke: () => 1, compensate: 'none' } as const
const delivery = defineSaga('delivery', { version: 1, input: z.object({}) })
  .each('pack', { over: () => [1], invoke: () => 1, compensate: () => {} })
  .choose('route', () => 'air', {
    air: (saga) => saga.step('fly', none).step('land', none),
    road: (saga) => saga.step('drive', none),
    none: (saga) => saga,
  })
  .step('end', none)
const machine = importStateMachine(
  { Name: 'machine', StartState: 'Succeed', States: { Succeed: { Type: 'Succeed' } } },
  { services: {} },
)
const system = describeSystem([{ name: 'shop', sagas: [delivery, machine] }])

test('a list and a choice are part of the picture, with the branches of each step', () => {
  expect(system.services[0]?.sagas[0]?.steps).toMatchObject([
    { name: 'pack', kind: 'each', compensates: true, chooses: null, choices: [], waits: false },
    { name: 'route', kind: 'choice', chooses: ['air', 'road', 'none'], waits: false },
    { name: 'fly', choices: [{ of: 'route', is: 'air' }] },
    { name: 'land', choices: [{ of: 'route', is: 'air' }] },
    { name: 'drive', choices: [{ of: 'route', is: 'road' }] },
    { name: 'end', choices: [] },
  ])
  const text = systemText(system)
  expect(text).toMatch(/pack +each +- +can be undone/)
  expect(text).toMatch(/route +choice +- +one of air, road, none/)
  expect(text).toMatch(/land +local +- +if route is air/)
})

test('is drawn with a way for each branch, also for the one that has no steps', () => {
  const drawn = systemMermaid(system)
  expect(drawn).toContain('s0g0t0@{ shape: procs, label: "pack" }')
  expect(drawn).toContain('s0g0t1{"route"}')
  const edges = Array.from(drawn.matchAll(/s0g0t(\d) --> s0g0t(\d)/g), ([, from, to]) => `${from}${to}`)
  expect(edges.toSorted()).toEqual(['01', '12', '14', '15', '23', '35', '45'])
})

test('a machine of the state language is one step: what it does is for its JSON to say', () => {
  expect(system.services[0]?.sagas[1]?.steps).toMatchObject([{ name: 'machine', kind: 'machine', pivot: true }])
})
