import { type Acknowledgement, type Bus, ConfigChanged, defineEvent, onEvent, SetLogLevel } from 'concordat/bus'
import type { createMembership, createSharedState } from 'concordat/cluster'
import { describe, expectTypeOf, it } from 'vitest'
import { z } from 'zod'

declare const bus: Bus
const Limit = defineEvent('limit', { payload: z.object({ at: z.string().transform(Number) }) })
const to = '**'

describe('types of the bus', () => {
  it('publish returns answers only on request', () => {
    expectTypeOf(bus.publish(Limit, { at: '1' }, { to })).resolves.toEqualTypeOf<{ readonly id: string }>()
    expectTypeOf(bus.publish(Limit, { at: '1' }, { to, ack: true })).resolves.toEqualTypeOf<Acknowledgement>()
    expectTypeOf(bus.publish(Limit, { at: '1' }, { to, ackTimeoutMs: 1 })).resolves.toEqualTypeOf<Acknowledgement>()
  })

  it('a publisher gives the input, a handler gets the output', () => {
    onEvent(Limit, (payload) => void expectTypeOf(payload).toEqualTypeOf<{ at: number }>())
    bus.on(Limit, ({ at }) => void expectTypeOf(at).toEqualTypeOf<number>())
    // @ts-expect-error -- a number is the output
    void bus.publish(Limit, { at: 1 }, { to })
    // @ts-expect-error -- no such level
    void bus.publish(SetLogLevel, { level: 'loud' }, { to })
    // @ts-expect-error -- an event has a recipient
    void bus.publish(ConfigChanged, { name: 'a' }, {})
  })

  it('a config has the type of its schema, and a shared state is good to load from', () => {
    const settings = {} as ReturnType<typeof createSharedState<unknown>>
    const config = bus.config('rates', {
      schema: z.object({ eur: z.number() }),
      initial: { eur: 1 },
      load: () => settings.get('rates'),
    })
    expectTypeOf(config.value).toEqualTypeOf<{ eur: number }>()
    // @ts-expect-error -- the beginning has the schema's type, too
    bus.config('rates', { schema: z.object({ eur: z.number() }), initial: { eur: 'x' } })
  })

  it('the members of a cluster are members for the bus', () => {
    const membership = {} as ReturnType<typeof createMembership>
    const members = (): ReturnType<typeof membership.members> => membership.members()
    expectTypeOf(members).toExtend<NonNullable<Parameters<typeof import('concordat/bus').createBus>[0]['members']>>()
  })
})
