import { createMembership, createSharedState } from 'concordat/cluster'
import { memoryStateStore } from 'concordat/memory'
import { redisStateStore } from 'concordat/redis'
import { Cluster, Redis } from 'ioredis'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { BusOptions } from '../../support/inside/bus.ts'
import type { Member, StateEntry } from '../../support/inside/election.ts'

const store = memoryStateStore()

test('the schema of a state types reads and writes', () => {
  const schema = z.object({ at: z.coerce.date(), n: z.number().default(1) })
  const state = createSharedState({ store, name: 's', schema })
  expectTypeOf<(typeof state)['get']>().returns.resolves.toEqualTypeOf<
    StateEntry<{ at: Date; n: number } | undefined>
  >()
  expectTypeOf<(typeof state)['put']>().parameter(1).toExtend<{ n?: number | undefined }>()
  // @ts-expect-error -- not what the schema takes
  void state.put('k', { at: 1, n: 'x' })
})

test('a state without a schema has the type that it is given, or unknown', () => {
  const anything = createSharedState({ store, name: 's' })
  expectTypeOf<ReturnType<typeof createSharedState<number>>['get']>().returns.resolves.toEqualTypeOf<
    StateEntry<number | undefined>
  >()
  expectTypeOf<(typeof anything)['get']>().returns.resolves.toEqualTypeOf<StateEntry<unknown>>()
})

test('an operation of a transaction is one of three', () => {
  const state = createSharedState<number>({ store, name: 's' })
  void state.transact([{ put: 'a', value: 1 }, { delete: 'b' }, { check: 'c', ifVersion: 0 }])
  // @ts-expect-error -- what to compare with
  void state.transact([{ check: 'c' }])
  // @ts-expect-error -- no number
  void state.transact([{ put: 'a', value: 'x' }])
})

test('members fit where only names are required', () => {
  const membership = createMembership({ store, cluster: 'c', service: 's' })
  expectTypeOf<(typeof membership)['members']>().returns.toEqualTypeOf<readonly Member[]>()
  expectTypeOf<(typeof membership)['members']>().toExtend<NonNullable<BusOptions['members']>>()
  expectTypeOf<readonly Member[]>().toExtend<
    readonly { readonly service: string; readonly group?: string | undefined; readonly instance: string }[]
  >()
})

test('a client of ioredis is taken, for one server or a cluster', () => {
  redisStateStore({ client: new Redis({ lazyConnect: true }) })
  redisStateStore({ client: new Cluster([], { lazyConnect: true }) })
})
