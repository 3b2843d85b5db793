/** Sequential objects that histories are checked against with `checkLinearizable`. */
import type { Model } from './wgl.ts'

/**
 * A lock whose grants carry rising tokens. `end` frees it: a release, or the end of the lease. Give an end whose moment
 * is not known (a holder that died, a release without an answer) the return `Infinity` and, as its call, the earliest
 * moment at which the server can have let the lock go.
 */
export type LockAction =
  | { readonly do: 'acquire'; readonly holder: string; readonly token: number; readonly mode?: 'shared' | 'exclusive' }
  | { readonly do: 'end'; readonly holder: string }

interface Held {
  readonly holders: readonly string[]
  readonly mode: 'shared' | 'exclusive'
  readonly lastToken: number
}

const free: Held = { holders: [], mode: 'exclusive', lastToken: 0 }

function heldKey({ holders, mode, lastToken }: Held): string {
  return `${lastToken} ${mode} ${holders.join(' ')}`
}

function ended(state: Held, holder: string): Held | undefined {
  if (!state.holders.includes(holder)) return undefined
  return { ...state, holders: state.holders.filter((each) => each !== holder) }
}

/** @param mayEnter may one more hold it, given who does? */
function lockModel(
  name: string,
  mayEnter: (state: Held, mode: 'shared' | 'exclusive') => boolean,
): Model<Held, LockAction> {
  return {
    name,
    initial: free,
    key: heldKey,
    step(state, action) {
      if (action.do === 'end') return ended(state, action.holder)
      const mode = action.mode ?? 'exclusive'
      if (action.token <= state.lastToken || !mayEnter(state, mode)) return undefined
      return { holders: [...state.holders, action.holder].sort(), mode, lastToken: action.token }
    },
  }
}

/** Model of a mutex: one holder at a time, tokens strictly rising in the order of grants. */
export const fencedMutex: Model<Held, LockAction> = lockModel('fenced mutex', ({ holders }) => holders.length === 0)

/** Many readers or one writer, tokens strictly rising over both. */
export const readWriteLock: Model<Held, LockAction> = lockModel('read-write lock', ({ holders, mode }, wanted) => {
  return holders.length === 0 || (mode === 'shared' && wanted === 'shared')
})

export function semaphore(permits: number): Model<Held, LockAction> {
  return lockModel(`semaphore of ${permits}`, ({ holders }) => holders.length < permits)
}

/** A mutex without tokens. */
export const mutex: Model<string, { readonly do: 'acquire' | 'end'; readonly holder: string }> = {
  name: 'mutex',
  initial: '',
  key: (holder) => holder,
  step(holder, action) {
    if (action.do === 'acquire') return holder === '' ? action.holder : undefined
    return holder === action.holder ? '' : undefined
  },
}

/** Model of the fence in front of the effect: accepts a token iff no greater one was accepted before. */
export const fence: Model<number, { readonly token: number; readonly outcome: 'accepted' | 'refused' | 'unknown' }> = {
  name: 'fence',
  initial: 0,
  key: String,
  step(last, { token, outcome }) {
    if (outcome === 'refused') return token < last ? last : undefined
    return token >= last ? token : undefined
  },
}

export type RegisterAction<V> =
  | { readonly do: 'read'; readonly value: V | undefined }
  | { readonly do: 'write'; readonly value: V }
  /** `done: undefined`: the outcome is unknown. */
  | { readonly do: 'cas'; readonly expected: V | undefined; readonly value: V; readonly done: boolean | undefined }

interface Kept<V> {
  readonly value: V | undefined
}

/** Model of a single value, compared by `===`; `undefined` is "none". */
export function casRegister<V extends string | number>(initial?: V): Model<Kept<V>, RegisterAction<V>> {
  return {
    name: 'compare-and-set register',
    initial: { value: initial },
    key: ({ value }) => JSON.stringify(value) ?? 'none',
    step(state, action) {
      if (action.do === 'write') return { value: action.value }
      if (action.do === 'read') return action.value === state.value ? state : undefined
      const fits = action.expected === state.value
      if (action.done === false) return fits ? undefined : state
      return fits ? { value: action.value } : undefined
    },
  }
}

/**
 * A register whose every change has a version. `value: undefined` deletes. `expected` makes a write conditional on the
 * version it replaces, 0 = "there is no value". `outcome`: the version it got, `conflict`, or `unknown`.
 */
export type VersionedAction<V> =
  | { readonly do: 'read'; readonly value: V | undefined; readonly version?: number | undefined }
  | {
      readonly do: 'write'
      readonly value: V | undefined
      readonly expected?: number | undefined
      readonly outcome: number | 'conflict' | 'unknown'
    }

interface Versioned<V> {
  readonly value: V | undefined
  /** `undefined`: the write that made it had an unknown outcome, so it is only known to be above `floor`. */
  readonly version: number | undefined
  /** No version up to this one may be assigned again: a deleted value returns with a greater one. */
  readonly floor: number
}

export function versionedRegister<V extends string | number>(): Model<Versioned<V>, VersionedAction<V>> {
  return {
    name: 'versioned register',
    initial: { value: undefined, version: undefined, floor: 0 },
    key: (state) => JSON.stringify([state.value, state.version, state.floor]),
    step(state, action) {
      if (action.do === 'read') {
        if (action.value !== state.value) return undefined
        return action.version === undefined || state.value === undefined ? state : seen(state, action.version)
      }
      const { expected, outcome, value } = action
      const before = expected === undefined ? state : meets(state, expected)
      // With an unknown version, "conflict" is always possible.
      if (outcome === 'conflict') return before === undefined || isVague(state, expected) ? state : undefined
      if (before === undefined) return undefined
      if (outcome === 'unknown') return { value, version: undefined, floor: before.floor }
      return outcome > before.floor ? { value, version: outcome, floor: outcome } : undefined
    },
  }
}

/** The state when its version turns out to be this one; `undefined` when it cannot be. */
function seen<V>(state: Versioned<V>, version: number): Versioned<V> | undefined {
  if (state.version !== undefined) return state.version === version ? state : undefined
  return version > state.floor ? { ...state, version, floor: version } : undefined
}

function meets<V>(state: Versioned<V>, expected: number): Versioned<V> | undefined {
  if (expected === 0) return state.value === undefined ? state : undefined
  return state.value === undefined ? undefined : seen(state, expected)
}

function isVague<V>(state: Versioned<V>, expected: number | undefined): boolean {
  return state.value !== undefined && state.version === undefined && expected !== undefined && expected > state.floor
}
