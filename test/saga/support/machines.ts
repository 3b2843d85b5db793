/** Machines of the state language and their services, and the outcome of a run. */

import { importStateMachine, type StateExecution, type StateMachineOutcome } from '@concordat/state-language'
import { defineSaga } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { z } from 'zod'
import type { SagaOutcome } from '../../support/inside/saga.ts'
import { closeEmbedded, openEmbedded, setupWorld, type World } from './world.ts'

export type Params = Readonly<Record<string, unknown>>
type Json = Readonly<Record<string, unknown>>

export class DemoError extends Error {}

/**
 * Calls in order, and the scripted outcomes of the next ones of each service: throw an error, or return a value; else
 * `true`.
 */
export class Shop {
  readonly calls: string[] = []
  readonly #plans = new Map<string, unknown[]>()

  plan(name: string, ...results: unknown[]): this {
    this.#plans.set(name, results)
    return this
  }

  call(name: string, ...params: unknown[]): unknown {
    this.calls.push(
      [name, ...params.map((param) => (typeof param === 'string' ? param : JSON.stringify(param)))].join(' '),
    )
    const next = this.#plans.get(name)?.shift()
    if (next instanceof Error) throw next
    return next === undefined ? true : next
  }
}

/** A service of two methods, for each name. */
export function services(shop: Shop, ...names: readonly string[]) {
  const method =
    (name: string) =>
    (...params: unknown[]) =>
      shop.call(name, ...params)
  return Object.fromEntries(
    names.map((name) => [name, { reduce: method(`${name}.reduce`), compensate: method(`${name}.compensate`) }]),
  )
}

export function task(service: string, method: string, more: Json = {}): Json {
  return { Type: 'ServiceTask', ServiceName: service, ServiceMethod: method, ...more }
}

export const CATCH_ALL = [{ Exceptions: ['java.lang.Throwable'], Next: 'CompensationTrigger' }]
export const BY_RESULT = { '#root == true': 'SU', '#root == false': 'FA', '$Exception{java.lang.Throwable}': 'UN' }

/** The ends that nearly every machine has. */
export const ENDS: Json = {
  CompensationTrigger: { Type: 'CompensationTrigger', Next: 'Fail' },
  Succeed: { Type: 'Succeed' },
  Fail: { Type: 'Fail', ErrorCode: 'PURCHASE_FAILED', Message: 'purchase failed' },
}

export function machine(name: string, start: string, states: Json): Json {
  return { Name: name, Comment: name, Version: '0.0.1', StartState: start, States: { ...states, ...ENDS } }
}

/** Two services, each with a compensation, a choice between them; an exception of the second one is caught. */
export const reduceMachine = machine('reduceInventoryAndBalance', 'ReduceInventory', {
  ReduceInventory: task('inventory', 'reduce', {
    CompensateState: 'CompensateReduceInventory',
    Next: 'ChoiceState',
    Input: ['$.[businessKey]', '$.[count]'],
    Output: { reduceInventoryResult: '$.#root' },
    Status: BY_RESULT,
  }),
  ChoiceState: {
    Type: 'Choice',
    Choices: [{ Expression: '[reduceInventoryResult] == true', Next: 'ReduceBalance' }],
    Default: 'Fail',
  },
  ReduceBalance: task('balance', 'reduce', {
    CompensateState: 'CompensateReduceBalance',
    Input: ['$.[businessKey]', { amount: '$.[amount]' }],
    Output: { reduceBalanceResult: '$.#root' },
    Status: BY_RESULT,
    Catch: CATCH_ALL,
    Next: 'Succeed',
  }),
  CompensateReduceInventory: task('inventory', 'compensate', { Input: ['$.[businessKey]'] }),
  CompensateReduceBalance: task('balance', 'compensate', { Input: ['$.[businessKey]'] }),
})

/** Outcome of a machine in short: the saga's status, that of the machine, that of its compensations. */
export type End = readonly [saga: string, status: string, compensation: string | null]

export interface Ran {
  readonly run: Awaited<ReturnType<Coordinator['start']>>
  readonly coordinator: Coordinator
  /** Present state. */
  readonly end: () => Promise<End>
  readonly outcome: () => Promise<StateMachineOutcome>
  /** `ReduceBalance UN, CompensateReduceBalance SU`. */
  readonly states: () => Promise<string>
  readonly order: (action: 'retry' | 'skip' | 'compensate') => Promise<End>
}

type Importing = Parameters<typeof importStateMachine>[1]
export type RunMachine = (json: unknown, options: Importing, input?: Params) => Promise<Ran>

/**
 * Creates the function that starts a machine on the file's database, by a coordinator that knows no other one. Call it
 * once in a file. The saga is called `m1`, `m2` and so on, its id is `x`.
 */
export function machineRunner(): RunMachine {
  const open: Coordinator[] = []
  let world: World | undefined
  let count = 0
  beforeAll(async () => {
    await openEmbedded()
    const none = defineSaga('none', { version: 1, input: ANYTHING }).timer('none', { delay: 0 })
    world = await setupWorld({ sagas: [none] })
  }, 120_000)
  afterEach(async () => {
    for (const coordinator of open.splice(0)) await coordinator.close()
  })
  afterAll(async () => {
    await world?.close()
    await closeEmbedded()
  })
  return async (json, options, input = {}) => {
    const saga = importStateMachine(json, { ...options, name: `m${++count}` })
    const coordinator = (world as World).another({ sagas: [saga] })
    open.push(coordinator)
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 'x', input: { businessKey: 'b-1', ...input } })
    return ranOf(coordinator, run)
  }
}

const ANYTHING = z.object({})

function ranOf(coordinator: Coordinator, run: Ran['run']): Ran {
  const wait = async () => (await run.outcome({ timeoutMs: 10_000 })) as SagaOutcome<{ outcome: StateMachineOutcome }>
  const outcome = async () => (await wait()).results.outcome as StateMachineOutcome
  const end = async (): Promise<End> => {
    const { status, compensationStatus = null } = await outcome()
    return [(await wait()).status, status, compensationStatus]
  }
  return {
    run,
    coordinator,
    end,
    outcome,
    states: async () => listed((await outcome()).states).join(', '),
    order: async (action) => {
      await end()
      await coordinator[action](run, { by: 'ann', reason: 'looked at it' })
      return end()
    },
  }
}

function listed(states: readonly StateExecution[]): readonly string[] {
  return states.flatMap(({ name, status, isSuperseded, states: within = [] }) => [
    `${name} ${status}${isSuperseded ? ' (again)' : ''}`,
    ...listed(within).map((state) => `.${state}`),
  ])
}
