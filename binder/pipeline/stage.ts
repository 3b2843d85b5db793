/** The stages of a flow as data. Created by `Flow`, executed by the functions of `compile.ts`. */
import type { Channel } from '../channel/channel.ts'
import type { PartOptions } from './flow-options.ts'

/** A user's function, whose types were checked where it was given. */
export type StageFunction = (payload: unknown, context: unknown) => unknown

export type Stage =
  | { readonly kind: 'map' | 'filter' | 'flatMap' | 'tap' | 'keyBy' | 'forEach'; readonly call: StageFunction }
  | { readonly kind: 'to'; readonly channel: Channel }
  | {
      readonly kind: 'through'
      readonly channel: Channel
      readonly options: PartOptions | undefined
    }
  | { readonly kind: 'branch'; readonly ways: readonly Way[] }
  | ({ readonly kind: 'window' } & WindowSpec)

/** A way out of a branch. */
export interface Way {
  readonly name: string
  /** Undefined: accepts all remaining payloads. */
  readonly when: StageFunction | undefined
  readonly stages: readonly Stage[]
  /** False: its payloads continue behind the branch. */
  readonly ends: boolean
}

export interface WindowSpec {
  readonly name: string
  readonly key: StageFunction | undefined
  readonly count: number | undefined
  readonly everyMs: number | undefined
  readonly initial: (() => unknown) | undefined
  readonly add: ((state: unknown, payload: unknown, context: unknown) => unknown) | undefined
}
