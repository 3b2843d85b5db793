/**
 * Pipelines: processing of a channel's messages, stage by stage, with types through every stage.
 *
 * Model: stages up to a `through` are combined into one handler of one `processor`, so a pipeline has a processor for each part
 * and one for the timers of each window that closes by time. All promises of a processor hold: settled last, attempts, order by
 * key, dead letters; with `once: true` the stages' effects, windows and outputs are one transaction.
 *
 * Does not guarantee that a stage is called once. It is called again after a crash and with each attempt; only its writes in `tx`
 * and its outputs happen once.
 */
import { invalidOption } from '../../core/errors.ts'
import { migrate } from '../../core/migrate.ts'
import { optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import { DEFAULT_SCHEMA, type SqlClient } from '../../core/sql.ts'
import { isLeftToService, withServiceInbox } from '../bindings/complete-declarations.ts'
import type { Binding, Completion, ProcessorBinding } from '../bindings/declarations.ts'
import { type PipelinePart, setOwner } from '../bindings/pipeline-description.ts'
import type { Channel } from '../channel/channel.ts'
import { checkName } from '../channel/channel.ts'
import { compile, handlerOf, type Part } from './compile.ts'
import { drawn } from './describe.ts'
import { FlowEnd, type FlowSource } from './flow-builder.ts'
import type { InboxFlowOptions, PartOptions } from './flow-options.ts'
import type { WindowStage } from './window-stage.ts'
import { PIPELINE_PART } from './window-table.ts'
import type { WindowTimer } from './window-timers.ts'

/** Options of `pipeline`. */
export interface PipelineOptions {
  /** Schema of the windows' table if `inbox` is your own. @default 'concordat', in a service the service's */
  readonly schema?: string | undefined
}

/** Declaration by `pipeline`: bindings for `createService` and `createBinder`. */
export interface Pipeline {
  readonly name: string
  /** A binding for each part, then one for each window that closes by time. */
  readonly bindings: readonly Binding[]
  /** Its parts, for diagrams. */
  readonly parts: readonly PipelinePart[]
}

const NAMES = optionNames<PipelineOptions>({ schema: true })

/**
 * Declares a pipeline: `createService({ bindings: [...orders.bindings] })`.
 * @param name the default group, and the name of its open windows in the database: do not change it. At most 100 characters
 * @throws TypeError / RangeError naming the pipeline, the stage and the remedy
 */
export function pipeline(name: string, flow: FlowEnd, options: PipelineOptions = {}): Pipeline {
  checkName('pipeline', name, 100)
  const path = `pipeline("${name}")`
  refuseUnknown(path, options, NAMES)
  if (!(flow instanceof FlowEnd))
    throw wrongKind(path, flow, 'a flow that ends: from(channel) ... .to(channel), or .forEach(effect)')
  if (flow.source === undefined)
    throw invalidOption(path, 'a way of a branch', 'the flow that begins with from(channel)')
  const bindings = new Assembly(name, flow.source, flow.stages).bindings(options.schema ?? DEFAULT_SCHEMA)
  const parts = bindings.flatMap(({ pipeline: part }) => (part === undefined ? [] : [part]))
  return Object.freeze({ name, bindings: Object.freeze(bindings), parts: Object.freeze(parts) })
}

/**
 * Creates the table of windows, for pipelines with your own inbox; a service does it by itself. Idempotent.
 * @throws the errors of `migrate`
 */
export function migratePipelines(sql: SqlClient, schema: string = DEFAULT_SCHEMA): Promise<void> {
  return migrate(sql, schema, PIPELINE_PART.name, PIPELINE_PART.migrations)
}

/** A binding with its requirements on a service. */
interface Assembled {
  readonly binding: ProcessorBinding
  /** Window whose timers it handles. */
  readonly window?: WindowStage | undefined
  /** True if it has windows, and leaves inbox and schema to the service. */
  readonly isCompleted: boolean
}

/** Creates the bindings of a declaration. */
class Assembly {
  readonly #name: string
  readonly #source: FlowSource
  readonly #stages: FlowEnd['stages']

  constructor(name: string, source: FlowSource, stages: FlowEnd['stages']) {
    this.#name = name
    this.#source = source
    this.#stages = stages
  }

  bindings(schema: string): readonly ProcessorBinding[] {
    return this.#assemble(schema).map(({ binding, isCompleted }, n) =>
      isCompleted ? Object.freeze({ ...binding, tables: PIPELINE_PART, complete: this.#completion(n) }) : binding,
    )
  }

  #assemble(schema: string): readonly Assembled[] {
    const parts = compile(this.#name, this.#source, this.#stages, schema)
    const timers = parts.flatMap((part) =>
      part.windows.flatMap((window) =>
        window.timers === undefined ? [] : [this.#timers(part, window, window.timers)],
      ),
    )
    return [...parts.map((part) => this.#part(part)), ...timers]
  }

  /** In a service its windows are in the service's schema, and lost timers are sent again. */
  #completion(n: number): Completion {
    return (parts) => {
      const { binding, window } = this.#assemble(parts.schema)[n] as Assembled
      const ready = window && (() => window.sendLost(parts.sql, parts.outbox))
      return withServiceInbox({ ...binding, ready }, parts.inbox)
    }
  }

  #part({ input, options, stages, run, outputs, windows }: Part): Assembled {
    const hasWindows = windows.length > 0
    // Windows of two keys are locked in the order of the messages, so two instances with shared transactions could deadlock.
    const { sharesTransactions = false, ...others } = options as InboxFlowOptions
    const given = hasWindows ? { ...others, sharesTransactions } : options
    return {
      binding: this.#binding(given, {
        input,
        outputs,
        handler: handlerOf((payload, call) => run({ payload, key: call.context.key, isKeyed: false }, call)),
        pipeline: { pipeline: this.#name, role: 'stages', stages: drawn(this.#name, stages) },
      }),
      isCompleted: hasWindows && isLeftToService(options),
    }
  }

  #timers({ options, outputs }: Part, window: WindowStage, timers: Channel<WindowTimer>): Assembled {
    const { name: _, ...others } = options
    return {
      binding: this.#binding(
        { ...(others as InboxFlowOptions), sharesTransactions: false },
        {
          input: timers as Channel,
          outputs,
          handler: handlerOf((timer, call) => window.due(timer as WindowTimer, call)),
          pipeline: { pipeline: this.#name, role: 'timers', stages: [] },
        },
      ),
      window,
      isCompleted: isLeftToService(options),
    }
  }

  #binding(
    options: PartOptions,
    { pipeline: part, ...rest }: Pick<ProcessorBinding, 'input' | 'outputs' | 'handler'> & { pipeline: PipelinePart },
  ): ProcessorBinding {
    setOwner(part, this)
    return Object.freeze({
      kind: 'processor',
      output: undefined,
      ...rest,
      options: Object.freeze({ ...options, group: options.group ?? this.#name }),
      pipeline: Object.freeze(part),
    })
  }
}
