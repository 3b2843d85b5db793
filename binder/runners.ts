/** From the declared bindings to what runs them. */
import { invalidOption } from '../core/errors.ts'
import type { BatchBinding } from './batch.ts'
import type { Binding, ConsumerBinding, SourceBinding } from './binding.ts'
import { Consumer } from './consumer.ts'
import type { ConsumerHost } from './handlings.ts'
import { checkMiddleware, type Middleware, wrapHandler } from './middleware.ts'
import { resolveConsumer, resolveSource } from './options.ts'
import { Poller } from './poller.ts'
import type { BindingStatus } from './status.ts'

/** One binding at work. */
export interface Runner {
  readonly autoStart: boolean
  status(): BindingStatus
  start(): Promise<void>
  stop(): Promise<void>
  pause(): void
  resume(): void
  /** Of a consumer only. */
  lag?(): Promise<number | undefined>
}

export interface RunnersHost extends ConsumerHost {
  /** Of the whole binder, around that of each binding. */
  readonly middleware: readonly Middleware[]
}

/**
 * By name, in the order given. Nothing starts yet.
 * @throws TypeError / RangeError naming the binding and the option
 */
export function makeRunners(bindings: readonly Binding[], host: RunnersHost): ReadonlyMap<string, Runner> {
  const runners = new Map<string, Runner>()
  const places = new Set<string>()
  for (const binding of bindings) {
    const runner = binding.kind === 'source' ? makePoller(binding, host) : makeConsumer(binding, host, places)
    const { name } = runner.status()
    if (runners.has(name))
      throw invalidOption('createBinder.bindings', name, 'a name of its own for each binding (option `name`)')
    runners.set(name, runner)
  }
  return runners
}

function makeConsumer(binding: ConsumerBinding | BatchBinding, host: RunnersHost, places: Set<string>): Consumer {
  const options = resolveConsumer(binding)
  const place = `${binding.input.name} / ${options.group}`
  if (options.group !== null && places.has(place)) {
    throw invalidOption(
      'createBinder.bindings',
      place,
      'one consumer per channel and group in a process; raise its `concurrency` or give another group',
    )
  }
  places.add(place)
  if (binding.kind === 'batch') return new Consumer(binding, options, host)
  const own = checkMiddleware(`${binding.kind}("${binding.input.name}").middleware`, binding.options.middleware)
  const { name, group } = options
  const target = { name, kind: binding.kind, channel: binding.input.name, group }
  const isRaw = binding.kind === 'sink' && binding.raw === true
  return new Consumer(isRaw ? binding : wrapHandler(binding, [...host.middleware, ...own], target), options, host)
}

function makePoller(binding: SourceBinding, { service, publisher, destinations, ...host }: RunnersHost): Poller {
  return new Poller(binding, resolveSource(binding), {
    ...host,
    service,
    publish: (messages) => publisher.publish(messages, 'none'),
    learn: (channel, destination) => destinations.learn(channel, destination),
  })
}
