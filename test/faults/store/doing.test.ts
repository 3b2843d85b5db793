import { describe, it } from 'vitest'
import type { Event } from '../harness/events.ts'
import { Doing } from './doing.ts'

let at = 0
const event = (op: string, type: Event['type'], token?: number): Event => ({ at: ++at, process: 'w1', op, type, token })

function granted(token: number): Doing {
  const doing = new Doing()
  doing.heard(event('acquire', 'invoke'))
  doing.heard(event('acquire', 'ok', token))
  return doing
}

describe('the activity of a worker, by its events', () => {
  it('stays from its first write to the end of its section', ({ expect }) => {
    const doing = granted(1)
    expect(doing.lingers).toBe(false)
    doing.heard(event('lingers', 'note', 1))
    expect(doing.lingers).toBe(true)
    doing.heard(event('release', 'invoke', 1))
    expect(doing).toMatchObject({ lingers: false, held: { token: 1 } })
    doing.heard(event('release', 'ok', 1))
    expect(doing).toMatchObject({ lingers: false, held: undefined })
  })

  it('does not stay by a write that was answered when its section was over', ({ expect }) => {
    const doing = granted(1)
    doing.heard(event('release', 'invoke', 1))
    doing.heard(event('lingers', 'note', 1))
    expect(doing.lingers, 'while it leaves').toBe(false)
    doing.heard(event('release', 'ok', 1))
    doing.heard(event('lingers', 'note', 1))
    expect(doing.lingers, 'when it has left').toBe(false)
    doing.heard(event('acquire', 'invoke'))
    doing.heard(event('acquire', 'ok', 5))
    doing.heard(event('lingers', 'note', 1))
    expect(doing.lingers, 'in its next section').toBe(false)
    doing.heard(event('lingers', 'note', 5))
    expect(doing.lingers).toBe(true)
  })
})
