/** The stages of a flow as data. Made by `Flow`, run by what `compile.ts` makes of them. */
import type { Channel } from '../channel/channel.ts'
import type { PartOptions } from './flow-options.ts'

/** A function of a user: its types were checked where it was given. */
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
  /** `undefined`: takes all that came so far. */
  readonly when: StageFunction | undefined
  readonly stages: readonly Stage[]
  /** False: what comes out of it goes on behind the branch. */
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
