/** Stages of a pipeline. Frozen data; nothing runs until a binder has the bindings. */
import { invalidOption } from '../../core/errors.ts'
import { optionNames, refuseUnknown, requireFunction, wrongKind } from '../../core/option-checks.ts'
import type { HandlerContext, TransactionContext } from '../bindings/handler-types.ts'
import { type Channel, requireChannel } from '../channel/channel.ts'
import type {
  FlowOptions,
  InboxFlowOptions,
  OnceFlowOptions,
  PartOptions,
  Window,
  WindowCount,
  WindowFold,
} from './flow-options.ts'
import type { Stage, StageFunction, Way } from './stage.ts'
import { windowSpec } from './window-spec.ts'

/** A channel that accepts the payloads of the flow; otherwise a type with the reason. */
export type Accepting<Payload, In, Out> = Channel<In, Out> &
  ([Payload] extends [In] ? unknown : { readonly 'this channel does not take what the flow carries': Payload })

/**
 * One way out of a branch. `to` receives a flow of the payloads that `when` accepts, and returns it ended (`flow.to(channel)`) or
 * open: payloads of an open flow continue behind the branch.
 */
export interface BranchWay<Payload, Context> {
  /** Accepts payloads. @default accepts everything that no previous way accepted; only the last way may omit it */
  readonly when?: ((payload: Payload, context: Context) => boolean | Promise<boolean>) | undefined
  readonly to: (flow: Flow<Payload, Context>) => Flow<unknown, Context> | FlowEnd
}

/** Payloads of the ways that were left open. */
type Rest<Ways> = {
  [Name in keyof Ways]: Ways[Name] extends { readonly to: (flow: never) => infer Left }
    ? Left extends Flow<infer Payload, infer _>
      ? Payload
      : never
    : never
}[keyof Ways]

/** Source of a flow's messages. */
export interface FlowSource {
  readonly channel: Channel
  readonly options: PartOptions
}

/** A complete flow, for `pipeline`. */
export class FlowEnd {
  /** Source; `undefined` for a way of a branch. */
  readonly source: FlowSource | undefined
  readonly stages: readonly Stage[]

  constructor(source: FlowSource | undefined, stages: readonly Stage[]) {
    this.source = source
    this.stages = Object.freeze([...stages])
    Object.freeze(this)
  }
}

/**
 * A flow that can be extended. Each method returns a new one. Stages up to the next `through` run in one handler, one after the
 * other; their functions receive the payload and the context of the part's message.
 */
export class Flow<out Payload, in out Context> {
  readonly #source: FlowSource | undefined
  readonly #stages: readonly Stage[]
  /** For the types only. */
  declare readonly carries?: readonly [Payload, (context: Context) => Context]

  constructor(source: FlowSource | undefined, stages: readonly Stage[]) {
    this.#source = source
    this.#stages = stages
  }

  /** Keeps payloads for which `test` returns true. */
  filter<Kept extends Payload>(test: (payload: Payload, context: Context) => payload is Kept): Flow<Kept, Context>
  filter(test: (payload: Payload, context: Context) => boolean | Promise<boolean>): Flow<Payload, Context>
  filter(test: (payload: never, context: never) => unknown): Flow<never, Context> {
    return this.#calling('filter', test)
  }

  /** Replaces each payload with the result of `change`. */
  map<Next>(change: (payload: Payload, context: Context) => Next | Promise<Next>): Flow<Awaited<Next>, Context> {
    return this.#calling('map', change)
  }

  /** Replaces each payload with the items of a list, which may be empty. */
  flatMap<Next>(
    change: (payload: Payload, context: Context) => Iterable<Next> | Promise<Iterable<Next>>,
  ): Flow<Next, Context> {
    return this.#calling('flatMap', change)
  }

  /** Calls a function with each payload, which continues unchanged. The function is awaited. */
  tap(look: (payload: Payload, context: Context) => unknown): Flow<Payload, Context> {
    return this.#calling('tap', look)
  }

  /** Sets the key of all further outputs, instead of the channel's or the input's. */
  keyBy(key: (payload: Payload, context: Context) => string | null): Flow<Payload, Context> {
    return this.#calling('keyBy', key)
  }

  /**
   * Sends each payload the first way that accepts it; a payload that none accepts ends here. Payloads of ways that were left open
   * continue.
   */
  branch<const Ways extends Readonly<Record<string, BranchWay<Payload, Context>>>>(
    ways: Ways,
  ): Flow<Rest<Ways>, Context> {
    return this.#with({ kind: 'branch', ways: waysOf(this.#path('branch'), ways) })
  }

  /**
   * Collects messages by key, each counted once, and passes on the collected value when the window closes. Open windows are rows
   * of the database, written in the handler's transaction, so the part needs `once: true`.
   */
  window<State>(
    this: Flow<Payload, TransactionContext>,
    options: WindowFold<Payload, Context, State>,
  ): Flow<Window<State>, Context>
  window(
    this: Flow<Payload, TransactionContext>,
    options: WindowCount<Payload, Context>,
  ): Flow<Window<undefined>, Context>
  window(options: object): Flow<never, Context> {
    return (this as Flow<unknown, Context>).#with({ kind: 'window', ...windowSpec(this.#path('window'), options) })
  }

  /**
   * Splits the pipeline: payloads are sent to `channel`, and the following stages are another binding that consumes it, with its
   * own attempts, concurrency and dead letters.
   * @param options of that part; missing ones are those of this part, except `name`
   */
  through<In, Out>(
    channel: Accepting<Payload, In, Out>,
    options: OnceFlowOptions | InboxFlowOptions,
  ): Flow<Out, TransactionContext>
  through<In, Out>(channel: Accepting<Payload, In, Out>, options?: FlowOptions): Flow<Out, Context>
  through(channel: unknown, options?: PartOptions): unknown {
    const path = this.#path('through')
    if (options !== undefined && (typeof options !== 'object' || options === null))
      throw wrongKind(`${path}.options`, options, 'an object of options')
    return this.#with({ kind: 'through', channel: checked(path, channel), options })
  }

  /** Sends each payload to `channel`. */
  to<In, Out>(channel: Accepting<Payload, In, Out>): FlowEnd {
    return this.#end({ kind: 'to', channel: checked(this.#path('to'), channel) })
  }

  /** Ends the flow without sending: `effect` is called with each payload. */
  forEach(effect: (payload: Payload, context: Context) => unknown): FlowEnd {
    const call = requireFunction(this.#path('forEach'), effect as StageFunction)
    return this.#end({ kind: 'forEach', call })
  }

  /** The stages so far, for `branch`. */
  static stagesOf<P, C>(flow: Flow<P, C>): readonly Stage[] {
    return flow.#stages
  }

  #calling(
    kind: Extract<Stage, { call: StageFunction }>['kind'],
    call: (payload: never, context: never) => unknown,
  ): Flow<never, Context> {
    return this.#with({ kind, call: requireFunction(this.#path(kind), call as StageFunction) })
  }

  #with(stage: Stage): Flow<never, Context> {
    return new Flow(this.#source, [...this.#stages, stage])
  }

  #end(stage: Stage): FlowEnd {
    return new FlowEnd(this.#source, [...this.#stages, stage])
  }

  /** Path in error messages, as written in a program: `from("orders").map`. */
  #path(method: string): string {
    return `from("${this.#source?.channel.name ?? '...'}") stage ${this.#stages.length + 1}: ${method}`
  }
}

/**
 * Begins a flow with the messages of `channel`.
 * @throws TypeError when it is not a channel
 */
export function from<In, Out>(
  channel: Channel<In, Out>,
  options: OnceFlowOptions | InboxFlowOptions,
): Flow<Out, TransactionContext>
export function from<In, Out>(channel: Channel<In, Out>, options?: FlowOptions): Flow<Out, HandlerContext>
export function from(channel: unknown, options: PartOptions = {}): unknown {
  const input = checked('from', channel)
  if (typeof options !== 'object' || options === null)
    throw wrongKind(`from("${input.name}")`, options, 'an object of options')
  return new Flow({ channel: input, options: Object.freeze({ ...options }) }, [])
}

function checked(path: string, channel: unknown): Channel {
  return requireChannel(path, channel as Channel)
}

const WAY_NAMES = optionNames<BranchWay<unknown, unknown>>({ when: true, to: true })

function waysOf(path: string, given: unknown): readonly Way[] {
  const names = typeof given === 'object' && given !== null && !Array.isArray(given) ? Object.keys(given) : []
  if (names.length === 0)
    throw wrongKind(
      path,
      given,
      'at least one way: { name: { when: (payload) => true, to: (flow) => flow.to(channel) } }',
    )
  const ways = given as Readonly<Record<string, BranchWay<unknown, unknown>>>
  return names.map((name, n) => wayOf(`${path}.${name}`, name, ways[name], n === names.length - 1))
}

function wayOf(path: string, name: string, given: BranchWay<unknown, unknown> | undefined, isLast: boolean): Way {
  refuseUnknown(path, given, WAY_NAMES)
  const { when, to } = given as BranchWay<unknown, unknown>
  if (when === undefined && !isLast)
    throw invalidOption(
      `${path}.when`,
      when,
      'a function: only the last way takes everything, what is behind it gets nothing',
    )
  if (when !== undefined) requireFunction(`${path}.when`, when)
  const left = requireFunction(`${path}.to`, to)(new Flow(undefined, []))
  const common = { name, when: when as StageFunction | undefined }
  if (left instanceof FlowEnd) return { ...common, stages: left.stages, ends: true }
  if (!(left instanceof Flow))
    throw wrongKind(`${path}.to`, left, 'a function that returns the flow: (flow) => flow.to(channel)')
  const stages = Flow.stagesOf(left)
  if (stages.some(({ kind }) => kind === 'through'))
    throw invalidOption(
      `${path}.to`,
      'through(...) in a way that is left open',
      'a way with through to end with to(...) or forEach(...)',
    )
  return { ...common, stages, ends: false }
}
