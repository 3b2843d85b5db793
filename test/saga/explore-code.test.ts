import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { httpTarget } from 'concordat/saga/http'
import { explore } from 'concordat/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SagaShape } from '../support/inside/saga.ts'

const moves = defineChannel('moves', { payload: z.object({}) })
const byMessage = defineBranch('message', { to: moves })
const byHttp = defineBranch('http', {
  to: httpTarget(moves, { url: 'http://localhost/moves' }),
  retry: { maxAttempts: 2 },
})
const transfer = defineGlobalTransaction('transfer', { input: z.object({}), branches: [byMessage, byHttp] })
const plain = { ...transfer, steps: transfer.steps, branches: transfer.branches } as SagaShape

describe('a global transaction under every fault', () => {
  test('is confirmed or cancelled as a whole, or stuck in one of both', () => {
    const { runs, problems, stuck, left } = explore(transfer)
    expect(problems).toEqual([])
    expect(left).toEqual([])
    expect(new Set(runs.map(({ end }) => end))).toEqual(new Set(['completed', 'compensated', 'stuck']))
    for (const { faults } of stuck) expect(faults.some(({ operation }) => operation !== 'invoke')).toBe(true)
  })

  test('an error or a death of the code cancels it, after any calls', () => {
    const { runs } = explore(transfer, { faults: 0 })
    const ended = runs.filter(({ faults }) => faults.some(({ step }) => step === 'code'))
    expect(ended.length).toBeGreaterThan(20)
    expect(ended.filter(({ end, effects }) => end !== 'compensated' || effects.length > 0)).toEqual([])
    const others = runs.filter((run) => !ended.includes(run))
    expect(others.every(({ end, effects }) => end === 'completed' && effects.length === 2)).toBe(true)
  })

  test('code may continue without a branch that was refused', () => {
    const { runs } = explore(transfer)
    const without = runs.filter(({ end, effects }) => end === 'completed' && effects.length === 1)
    expect(new Set(without.flatMap(({ faults }) => faults.map(({ fault }) => fault)))).toEqual(new Set(['refuses']))
  })

  test('explore allows several calls of one branch', () => {
    const { runs, problems } = explore(transfer, { calls: ['http', 'http', 'message'], faults: 1 })
    expect(problems).toEqual([])
    expect(runs.find(({ end }) => end === 'completed')?.effects).toEqual(['1.http', '2.http', '3.message'])
  })

  test('a branch without an undo is reported as one that leaves something', () => {
    const without = (name: 'message' | 'http', facts: object): SagaShape => {
      const branches = { ...plain.branches } as Record<string, NonNullable<typeof plain.branches>[string]>
      return {
        ...plain,
        branches: { ...branches, [name]: { ...(branches[name] as never as object), ...facts } as never },
      }
    }
    expect(explore(without('http', { compensates: false })).left.length).toBeGreaterThan(0)
  })

  test('explore refuses an unfitting definition', () => {
    expect(() => explore(transfer, { calls: ['other'] })).toThrow(
      /explore\.calls: expected branches out of message, http/,
    )
    const saga = defineSaga('s', { version: 1, input: z.object({}) }).step('a', {
      invoke: () => {},
      compensate: 'none',
    })
    expect(() => explore(saga, { calls: [] })).toThrow(/explore\.calls/)
  })
})
