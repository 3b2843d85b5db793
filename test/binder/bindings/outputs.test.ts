import { channelAt, defineChannel, processor, several, source, to } from 'concordat/binder'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { keeper, NO_PAUSE, running } from '../support/run.ts'

const input = defineChannel('input', { payload: z.number(), groups: ['g'] })
const output = defineChannel('output', { payload: z.number(), key: (n) => `k${n}` })
const texts = defineChannel('texts', { payload: z.string() })

describe('a destination named at run time', () => {
  it('sends with the schema, the key and the type of its channel', async () => {
    const { got, binding } = keeper(channelAt(output, 'output.eu'))
    const app = await running({ bindings: [binding] })
    await app.send(output, 4, { destination: 'output.eu' })
    await app.sendBatch(output, [5, 6], (n) => ({ destination: n === 5 ? 'output.eu' : 'output.us', id: `n-${n}` }))
    await until('both came', () => got.length === 2)
    expect(got.map(({ payload, key }) => [payload, key])).toEqual([
      [4, 'k4'],
      [5, 'k5'],
    ])
    expect(got[1]?.id).toBe('n-5')
    await expect(app.send(output, 'x' as never, { destination: 'output.eu' })).rejects.toMatchObject({
      code: 'core.schema',
    })
  })

  it.for([['a b'], [''], ['..'], ['x'.repeat(201)], [7]])(
    'is refused when it has no legal name: %o',
    async ([name]) => {
      const app = await running()
      await expect(app.send(output, 1, { destination: name as string })).rejects.toThrow(
        'destination of "output": expected a name of 1 to 200 characters',
      )
    },
  )

  it('may be where a processor or a source sends to', async () => {
    const eu = keeper(channelAt(output, 'output.eu'))
    const from = keeper(channelAt(texts, 'texts.polled'))
    const binding = processor(input, output, { group: 'g' }, (n) => to('output.eu', n + 1))
    let polled = false
    const poll = source(texts, { everyMs: 60_000 }, () => {
      if (polled) return undefined
      polled = true
      return to('texts.polled', 'hello')
    })
    const app = await running({ bindings: [binding, poll, eu.binding, from.binding] })
    await app.send(input, 1)
    await until('both came', () => eu.got.length === 1 && from.got.length === 1)
    expect([eu.got[0]?.payload, from.got[0]?.payload]).toEqual([2, 'hello'])
  })
})

describe('outputs of one call', () => {
  it('may go to several channels, each with key and headers of its own and an id that follows from the input', async () => {
    const own = keeper(output)
    const eu = keeper(channelAt(output, 'output.eu'))
    const told = keeper(texts)
    let calls = 0
    const binding = processor(input, output, { group: 'g', backoff: NO_PAUSE }, (n) => {
      calls++
      return several([
        n,
        to('output.eu', n, { key: 'own' }),
        to(texts, `it is ${n}`, { headers: { tenant: 'north' } }),
        to(texts, `it is ${n}`),
      ])
    })
    const app = await running({ bindings: [binding, own.binding, eu.binding, told.binding] })
    await app.send(input, 3, { id: 'i-1' })
    await app.send(input, 3, { id: 'i-1' })
    await until('all came twice', () => own.got.length === 2 && eu.got.length === 2 && told.got.length === 4)
    expect(calls).toBe(2)
    expect(eu.got[0]).toMatchObject({ payload: 3, key: 'own' })
    expect(told.got.filter(({ headers }) => headers['tenant'] === 'north')).toHaveLength(2)
    expect(new Set([...own.got, ...eu.got, ...told.got].map(({ id }) => id)).size).toBe(4)
  })

  it('are refused with an id, or under no legal name', () => {
    expect(() => to(output, 1, { id: 'mine' } as never)).toThrow('the ids of outputs follow from their input')
    expect(() => to('a b', 1)).toThrow('to: expected a name of 1 to 200 characters')
    expect(() => to({} as typeof output, 1)).toThrow('to: expected what defineChannel returned')
  })

  it('fail the attempt when one of them does not fit its channel', async () => {
    const told = keeper(texts)
    const binding = processor(input, output, { group: 'g' }, (n) =>
      several([to(texts, 'fits'), to(output, String(n) as never)]),
    )
    const app = await running({ bindings: [binding, told.binding] })
    await app.send(input, 3)
    await until('it is dead-lettered', () => app.binding('input.g').status().deadLettered === 1)
    expect(told.got).toEqual([])
  })
})

it('sendBatch takes a function for its options', async () => {
  const app = await running()
  await expect(app.sendBatch(output, [1], { id: 'x' } as never)).rejects.toThrow(
    'sendBatch options: expected a function',
  )
})
