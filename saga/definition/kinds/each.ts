/**
 * `.each(...)`: a step for each item of a list. The list is computed once, when it is due; from then on its items are steps in
 * the saga's state, each with a name, a key, attempts and a compensation.
 */

import type { Channel } from '../../../binder/channel/channel.ts'
import { counted } from '../../../core/counted-noun.ts'
import { invalidOption, requireInteger } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import type { StandardSchemaV1 } from '../../../core/schema.ts'
import { synchronous } from '../../../core/unawaited-callbacks.ts'
import type { DirectTarget } from '../../direct/target.ts'
import { type Stored, stored } from '../../json.ts'
import type { EachShape } from '../../machine/state.ts'
import { itemIndex } from '../../machine/step-shape-lookup.ts'
import { WAITING_STEP } from '../resolve-step-options.ts'
import type { Saga, StepDefinition } from '../saga-definition-types.ts'
import type { CompensationContext, RequestContext, StepContext, WithTransaction } from '../step-contexts.ts'
import type { CallOptions, Forward, Undoable } from '../step-options.ts'
import { COMMAND } from './command.ts'
import type { ListItem, StepKind } from './kind.ts'
import { LOCAL } from './local.ts'
import { SUB_SAGA } from './sub-saga.ts'
import { type ConfirmOptions, TCC, type TccCancelContext, type TccConfirmContext } from './tcc.ts'

/** The list of `.each`, and its limits. */
export interface EachList<Input, Results extends object, Item> {
  /**
   * Returns the items: JSON. Called once, when the list is due, and stored, so later deployments and changes do not affect it.
   * Without items the step is done. An error that it throws is a refusal.
   */
  readonly over: (context: RequestContext<Input, Results>) => readonly Item[]
  /** Number of items that run at once. @default 1: one after the other */
  readonly atOnce?: number | undefined
  /** Maximum number of items, 1 to 1000; with more the step is refused. Each item is stored in the saga's row. @default 100 */
  readonly maxItems?: number | undefined
}

type Tx<T> = T extends true ? WithTransaction : unknown

interface EachInvoke<Input, Results extends object, Item, Result, T>
  extends EachList<Input, Results, Item>,
    CallOptions {
  /** Same as for `.step`. @default false */
  readonly transactional?: T
  /** Same as for `.step`, for one item: the context has `item`, its position `index`, and the item's `key`. */
  readonly invoke: (context: StepContext<Input, Results> & ListItem<Stored<Item>> & Tx<T>) => Result | Promise<Result>
}

/** Options of `.each` with a local step for each item, before the pivot. */
export interface EachStepOptions<Input, Results extends object, Item, Result, T>
  extends EachInvoke<Input, Results, Item, Result, T> {
  /** Undoes one item, the last one of the list first. Same as for `.step`. */
  readonly compensate:
    | ((
        context: CompensationContext<Input, Results, Stored<Result>> & ListItem<Stored<Item>> & Tx<T>,
      ) => void | Promise<void>)
    | 'none'
}

/** Options of `.each` with a local step for each item, after the pivot, where nothing is undone. */
export interface ForwardEachStepOptions<Input, Results extends object, Item, Result, T>
  extends EachInvoke<Input, Results, Item, Result, T>,
    Forward {}

interface EachRequest<Input, Results extends object, Item, ToIn, Reply extends StandardSchemaV1>
  extends EachList<Input, Results, Item>,
    CallOptions {
  /** The participant's command channel; or `httpTarget(channel, { url })`, `localTarget(channel, participant, { sql })`. */
  readonly to: Channel<ToIn, unknown> | DirectTarget<ToIn>
  /** Returns the payload of one item's command. Same as for `.command`. */
  readonly request: (context: RequestContext<Input, Results> & ListItem<Stored<Item>>) => ToIn
  /** Schema of one reply's result. @default any JSON, typed `unknown` */
  readonly reply?: Reply | undefined
}

/** Options of `.each` with a command for each item, before the pivot. */
export interface EachCommandOptions<Input, Results extends object, Item, ToIn, Reply extends StandardSchemaV1>
  extends EachRequest<Input, Results, Item, ToIn, Reply>,
    Undoable {}

/** Options of `.each` with a command for each item, after the pivot, where nothing is undone. */
export interface ForwardEachCommandOptions<Input, Results extends object, Item, ToIn, Reply extends StandardSchemaV1>
  extends EachRequest<Input, Results, Item, ToIn, Reply>,
    Forward {}

interface EachSaga<Input, Results extends object, Item, ChildIn, ChildResults extends object>
  extends EachList<Input, Results, Item> {
  /** Same as for `.saga`. */
  readonly saga: Saga<ChildIn, unknown, ChildResults>
  /** Returns the input of one item's saga. Same as for `.saga`. */
  readonly input: (context: RequestContext<Input, Results> & ListItem<Stored<Item>>) => ChildIn
}

/** Options of `.each` with a saga for each item, before the pivot. */
export interface EachSagaOptions<Input, Results extends object, Item, ChildIn, ChildResults extends object>
  extends EachSaga<Input, Results, Item, ChildIn, ChildResults> {
  /** Same as for `.saga`. */
  readonly compensate: true | 'none'
}

/** Options of `.each` with a saga for each item, after the pivot, where nothing is undone. */
export interface ForwardEachSagaOptions<Input, Results extends object, Item, ChildIn, ChildResults extends object>
  extends EachSaga<Input, Results, Item, ChildIn, ChildResults>,
    Forward {}

/** Options of `.each` with a reservation for each item, by a `tccParticipant`: all are confirmed when the saga is decided. */
export interface EachTccCommandOptions<Input, Results extends object, Item, ToIn, Reply extends StandardSchemaV1>
  extends EachRequest<Input, Results, Item, ToIn, Reply>,
    ConfirmOptions {
  /** Reserves the items first and confirms them later: `to` is the channel of a `tccParticipant`. */
  readonly tcc: true
}

/** Options of `.each` with a reservation for each item in the coordinator's process: same as for `.tcc`, for one item. */
export interface EachTccStepOptions<Input, Results extends object, Item, Result>
  extends EachList<Input, Results, Item>,
    CallOptions,
    ConfirmOptions {
  /** Reserves one item. Same as for `.tcc`; `key` is the item's key. */
  readonly try: (
    context: StepContext<Input, Results> & ListItem<Stored<Item>> & WithTransaction,
  ) => Result | Promise<Result>
  /** Makes one item's reservation final. Same as for `.tcc`. */
  readonly confirm: (
    context: TccConfirmContext<Input, Results, Stored<Result>> & ListItem<Stored<Item>>,
  ) => void | Promise<void>
  /** Releases one item's reservation, the last one of the list first. Same as for `.tcc`. */
  readonly cancel: (
    context: TccCancelContext<Input, Results, Stored<Result>> & ListItem<Stored<Item>>,
  ) => void | Promise<void>
}

interface EachDefinition extends StepDefinition {
  readonly over: (context: RequestContext) => unknown
  readonly maxItems: number
  readonly each: EachShape & { readonly item: StepDefinition }
  readonly itemKind: StepKind
}

/** Options as received: unchecked, possibly from plain JavaScript. */
interface Raw {
  readonly over?: unknown
  readonly atOnce?: number | undefined
  readonly maxItems?: number | undefined
  readonly to?: unknown
  readonly saga?: unknown
  readonly tcc?: unknown
  readonly try?: unknown
  readonly pivot?: unknown
}

type OwnNames = EachList<unknown, object, unknown> & { readonly tcc: true }
const NAMES = optionNames<OwnNames>({ over: true, atOnce: true, maxItems: true, tcc: true })
const MAX_ITEMS = 1_000
const DEFAULTS = Object.freeze({ atOnce: 1, maxItems: 100 })

export const EACH: StepKind<EachDefinition> = {
  name: 'each',
  spans: { outcome: undefined },
  resolve(place, options: Raw) {
    const path = `${place.method}("${place.name}")`
    const { over, pivot } = options ?? {}
    if (typeof over !== 'function') throw invalidOption(`${path}.over`, over, 'a function that gives the items')
    if (pivot === true) {
      throw new TypeError(`${path}.pivot: the pivot is one step, not a list. Put it before or after the list.`)
    }
    const itemKind = kindOfItems(path, options)
    const item = itemKind.resolve(place, withoutList(options))
    const { atOnce = DEFAULTS.atOnce, maxItems = DEFAULTS.maxItems } = options
    return Object.freeze({
      ...WAITING_STEP,
      name: place.name,
      kind: EACH,
      awaits: 'plan',
      timeoutMs: 1,
      over: over as EachDefinition['over'],
      maxItems: requireInteger(`${path}.maxItems`, maxItems, 1, MAX_ITEMS),
      each: Object.freeze({ item, atOnce: requireInteger(`${path}.atOnce`, atOnce, 1, MAX_ITEMS) }),
      itemKind,
    })
  },
  graphOf: ({ each: { item }, itemKind }) => {
    const { kind, transactional, compensates } = item
    return { each: { kind: kind.name, transactional, compensates, ...itemKind.graphOf(item) } }
  },
  tiesOf({ each, itemKind }) {
    const { to, at, saga } = itemKind.tiesOf(each.item)
    return { to, at, saga }
  },
  async prepare(step, prepared) {
    const path = `each("${step.name}").over`
    const items = synchronous(path, step.over(await prepared.context()), 'the items')
    if (!Array.isArray(items)) throw invalidOption(path, items, 'an array of items')
    if (items.length > step.maxItems) {
      throw new RangeError(
        `${path}: expected at most ${counted(step.maxItems, 'item')} (maxItems), got ${items.length}. Raise maxItems, or split the saga`,
      )
    }
    const planned = stored(`items of step "${step.name}"`, items, prepared.maxPayloadBytes)
    return { type: 'planned', step: step.name, items: planned as readonly unknown[] }
  },
  grow({ each, itemKind, group, choices, forward }, { step, payload }) {
    const placed = { ...each.item, name: step, group, choices, forward }
    return itemKind.withItem?.(placed, { item: payload, index: itemIndex(step) }) ?? placed
  },
}

/** Returns the kind of the items. A `try` function marks a reservation in this process. */
function kindOfItems(path: string, { to, saga, tcc, try: reserve }: Raw): StepKind {
  if (tcc !== undefined && tcc !== true) throw invalidOption(`${path}.tcc`, tcc, 'true, or to be left out')
  const others = saga !== undefined ? SUB_SAGA : to !== undefined ? COMMAND : LOCAL
  return (tcc === true || reserve !== undefined ? TCC : others) as unknown as StepKind
}

function withoutList(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !NAMES.has(name)))
}
