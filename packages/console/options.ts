/** Options of a console. */
import { randomBytes } from 'node:crypto'
import { type DeadLetterPlace, declaredPlaces, type Operator } from '@concordat/cli'
import { type Logger, systemClock } from 'concordat/core'
import {
  checkLogger,
  hasMethods,
  invalidOption,
  optionNames,
  refuseUnknown,
  requireFunction,
  requireList,
  requireText,
  wrongKind,
} from 'concordat/extension'
import { type Describable, describeSystem, type SystemTopology } from 'concordat/operator'
import { Access, type ConsoleAction, type ConsoleAuthorize } from './access.ts'
import { DeadLetterReadQueue } from './dead-letter-read-queue.ts'
import type { BindingStatus } from './engine-types.ts'
import { ConsoleInstances } from './instances.ts'
import type { OneTimeSession } from './one-time-session.ts'
import type { Backend } from './read-routes.ts'
import type { Redact } from './redaction.ts'
import { RunningRedrives } from './running-redrives.ts'

/** An action that was done, or that failed. */
export interface ConsoleEvent {
  readonly action: ConsoleAction
  readonly target: string
  readonly by: string
  readonly reason: string
  /** The code of the error; `undefined` if it was done. */
  readonly failed?: string | undefined
}

/** Options of `createConsole`. */
export interface ConsoleOptions {
  /** Source of all data and actions of the console. */
  readonly operator: Operator
  /** Permissions. @default reading is open to all clients that reach the console; actions and payloads are refused */
  readonly authorize?: ConsoleAuthorize | undefined
  /** Instead of `authorize`, for a console that runs alone. */
  readonly session?: OneTimeSession | undefined
  /** The path at which it is mounted. @default '/' */
  readonly basePath?: string | undefined
  /** Names under which it is reached, `ops.example.com` or with a port; loopback is always allowed. @default [] */
  readonly allowedHosts?: readonly string[] | undefined
  /** Shown at the top, such as the environment. @default 'concordat' */
  readonly title?: string | undefined
  /** Services or their declarations: for the topology, and for groups that the database does not know. @default [] */
  readonly services?: readonly Describable[] | undefined
  /** Groups that may have dead letters, in addition to declared ones and those in the database. @default [] */
  readonly places?: readonly DeadLetterPlace[] | undefined
  /** Clusters whose members are shown, in addition to declared ones. @default [] */
  readonly clusters?: readonly string[] | undefined
  /** Bindings of this process, with their counters: `() => binder.bindings()`. @default none */
  readonly bindings?: (() => readonly BindingStatus[]) | undefined
  /** Hides parts of payloads, in addition to values with secret names. */
  readonly redact?: Redact | undefined
  /** Called after every action; its errors are ignored. The audit is in the database. */
  readonly onAction?: ((event: ConsoleEvent) => void) | undefined
  /** Secret for the tokens of the page; the same in all processes behind one address. @default random */
  readonly secret?: string | undefined
  /** Folder of the built page, if a bundler moved this module away from it. @default the folder in the package */
  readonly page?: string | undefined
  /** @default stderrLogger */
  readonly logger?: Logger | undefined
}

export interface ResolvedConsole {
  readonly backend: Backend
  readonly session: OneTimeSession | undefined
  /** Ends with a slash. */
  readonly basePath: string
  readonly allowedHosts: readonly string[]
  readonly title: string
  readonly secret: string
  readonly page: string | undefined
  readonly onAction: (event: ConsoleEvent) => void
  readonly logger: Logger
}

const NAMES = optionNames<ConsoleOptions>({
  operator: true,
  authorize: true,
  session: true,
  basePath: true,
  allowedHosts: true,
  title: true,
  services: true,
  places: true,
  clusters: true,
  bindings: true,
  redact: true,
  onAction: true,
  secret: true,
  page: true,
  logger: true,
})
const PATH = 'createConsole'
const MIN_SECRET = 32

/** @throws TypeError / RangeError with the name of the option */
export function resolveConsole(options: ConsoleOptions): ResolvedConsole {
  refuseUnknown(PATH, options, NAMES)
  const { session, onAction, page, secret = randomBytes(32).toString('base64url') } = options
  if (secret.length < MIN_SECRET) throw new RangeError(`${PATH}.secret: expected at least ${MIN_SECRET} characters`)
  if (onAction !== undefined) requireFunction(`${PATH}.onAction`, onAction)
  return {
    backend: backendOf(options),
    session,
    basePath: basePathOf(options.basePath ?? '/'),
    allowedHosts: requireList(`${PATH}.allowedHosts`, options.allowedHosts, 'names').map((host) =>
      requireText(`${PATH}.allowedHosts`, host).toLowerCase(),
    ),
    title: requireText(`${PATH}.title`, options.title ?? 'concordat'),
    secret,
    page,
    onAction: quietly(onAction),
    logger: checkLogger(`${PATH}.logger`, options.logger),
  }
}

function backendOf(options: ConsoleOptions): Backend {
  const { operator, authorize, session, services = [], redact, bindings } = options
  if (!hasMethods(operator, ['doctor', 'audit', 'recordLook']))
    throw wrongKind(`${PATH}.operator`, operator, 'an operator')
  if (authorize !== undefined && session !== undefined)
    throw new TypeError(`${PATH}.session: expected no authorize beside it: a session is one`)
  for (const [name, value] of Object.entries({ authorize, redact, bindings }))
    if (value !== undefined) requireFunction(`${PATH}.${name}`, value)
  const topology = services.length === 0 ? null : describeSystem(services)
  return {
    operator,
    access: new Access(session?.authorize ?? authorize, systemClock),
    clock: systemClock,
    redact,
    topology,
    places: [...requireList(`${PATH}.places`, options.places, 'the channels'), ...declaredPlaces(topology)],
    turns: new DeadLetterReadQueue(),
    underWay: new RunningRedrives(systemClock),
    clusters: [...new Set([...(options.clusters ?? []), ...declaredClusters(topology)])],
    bindings,
    instances: new ConsoleInstances(operator, systemClock, checkLogger(`${PATH}.logger`, options.logger)),
  }
}

function declaredClusters(topology: SystemTopology | null): readonly string[] {
  return topology?.services.flatMap(({ cluster }) => cluster ?? []) ?? []
}

function basePathOf(path: string): string {
  if (!/^\/[\w./~-]*$/.test(path)) throw invalidOption(`${PATH}.basePath`, path, 'a path such as /ops')
  return path.endsWith('/') ? path : `${path}/`
}

function quietly(onAction: ConsoleOptions['onAction']): (event: ConsoleEvent) => void {
  return (event) => {
    try {
      onAction?.(event)
    } catch {
      // The action is done and recorded: a failing listener does not change that.
    }
  }
}
