/** Reactions of this instance to the built-in events. Each may arrive twice and takes effect once. */
import type { Binder } from '../binder/binder.ts'
import type { BindingControl } from '../binder/status.ts'
import type { Logger } from '../core/logger.ts'
import {
  type ConfigChange,
  ConfigChanged,
  type LogLevel,
  PauseBinding,
  Refresh,
  type ReportOrder,
  ResumeBinding,
  SendReports,
  SetLogLevel,
  Shutdown,
} from './built-in.ts'
import type { LiveConfig } from './config.ts'
import { BusError } from './errors.ts'
import type { BusEvent, EventContext } from './event.ts'
import { AfterAck, type AnyHandler, type HandlerResult, NOT_MINE } from './handlers.ts'
import type { BusOptions } from './options.ts'

export interface ControlHost {
  readonly logger: Logger
  readonly setLevel: BusOptions['setLevel']
  readonly onShutdown: BusOptions['onShutdown']
  readonly configs: ReadonlyMap<string, LiveConfig<unknown>>
  /** The bus's own bindings: while they were paused, no instance could resume anything. */
  readonly ownBindings: ReadonlySet<string>
  binder(): Binder
  /** Called when a watch asks for reports. */
  wanted(order: ReportOrder): void
}

type Control = readonly [BusEvent, AnyHandler]

export function controls(host: ControlHost): readonly Control[] {
  return [
    control(Refresh, () => refresh(host)),
    control(SetLogLevel, ({ level }) => setLevel(host, level)),
    control(PauseBinding, ({ binding }) => pause(bindingOf(host, binding))),
    control(ResumeBinding, ({ binding }) => resume(bindingOf(host, binding))),
    control(ConfigChanged, (change, { time }) => changeConfig(host, change, time)),
    control(SendReports, (order) => host.wanted(order)),
    control(Shutdown, shutdownOnce(host)),
  ]
}

function control<T>(
  event: BusEvent<T>,
  handler: (payload: T, context: EventContext) => HandlerResult | Promise<HandlerResult>,
): Control {
  return [event as unknown as BusEvent, handler as AnyHandler]
}

/** All are tried, also when one fails. @throws what the first that fails throws */
async function refresh({ configs }: ControlHost): Promise<HandlerResult> {
  const loadable = Array.from(configs.values()).filter(({ canLoad }) => canLoad)
  const results = await Promise.allSettled(loadable.map((config) => config.refresh()))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

async function setLevel({ setLevel: set }: ControlHost, level: LogLevel): Promise<HandlerResult> {
  if (set === undefined)
    throw new BusError('bus.control_refused', {
      message: 'the logger of this instance has no level: give createBus a `setLevel` option',
    })
  return set(level)
}

function pause({ control, name }: { readonly control: BindingControl; readonly name: string }): void {
  control.pause()
  const { state } = control.status()
  // While connecting it is kept in mind: it will be paused from its first moment.
  if (state !== 'paused' && state !== 'connecting')
    throw new BusError('bus.control_refused', {
      message: `binding "${name}" is ${state}: only one that runs can be paused`,
    })
}

function resume({ control, name }: { readonly control: BindingControl; readonly name: string }): void {
  control.resume()
  const { state } = control.status()
  if (state !== 'running' && state !== 'connecting')
    throw new BusError('bus.control_refused', {
      message: `binding "${name}" is ${state}: only one that is paused can be resumed`,
    })
}

/** @throws `bus.control_refused` naming the bindings there are */
function bindingOf(host: ControlHost, name: string): { readonly control: BindingControl; readonly name: string } {
  const binder = host.binder()
  const names = binder.bindings().map((binding) => binding.name)
  const others = names.filter((each) => !host.ownBindings.has(each))
  if (others.includes(name)) return { control: binder.binding(name), name }
  const known = others.slice(0, 20).join(', ') || '(none)'
  const why = host.ownBindings.has(name) ? 'belongs to the bus itself' : 'is not known here'
  throw new BusError('bus.control_refused', {
    message: `binding "${name}" ${why}; bindings of this instance: ${known}`,
  })
}

async function changeConfig({ configs }: ControlHost, change: ConfigChange, time: number): Promise<HandlerResult> {
  const config = configs.get(change.name)
  if (config === undefined) return NOT_MINE
  await config.change(change, time)
}

function shutdownOnce({ onShutdown, logger }: ControlHost) {
  let isUnderWay = false
  return ({ reason }: { readonly reason?: string | undefined }, { from }: EventContext): HandlerResult => {
    if (onShutdown === undefined)
      throw new BusError('bus.control_refused', {
        message: 'this instance cannot be shut down from outside: it has no `onShutdown` option',
      })
    if (isUnderWay) return
    isUnderWay = true
    return new AfterAck(() => {
      logger.info({ reason, from }, 'bus: shutdown asked for')
      Promise.resolve()
        .then(() => onShutdown({ reason, from }))
        .catch((error: unknown) => logger.error({ err: error }, 'bus: onShutdown failed'))
    })
  }
}
