/** Compiles stages to one function for each part: a stage calls the following one, so nothing is queued in between. */
import { invalidOption } from '../../core/errors.ts'
import { type Handler, type TransactionContext } from '../bindings/handler-types.ts'
import { Addressed, Outputs } from '../bindings/outputs.ts'
import type { Channel } from '../channel/channel.ts'
import type { FlowSource } from './flow-builder.ts'
import type { PartOptions } from './flow-options.ts'
import type { Call, Item, Next } from './item.ts'
import type { Stage, StageFunction, Way } from './stage.ts'
import { WindowStage } from './window-stage.ts'

/** Stages of one binding. */
export interface Part {
  readonly input: Channel
  readonly options: PartOptions
  readonly stages: readonly Stage[]
  readonly run: Next
  /** Channels that its stages send to, including those of timers. */
  readonly outputs: readonly Channel[]
  readonly windows: readonly WindowStage[]
}

/** @throws TypeError naming the pipeline and the stage */
export function compile(
  pipeline: string,
  source: FlowSource,
  stages: readonly Stage[],
  schema: string,
): readonly Part[] {
  const compiler = new Compiler(pipeline, schema)
  compiler.part(source.channel, source.options, stages)
  return compiler.parts
}

/** The handler of a `processor`. */
export function handlerOf(
  begin: (payload: unknown, call: Call) => void | Promise<void>,
): Handler<unknown, TransactionContext, unknown> {
  return async (payload, context) => {
    const call: Call = { context, outputs: [], keys: new Set() }
    await begin(payload, call)
    return call.outputs.length === 0 ? undefined : new Outputs(call.outputs)
  }
}

class Compiler {
  readonly parts: Part[] = []
  readonly #pipeline: string
  readonly #schema: string
  readonly #windows = new Set<string>()

  constructor(pipeline: string, schema: string) {
    this.#pipeline = pipeline
    this.#schema = schema
  }

  part(input: Channel, options: PartOptions, stages: readonly Stage[]): void {
    const path = `pipeline("${this.#pipeline}")`
    if (this.parts.some((part) => part.input.name === input.name))
      throw invalidOption(`${path}.through`, input.name, 'a channel that no other part of the pipeline reads')
    const end = stages.findIndex(({ kind }) => kind === 'through')
    const own = end === -1 ? stages : stages.slice(0, end + 1)
    const outputs = new Map<string, Channel>()
    const windows: WindowStage[] = []
    const scope: Scope = { path, options, outputs, windows, later: [] }
    // Its position is before the parts that it sends to.
    const at = this.parts.push({ input, options, stages: own, run: () => undefined, outputs: [], windows }) - 1
    const run = this.#chain(stages, () => undefined, scope)
    this.parts[at] = { input, options, stages: own, run, outputs: [...outputs.values()], windows }
    for (const later of scope.later) later()
  }

  #chain(stages: readonly Stage[], behind: Next, scope: Scope): Next {
    const split = stages.findIndex(({ kind }) => kind === 'through')
    const fused = split === -1 ? stages : stages.slice(0, split)
    const end = split === -1 ? behind : this.#split(stages, split, scope)
    return fused.reduceRight<Next>((next, stage) => this.#stage(stage, next, scope), end)
  }

  #split(stages: readonly Stage[], at: number, scope: Scope): Next {
    const stage = stages[at] as Extract<Stage, { kind: 'through' }>
    scope.later.push(() =>
      this.part(stage.channel, inherited(scope.options, given(stage.options)), stages.slice(at + 1)),
    )
    return this.#send(stage.channel, scope)
  }

  #send(channel: Channel, { outputs }: Scope): Next {
    outputs.set(channel.name, channel)
    return ({ payload, key, isKeyed }, call) => {
      const takesOwn = channel.key !== undefined && !isKeyed
      call.outputs.push(new Addressed(channel, payload, takesOwn ? {} : { key }))
    }
  }

  #stage(stage: Stage, next: Next, scope: Scope): Next {
    switch (stage.kind) {
      case 'to':
      case 'through':
        return this.#send(stage.channel, scope)
      case 'branch':
        return branchOf(
          stage.ways.map((way) => [way, this.#chain(way.stages, way.ends ? () => undefined : next, scope)] as const),
        )
      case 'window':
        return this.#window(stage, next, scope)
      default:
        return calling(stage.kind, stage.call, next)
    }
  }

  #window(spec: Extract<Stage, { kind: 'window' }>, next: Next, { path, options, outputs, windows }: Scope): Next {
    if (this.#windows.has(spec.name))
      throw invalidOption(`${path}.window.name`, spec.name, 'a name of its own for each window of a pipeline')
    this.#windows.add(spec.name)
    if (options.once === undefined && options.inbox === undefined)
      throw invalidOption(
        `${path}.window("${spec.name}")`,
        'a part without transactions',
        'from(channel, { once: true }) in a service with sql: open windows are kept in its database',
      )
    const home = { pipeline: this.#pipeline, group: options.group ?? this.#pipeline, schema: this.#schema }
    const window = new WindowStage(home, spec, next)
    windows.push(window)
    if (window.timers !== undefined) outputs.set(window.timers.name, window.timers as Channel)
    return window.add
  }
}

/** Returns the options of a part behind a split: its own override those of the previous part. */
function inherited(before: PartOptions, own: PartOptions): PartOptions {
  const { name: _name, ...kept } = before
  const { once: _once, inbox: _inbox, ...others } = kept
  const isOwn = own.once !== undefined || own.inbox !== undefined
  return { ...(isOwn ? others : kept), ...own } as PartOptions
}

/** Keeps given options only, so that missing ones do not override inherited values. */
function given(options: object = {}): PartOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

interface Scope {
  readonly path: string
  readonly options: PartOptions
  readonly outputs: Map<string, Channel>
  readonly windows: WindowStage[]
  /** Parts that begin where this one splits. */
  readonly later: (() => void)[]
}

function calling(
  kind: Exclude<Stage['kind'], 'to' | 'through' | 'branch' | 'window'>,
  call: StageFunction,
  next: Next,
): Next {
  switch (kind) {
    case 'filter':
      return async (item, run) => {
        if (await call(item.payload, run.context)) await next(item, run)
      }
    case 'map':
      return async (item, run) => next({ ...item, payload: await call(item.payload, run.context) }, run)
    case 'flatMap':
      return async (item, run) => {
        for (const payload of (await call(item.payload, run.context)) as Iterable<unknown>)
          await next({ ...item, payload }, run)
      }
    case 'keyBy':
      return async (item, run) =>
        next({ ...item, key: call(item.payload, run.context) as string | null, isKeyed: true }, run)
    case 'tap':
      return async (item, run) => {
        await call(item.payload, run.context)
        await next(item, run)
      }
    case 'forEach':
      return async (item, run) => void (await call(item.payload, run.context))
  }
}

function branchOf(ways: ReadonlyArray<readonly [Way, Next]>): Next {
  return async (item: Item, run: Call) => {
    for (const [{ when }, next] of ways)
      if (when === undefined || (await when(item.payload, run.context))) return next(item, run)
  }
}
