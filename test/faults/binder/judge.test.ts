import { describe, expect, it } from 'vitest'
import type { Event } from '../harness/events.ts'
import { Verdicts } from '../harness/verdicts.ts'
import { judge, type Known, latenciesOf } from './judge.ts'

/** `p work k/0 10-12`: process p handled message 0 of key k from 10 to 12; `10-` never ended, `10-12!` failed. */
function step(text: string, more: { readonly message?: string } = {}): Event[] {
  const [process = '', op = '', name = '', time = ''] = text.split(' ')
  const [key = '', n = ''] = name.split('/')
  const [from = '', to = ''] = time.split('-')
  const message = more.message ?? (op === 'audit' ? `out ${name}` : name)
  const line = { process: `${process}.0`, op, key, n: Number(n), message, id: text }
  const begin: Event = { ...line, at: Number(from), type: 'invoke' }
  if (to === '') return [begin]
  const failed = op === 'send' || op === 'delay' ? 'info' : 'fail'
  return [begin, { ...line, at: Number.parseInt(to, 10), type: to.endsWith('!') ? failed : 'ok' }]
}

const GOOD = [
  's send k/0 1-2',
  'p work k/0 3-5',
  'q audit k/0 6-7',
  's send k/1 8-9',
  'p work k/1 10-12',
  'q audit k/1 13-14',
].flatMap((text) => step(text))

function violated(events: readonly Event[], more: Partial<Known> = {}): Record<string, readonly string[]> {
  const verdicts = new Verdicts()
  const known: Known = {
    transport: 'kafka',
    events: [...events].sort((a, b) => a.at - b.at),
    faults: [],
    cutOff: [],
    killed: new Map(),
    absent: [],
    failures: [],
    ...more,
  }
  judge(known, verdicts)
  const bad = verdicts.all().filter(({ holds }) => !holds)
  return Object.fromEntries(bad.map(({ invariant, evidence }) => [invariant, evidence]))
}

describe('judge', () => {
  it('finds nothing in a correct history, and judges every invariant', () => {
    expect(violated(GOOD)).toEqual({})
    expect(latenciesOf(GOOD)).toEqual([5, 5])
  })

  it('finds an accepted message that was not handled, and an output that was not', () => {
    const events = [...GOOD, ...step('s send k/2 20-21'), ...step('s send k/3 22-23'), ...step('p work k/3 24-25')]
    expect(violated(events)['nothing is lost']).toEqual([
      'kafka: k/2 was accepted, and it was never handled to the end',
      'kafka: k/3 was accepted, and its output was never handled to the end',
    ])
  })

  it('does not miss a message whose acceptance is unknown', () => {
    expect(violated([...GOOD, ...step('s send k/2 20-21!'), ...step('s send k/2 22-')])).toEqual({})
  })

  it('finds a skip, also of a message whose handler did not end', () => {
    const skip = [...GOOD, ...step('p work k/2 20-21!'), ...step('p work k/3 22-23')]
    expect(violated(skip)['in order']).toEqual(['kafka: work k/3 (p, 22.0 to 23.0) began, and 2 was not handled yet'])
  })

  it('finds a lost delayed message, an early one, an early retry, and a repeated one', () => {
    const sent = (text: string) => step(text).map((event) => ({ ...event, delayMs: 100 }))
    const tried = (text: string, attempt: number) => step(text).map((event) => ({ ...event, attempt }))
    const good = [
      ...sent('s delay d/0 10-12'),
      ...tried('p remind d/0 111-120!', 1),
      ...tried('q remind d/0 821-830', 2),
    ]
    expect(violated(good)).toEqual({})
    expect(violated([...good, ...sent('s delay d/1 20-22'), ...step('p remind d/1 130-')])['nothing is lost']).toEqual([
      'kafka: d/1 was accepted for later, and it was never handled to the end',
    ])
    const early = [...sent('s delay d/1 20-22'), ...step('p remind d/1 90-95')]
    expect(violated(early)['none early']).toEqual(['kafka: attempt 1 of remind d/1 (p) began 25.0 ms early'])
    const hasty = [...good.slice(0, 4), ...tried('q remind d/0 715-720', 2)]
    expect(violated(hasty)['none early']).toHaveLength(1)
    expect(violated([...good, ...tried('q remind d/0 900-910', 2)])['repeats at faults']).toHaveLength(1)
    expect(violated([...good, ...sent('s delay d/0 13-14!'), ...tried('q remind d/0 900-910', 2)])).toEqual({})
  })

  it('allows a suffix to come again after a fault, and not without', () => {
    const again = [...GOOD, ...step('r work k/0 20-21'), ...step('r work k/1 22-23')]
    expect(violated(again, { faults: [{ from: 15, to: 30 }] })).toEqual({})
    expect(violated(again, { faults: [{ from: 4, to: 5 }] })['repeats at faults']).toHaveLength(1)
    expect(violated(again)['repeats at faults']).toHaveLength(2)
  })

  it('allows a repeat of a message that its sender repeated', () => {
    expect(violated([...step('s send k/0 0-1!'), ...GOOD, ...step('r work k/0 20-21')])).toEqual({})
  })

  it('finds two of one key at once, unless one was cut off or killed', () => {
    const twice = [...GOOD, ...step('p work k/2 20-30'), ...step('q work k/2 25-28')]
    const more = { faults: [{ from: 15, to: 40 }] }
    expect(violated(twice, more)['one at a time']).toEqual([
      'kafka: work k/2 (q, 25.0 to 28.0) began while work k/2 (p, 20.0 to 30.0) was running',
    ])
    expect(violated(twice, { ...more, cutOff: [{ process: 'p', from: 22, to: 40 }] })).toEqual({})
    expect(violated(twice, { ...more, cutOff: [{ process: 'r', from: 22, to: 40 }] })).not.toEqual({})
    const killed = [...GOOD, ...step('p work k/2 20-'), ...step('q work k/2 25-28')]
    expect(violated(killed, { ...more, killed: new Map([['p', 24]]) })).toEqual({})
  })

  it('finds another id, of a message and of its output', () => {
    const more = { faults: [{ from: 0, to: 40 }] }
    expect(violated([...GOOD, ...step('p work k/0 20-21', { message: 'x' })], more)['same id']).toHaveLength(1)
    expect(violated([...GOOD, ...step('p audit k/0 20-21', { message: 'x' })], more)['same id']).toHaveLength(1)
    expect(violated([...GOOD, ...step('p audit k/0 20-21')], more)).toEqual({})
  })

  it('names processes that did not come back and failures', () => {
    expect(violated(GOOD, { absent: ['p: not "up"'], failures: ['q ended by itself'] })).toEqual({
      'all come back': ['kafka: p: not "up"'],
      'no process fails': ['kafka: q ended by itself'],
    })
  })
})
