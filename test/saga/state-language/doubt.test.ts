/** Whether a state of a machine counts as "nothing was done": only when all of its calls certainly did nothing. */

import { done, due } from 'concordat/testing'
import { describe, expect, test } from 'vitest'
import { endOf, ordered, storyOf, threw } from '../support/machine-story.ts'
import { CATCH_ALL, machine, machineRunner, Shop, services, task } from '../support/machines.ts'

const ran = machineRunner()
const failing = (code: string, fields: object = {}): Error => Object.assign(new Error(code), { code, ...fields })
const unconnected = () => failing('ECONNREFUSED', { syscall: 'connect' })
const late = () => failing('ETIMEDOUT', { syscall: 'read' })
const RETRIED = [{ Exceptions: ['java.lang.Throwable'], IntervalSeconds: 0.001, MaxAttempts: 1 }]
const charge = (more: object = {}) =>
  machine('charge', 'A', {
    A: task('a', 'reduce', { CompensateState: 'B', Catch: CATCH_ALL, Next: 'Succeed', ...more }),
    B: task('a', 'compensate'),
  })
const UNSENT = { thrown: { names: ['Error', 'ECONNREFUSED', 'ConnectException'], message: 'refused', unsent: true } }

describe('an update that could not connect at its last call', () => {
  test.each([
    ['is undone when an earlier call timed out', [late(), unconnected()], RETRIED, ['compensated', 'UN', 'SU']],
    ['is not undone when no call could connect', [unconnected(), unconnected()], RETRIED, ['compensated', 'FA', null]],
    ['is not undone after its only call', [unconnected()], [], ['compensated', 'FA', null]],
  ])('%s', async (_, errors, retry, expected) => {
    const shop = new Shop().plan('a.reduce', ...errors)
    const { end } = await ran(charge({ Retry: retry }), { services: services(shop, 'a') })
    expect(await end()).toEqual(expected)
    expect(shop.calls.includes('a.compensate')).toBe(expected[2] === 'SU')
  })

  test('is undone when the process of an earlier call died', () => {
    const orphaned = storyOf(charge()).when(due())
    expect(endOf(orphaned.when(done('A', UNSENT), done('B', { value: true })))).toEqual(['compensated', 'UN', 'SU'])
    expect(endOf(storyOf(charge()).when(done('A', UNSENT)))).toEqual(['compensated', 'FA'])
  })

  test('is undone when a call that an operator repeats could not connect, and the first one may have had an effect', () => {
    const broken = storyOf(charge({ Catch: [] })).when(threw('A'))
    expect(endOf(broken)).toEqual(['stuck', 'UN'])
    expect(endOf(broken.when(ordered('retry'), done('A.1', UNSENT)))).toEqual(['stuck', 'UN'])
  })

  test('is undone item by item in a loop', () => {
    const looped = charge({ Loop: { Parallel: 1, Collection: '$.[items]' } })
    const first = storyOf(looped, { items: ['x', 'y'] }).when(done('A-loop-0', { value: true }))
    expect(endOf(first.when(done('A-loop-1', UNSENT), done('B', { value: true })))).toEqual(['compensated', 'UN', 'SU'])
    const inDoubt = first.when(due(), done('A-loop-1', UNSENT))
    expect(inDoubt.when(done('B', { value: true })).steps).toMatchObject({ B: 'invoked', 'B.1': 'invoking' })
  })

  test('keeps its doubt over a rule that maps the exception of the last call to FA', () => {
    const ruled = charge({ Status: { '#root == true': 'SU', '$Exception{java.lang.Throwable}': 'FA' } })
    expect(endOf(storyOf(ruled).when(threw('A')))).toEqual(['compensated', 'FA'])
    expect(endOf(storyOf(ruled).when(due(), threw('A'), done('B', { value: true })))).toEqual([
      'compensated',
      'UN',
      'SU',
    ])
  })
})

describe('an error of a call', () => {
  test.each([
    ['connect ECONNREFUSED', unconnected(), 'FA'],
    ['getaddrinfo ENOTFOUND', failing('ENOTFOUND', { syscall: 'getaddrinfo' }), 'FA'],
    [
      'an ECONNREFUSED of each address of a host',
      Object.assign(new AggregateError([unconnected(), unconnected()]), { code: 'ECONNREFUSED' }),
      'FA',
    ],
    ['read EHOSTUNREACH', failing('EHOSTUNREACH', { syscall: 'read' }), 'UN'],
    ['ECONNREFUSED without a system call', failing('ECONNREFUSED'), 'UN'],
    ['ECONNREFUSED as a cause', new Error('the mail was not sent', { cause: unconnected() }), 'UN'],
    ['connect ETIMEDOUT', failing('ETIMEDOUT', { syscall: 'connect' }), 'UN'],
  ])('%s is judged by whether the request may have been sent', async (_, error, verdict) => {
    const { outcome } = await ran(charge(), { services: services(new Shop().plan('a.reduce', error), 'a') })
    expect((await outcome()).status).toBe(verdict)
  })
})
