import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../expect-within.ts'
import {
  casRegister,
  fence,
  fencedMutex,
  type LockAction,
  type RegisterAction,
  readWriteLock,
  semaphore,
  type VersionedAction,
  versionedRegister,
} from './models.ts'
import { checkEach, checkLinearizable, type Model, type Operation } from './wgl.ts'

/** Times are small whole numbers, so that ties happen. */
type Step = readonly [process: number, kind: number, value: number, gap: number, fate: number]

const steps = (maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(fc.tuple(fc.nat(3), fc.nat(9), fc.nat(3), fc.nat(2), fc.nat(19)), { minLength: 1, maxLength })

/**
 * Runs four processes against an atomic object. An operation takes effect now, was called some time before and returns
 * some time after, so operations of different processes overlap. `fate` 0: its answer is lost, and another process
 * takes its place; 1: it was lost before it happened.
 */
function record<Action>(
  all: readonly Step[],
  perform: (kind: number, value: number) => { answered: Action; unknown: Action } | undefined,
): Operation<Action>[] {
  const operations: Operation<Action>[] = []
  const idleSince = [0, 0, 0, 0]
  const generation = [0, 0, 0, 0]
  let now = 0
  for (const [process, kind, value, gap, fate] of all) {
    const idle = idleSince[process] ?? 0
    now = Math.max(now + gap, idle)
    const done = fate === 1 ? undefined : perform(kind, value)
    if (done === undefined) continue
    const unknown = fate === 0
    operations.push({
      process: `${process}.${generation[process]}`,
      action: unknown ? done.unknown : done.answered,
      invokedAt: Math.max(idle, now - 2 * value),
      returnedAt: unknown ? Number.POSITIVE_INFINITY : now + kind,
    })
    idleSince[process] = unknown ? now : now + kind
    if (unknown) generation[process] = (generation[process] ?? 0) + 1
  }
  return operations
}

function registerHistory(all: readonly Step[]): Operation<RegisterAction<number>>[] {
  let value: number | undefined
  return record<RegisterAction<number>>(all, (kind, wanted) => {
    if (kind < 4) return { answered: { do: 'read', value }, unknown: { do: 'read', value } }
    if (kind < 7) {
      value = wanted
      const action: RegisterAction<number> = { do: 'write', value: wanted }
      return { answered: action, unknown: action }
    }
    const expected = kind === 9 ? value : wanted
    const next = wanted + 1
    const done = expected === value
    if (done) value = next
    const action = { do: 'cas', expected, value: next } as const
    return { answered: { ...action, done }, unknown: { ...action, done: undefined } }
  })
}

function versionedHistory(all: readonly Step[]): Operation<VersionedAction<number>>[] {
  let value: number | undefined
  let version = 0
  return record<VersionedAction<number>>(all, (kind, wanted) => {
    if (kind < 4) {
      const action: VersionedAction<number> = { do: 'read', value, version: value === undefined ? undefined : version }
      return { answered: action, unknown: action }
    }
    const expected = kind < 6 ? undefined : kind < 9 ? (value === undefined ? 0 : version) : wanted
    const actual = value === undefined ? 0 : version
    const next = kind === 8 ? undefined : wanted
    const action = { do: 'write', value: next, expected } as const
    const unknown = { ...action, outcome: 'unknown' } as const
    if (expected !== undefined && expected !== actual) return { answered: { ...action, outcome: 'conflict' }, unknown }
    version += 1 + (wanted % 2)
    value = next
    return { answered: { ...action, outcome: version }, unknown }
  })
}

function lockHistory(all: readonly Step[], permits: number): Operation<LockAction>[] {
  const holders: string[] = []
  let token = 0
  let grants = 0
  return record<LockAction>(all, (kind) => {
    if (kind < 6 && holders.length < permits) {
      token += 1 + (kind % 2)
      grants += 1
      holders.push(`g${grants}`)
      const action: LockAction = { do: 'acquire', holder: `g${grants}`, token }
      return { answered: action, unknown: action }
    }
    const holder = holders.shift()
    if (holder === undefined) return undefined
    const action: LockAction = { do: 'end', holder }
    return { answered: action, unknown: action }
  })
}

/** Every order, the slow and obvious way. */
function bruteForce<State, Action>(model: Model<State, Action>, all: readonly Operation<Action>[]): boolean {
  const search = (state: State, left: readonly Operation<Action>[]): boolean => {
    if (left.every(({ returnedAt }) => returnedAt === Number.POSITIVE_INFINITY)) return true
    const firstReturn = Math.min(...left.map(({ returnedAt }) => returnedAt))
    return left.some((operation) => {
      if (operation.invokedAt > firstReturn) return false
      const next = model.step(state, operation.action)
      return (
        next !== undefined &&
        search(
          next,
          left.filter((each) => each !== operation),
        )
      )
    })
  }
  return search(model.initial, all)
}

const verdictOf = <State, Action>(model: Model<State, Action>, all: readonly Operation<Action>[]): string =>
  checkLinearizable(model, all).verdict

const runs = { numRuns: 300 }

describe('the checker accepts every history of an atomic object', () => {
  it('compare-and-set register', () => {
    fc.assert(
      fc.property(steps(120), (all) => {
        expect(verdictOf(casRegister<number>(), registerHistory(all))).toBe('linearizable')
      }),
      runs,
    )
  })

  it('versioned register', () => {
    fc.assert(
      fc.property(steps(120), (all) => {
        expect(verdictOf(versionedRegister<number>(), versionedHistory(all))).toBe('linearizable')
      }),
      runs,
    )
  })

  it('lock and semaphore', () => {
    fc.assert(
      fc.property(steps(120), fc.constantFrom(1, 2, 3), (all, permits) => {
        const model = permits === 1 ? fencedMutex : semaphore(permits)
        expect(verdictOf(model, lockHistory(all, permits))).toBe('linearizable')
      }),
      runs,
    )
  })
})

describe('the checker refuses', () => {
  it('a read of a value that was never written is refused', () => {
    fc.assert(
      fc.property(steps(80), fc.nat(), (all, which) => {
        const history = registerHistory(all)
        const reads = history.filter(({ action, returnedAt }) => action.do === 'read' && Number.isFinite(returnedAt))
        fc.pre(reads.length > 0)
        const victim = reads[which % reads.length]
        const mutated = history.map((each): Operation<RegisterAction<number>> => {
          return each === victim ? { ...each, action: { do: 'read', value: 99 } } : each
        })
        expect(checkLinearizable(casRegister<number>(), mutated)).toMatchObject({
          verdict: 'not linearizable',
          stuck: { returnedAt: expect.any(Number) },
        })
      }),
      runs,
    )
  })

  it('a write that got a version given before is refused', () => {
    fc.assert(
      fc.property(steps(80), fc.nat(), (all, which) => {
        const history = versionedHistory(all)
        const writes = history.filter(({ action }) => action.do === 'write' && typeof action.outcome === 'number')
        fc.pre(writes.length > 1)
        const victim = writes[1 + (which % (writes.length - 1))]
        const outcome = (writes[0] as (typeof writes)[0]).action as { outcome: number }
        const mutated = history.map((each): Operation<VersionedAction<number>> => {
          const { action } = each
          return each === victim && action.do === 'write'
            ? { ...each, action: { ...action, outcome: outcome.outcome } }
            : each
        })
        expect(verdictOf(versionedRegister<number>(), mutated)).toBe('not linearizable')
      }),
      runs,
    )
  })

  it('a token given twice is refused', () => {
    fc.assert(
      fc.property(steps(80), fc.nat(), (all, which) => {
        const history = lockHistory(all, 1)
        const grants = history.filter(({ action, returnedAt }) => {
          return action.do === 'acquire' && Number.isFinite(returnedAt)
        })
        fc.pre(grants.length > 1)
        const victim = grants[1 + (which % (grants.length - 1))]
        const { token } = (grants[0] as (typeof grants)[0]).action as { token: number }
        const mutated = history.map((each): Operation<LockAction> => {
          return each === victim && each.action.do === 'acquire' ? { ...each, action: { ...each.action, token } } : each
        })
        expect(verdictOf(fencedMutex, mutated)).toBe('not linearizable')
      }),
      runs,
    )
  })
})

describe('the checker agrees with trying every order', () => {
  const answer = fc.record({
    process: fc.constantFrom('a', 'b', 'c'),
    invokedAt: fc.nat(12),
    lasts: fc.oneof(fc.nat(8), fc.constant(Number.POSITIVE_INFINITY)),
  })
  const history = <Action>(action: fc.Arbitrary<Action>): fc.Arbitrary<Operation<Action>[]> =>
    fc.array(
      fc.tuple(answer, action).map(([{ process, invokedAt, lasts }, action]) => {
        return { process, action, invokedAt, returnedAt: invokedAt + lasts }
      }),
      { maxLength: 7 },
    )
  const value = fc.option(fc.nat(2), { nil: undefined })
  const many = { numRuns: 3_000 }

  it('over registers', () => {
    const action: fc.Arbitrary<RegisterAction<number>> = fc.oneof(
      fc.record({ do: fc.constant('read' as const), value }),
      fc.record({ do: fc.constant('write' as const), value: fc.nat(2) }),
      fc.record({
        do: fc.constant('cas' as const),
        expected: value,
        value: fc.nat(2),
        done: fc.option(fc.boolean(), { nil: undefined }),
      }),
    )
    fc.assert(
      fc.property(history(action), (all) => {
        expect(verdictOf(casRegister<number>(), all) === 'linearizable').toBe(bruteForce(casRegister<number>(), all))
      }),
      many,
    )
  })

  it('over locks of readers and writers', () => {
    const holder = fc.constantFrom('a', 'b', 'c')
    const action: fc.Arbitrary<LockAction> = fc.oneof(
      fc.record({
        do: fc.constant('acquire' as const),
        holder,
        token: fc.integer({ min: 1, max: 6 }),
        mode: fc.constantFrom('shared' as const, 'exclusive' as const),
      }),
      fc.record({ do: fc.constant('end' as const), holder }),
    )
    fc.assert(
      fc.property(history(action), (all) => {
        expect(verdictOf(readWriteLock, all) === 'linearizable').toBe(bruteForce(readWriteLock, all))
      }),
      many,
    )
  })
})

describe('the checker', () => {
  const write = (value: number, invokedAt: number, returnedAt: number): Operation<RegisterAction<number>> => {
    return { process: 'w', action: { do: 'write', value }, invokedAt, returnedAt }
  }
  const read = (value: number, invokedAt: number, returnedAt: number): Operation<RegisterAction<number>> => {
    return { process: 'r', action: { do: 'read', value }, invokedAt, returnedAt }
  }

  it('names the operation that fits nowhere and the order it got to', () => {
    const verdict = checkLinearizable(casRegister<number>(), [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)])
    expect(verdict).toMatchObject({ verdict: 'not linearizable', stuck: { action: { do: 'read' } }, state: '2' })
    expect(verdict.verdict === 'not linearizable' && verdict.order).toHaveLength(2)
  })

  it('takes a write of unknown outcome as done at any later moment, or never', () => {
    const lost = write(7, 0, Number.POSITIVE_INFINITY)
    expect(verdictOf(casRegister<number>(), [lost, write(1, 1, 2), read(1, 3, 4), read(7, 5, 6)])).toBe('linearizable')
    expect(verdictOf(casRegister<number>(), [lost, write(1, 1, 2), read(1, 3, 4)])).toBe('linearizable')
    expect(verdictOf(casRegister<number>(), [read(7, 1, 2), { ...lost, invokedAt: 3 }])).toBe('not linearizable')
  })

  it('returns unknown at its time limit', () => {
    const hard = Array.from({ length: 40 }, (_, n) => write(n, n / 100, 50 + n / 100))
    const verdict = checkLinearizable(casRegister<number>(), [...hard, read(99, 60, 61)], { timeoutMs: 20 })
    expect(verdict).toMatchObject({ verdict: 'unknown', reason: expect.stringContaining('out of time') })
  })

  it('checks each key alone and names the first that fails', () => {
    const all = [write(1, 0, 1), read(1, 2, 3), write(10, 4, 5), read(11, 6, 7)]
    const tens = (action: RegisterAction<number>): string => (Number(action.value) < 10 ? 'small' : 'large')
    expect(checkEach(casRegister<number>(), all, tens)).toMatchObject({ key: 'large' })
    expect(checkEach(casRegister<number>(), all.slice(0, 3), tens)).toBeUndefined()
  })

  it('refuses an operation that returned before it was called', () => {
    expect(() => checkLinearizable(casRegister<number>(), [write(1, 2, 1)])).toThrow('returned before it was called')
  })

  it('lets a fence refuse only tokens older than an accepted one', () => {
    const put = (token: number, outcome: 'accepted' | 'refused', invokedAt: number) => {
      return { process: 'p', action: { token, outcome }, invokedAt, returnedAt: invokedAt + 1 }
    }
    expect(verdictOf(fence, [put(1, 'accepted', 0), put(3, 'accepted', 2), put(2, 'refused', 4)])).toBe('linearizable')
    expect(verdictOf(fence, [put(3, 'accepted', 0), put(2, 'accepted', 2)])).toBe('not linearizable')
    expect(verdictOf(fence, [put(1, 'accepted', 0), put(3, 'refused', 2)])).toBe('not linearizable')
  })

  it('checks 1 000 operations of 5 processes in well under a second', async () => {
    let value = 0
    const free = [0, 0, 0, 0, 0]
    const all = Array.from({ length: 1_000 }, (_, n): Operation<RegisterAction<number>> => {
      const process = (n * 7) % 5
      const invokedAt = Math.max(free[process] ?? 0, n - 4)
      free[process] = n + ((n * 13) % 5)
      const times = { process: `${process}`, invokedAt: Math.min(invokedAt, n), returnedAt: free[process] }
      if (n % 3 === 0) return { ...times, action: { do: 'write', value: (value = n) } }
      return { ...times, action: { do: 'read', value } }
    })
    const begun = performance.now()
    expect(verdictOf(casRegister<number>(), all)).toBe('linearizable')
    await expectWithin(performance.now() - begun, 2_000)
  })
})
