/** Handlers of the built-in events in this instance. Each event may arrive twice and takes effect once. */
import type { BindingControl } from '../binder/status.ts'
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
} from './built-in-events.ts'
import type { BusEvent, EventContext } from './define-event.ts'
import { BusError } from './errors.ts'
import { AfterAck, type AnyHandler, type HandlerResult, NOT_MINE } from './handlers.ts'
import type { BusContext } from './shared-dependencies.ts'
import type { LiveConfig } from './watched-config.ts'

type Control = readonly [BusEvent, AnyHandler]

type LiveConfigs = ReadonlyMap<string, LiveConfig<unknown>>

/** @param wanted called when a watch requests reports */
export function builtInEventHandlers(
  context: BusContext,
  configs: LiveConfigs,
  wanted: (order: ReportOrder) => void,
): readonly Control[] {
  return [
    control(Refresh, () => refresh(configs)),
    control(SetLogLevel, ({ level }) => setLevel(context, level)),
    control(PauseBinding, ({ binding }) => pause(bindingOf(context, binding))),
    control(ResumeBinding, ({ binding }) => resume(bindingOf(context, binding))),
    control(ConfigChanged, (change, { time }) => changeConfig(configs, change, time)),
    control(SendReports, wanted),
    control(Shutdown, shutdownOnce(context)),
  ]
}

function control<T>(
  event: BusEvent<T>,
  handler: (payload: T, context: EventContext) => HandlerResult | Promise<HandlerResult>,
): Control {
  return [event as unknown as BusEvent, handler as AnyHandler]
}

/** Tries all, even if one fails. @throws the first error */
async function refresh(configs: LiveConfigs): Promise<HandlerResult> {
  const loadable = Array.from(configs.values()).filter(({ canLoad }) => canLoad)
  const results = await Promise.allSettled(loadable.map((config) => config.refresh()))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

async function setLevel({ setLevel: set }: BusContext, level: LogLevel): Promise<HandlerResult> {
  if (set === undefined)
    throw new BusError('bus.control_refused', {
      message: 'the logger of this instance has no level: give createBus a `setLevel` option',
    })
  return set(level)
}

function pause({ control, name }: { readonly control: BindingControl; readonly name: string }): void {
  control.pause()
  const { state } = control.status()
  // Before its start and while connecting, the request is remembered: the binding is paused from its start.
  if (state !== 'paused' && state !== 'connecting' && state !== 'idle')
    throw new BusError('bus.control_refused', {
      message: `binding "${name}" is ${state}: only one that runs can be paused`,
    })
}

function resume({ control, name }: { readonly control: BindingControl; readonly name: string }): void {
  control.resume()
  const { state } = control.status()
  if (state !== 'running' && state !== 'connecting' && state !== 'idle')
    throw new BusError('bus.control_refused', {
      message: `binding "${name}" is ${state}: only one that is paused can be resumed`,
    })
}

/** @throws `bus.control_refused` listing the existing bindings */
function bindingOf(
  { connection, names: own }: BusContext,
  name: string,
): { readonly control: BindingControl; readonly name: string } {
  const { binder } = connection
  // While the bus's own bindings were paused, no instance could resume anything.
  const ownNames = new Set(Object.values(own).filter((each) => each !== undefined))
  const names = binder.bindings().map((binding) => binding.name)
  const others = names.filter((each) => !ownNames.has(each))
  if (others.includes(name)) return { control: binder.binding(name), name }
  const known = others.slice(0, 20).join(', ') || '(none)'
  const why = ownNames.has(name) ? 'belongs to the bus itself' : 'is not known here'
  throw new BusError('bus.control_refused', {
    message: `binding "${name}" ${why}; bindings of this instance: ${known}`,
  })
}

async function changeConfig(configs: LiveConfigs, change: ConfigChange, time: number): Promise<HandlerResult> {
  const config = configs.get(change.name)
  if (config === undefined) return NOT_MINE
  await config.change(change, time)
}

function shutdownOnce({ onShutdown, logger }: BusContext) {
  let isUnderWay = false
  return ({ reason }: { readonly reason?: string | undefined }, { from }: EventContext): HandlerResult => {
    if (onShutdown === undefined)
      throw new BusError('bus.control_refused', {
        message: 'this instance cannot be shut down from outside: it has no `onShutdown` option',
      })
    if (isUnderWay) return
    return new AfterAck(() => {
      if (isUnderWay) return
      isUnderWay = true
      logger.info({ reason, from }, 'bus: shutdown asked for')
      Promise.resolve()
        .then(() => onShutdown({ reason, from }))
        .catch((error: unknown) => {
          isUnderWay = false
          logger.error({ err: error }, 'bus: onShutdown failed')
        })
    })
  }
}
